import type { Wakeup } from '../poll.ts';
import type { Libc } from './libc.ts';
import { pollFd, pollReady } from './socket.ts';

/**
 * Says when something is to be read of descriptors that Node cannot watch by itself. All of them wait in one thread of libuv's pool, which
 * has only four, and only while there are any. An eventfd wakes that thread when the set changes, and when the process exits, which would
 * otherwise wait for it.
 */
export class Readiness {
  static #shared: Readiness | undefined;
  readonly #libc: Libc;
  readonly #readers = new Map<number, () => void>();
  #wakeup: Wakeup | undefined;
  #waiting: Promise<void> | undefined;
  /** The wait that goes on. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #atExit = (): void => this.#wakeup?.wake();

  private constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** The one of this thread. */
  static of(libc: Libc): Readiness {
    Readiness.#shared ??= new Readiness(libc);
    return Readiness.#shared;
  }

  /** `read` is called whenever there is something, until nothing is left. */
  add(fd: number, read: () => void): void {
    this.#readers.set(fd, read);
    this.#wakeup?.wake();
    this.#waiting ??= this.#loop();
  }

  /** Resolves when the thread does not wait on `fd` any more, so that it can be closed. */
  async remove(fd: number): Promise<void> {
    this.#readers.delete(fd);
    const turn = this.#turn;
    this.#wakeup?.wake();
    await turn;
  }

  async #loop(): Promise<void> {
    const wakeup = this.#libc.wakeup();
    this.#wakeup = wakeup;
    process.once('exit', this.#atExit);
    try {
      while (this.#readers.size > 0) {
        const readers = [...this.#readers];
        const fds = pollFd(wakeup.fd, ...readers.map(([fd]) => fd));
        const turn = this.#libc.pollAside(fds, readers.length + 1, LONGEST_WAIT);
        this.#turn = turn;
        await turn;
        const [woken, ...ready] = pollReady(fds);
        if (woken) wakeup.clear();
        readers.forEach(([fd, read], i) => {
          if (ready[i] && this.#readers.get(fd) === read) read();
        });
      }
    } finally {
      process.removeListener('exit', this.#atExit);
      wakeup.close();
      this.#wakeup = undefined;
      this.#waiting = undefined;
    }
  }
}

/** Milliseconds, after which the thread looks by itself: a process that cannot even wake it ends all the same. */
const LONGEST_WAIT = 5_000;
