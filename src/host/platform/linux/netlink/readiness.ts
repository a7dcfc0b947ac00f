import { HostWriter } from './host-order.ts';
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
  #wake = -1;
  #waiting: Promise<void> | undefined;
  readonly #atExit = (): void => this.#rouse();

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
    this.#rouse();
    this.#waiting ??= this.#loop();
  }

  /** Resolves when the thread does not wait on `fd` any more, so that it can be closed. */
  async remove(fd: number): Promise<void> {
    this.#readers.delete(fd);
    const turn = this.#turn;
    this.#rouse();
    await (this.#readers.size === 0 ? this.#waiting : turn);
  }

  #turn: Promise<unknown> = Promise.resolve();

  async #loop(): Promise<void> {
    this.#wake = this.#libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    process.once('exit', this.#atExit);
    try {
      while (this.#readers.size > 0) {
        const readers = [...this.#readers];
        const fds = pollFd(this.#wake, ...readers.map(([fd]) => fd));
        const turn = this.#libc.pollAside(fds, readers.length + 1, LONGEST_WAIT);
        this.#turn = turn;
        await turn;
        const [woken, ...ready] = pollReady(fds);
        if (woken) this.#libc.read(this.#wake, new Uint8Array(8), 8);
        readers.forEach(([fd, read], i) => {
          if (ready[i] && this.#readers.get(fd) === read) read();
        });
      }
    } finally {
      process.removeListener('exit', this.#atExit);
      this.#libc.close(this.#wake);
      this.#wake = -1;
      this.#waiting = undefined;
    }
  }

  #rouse(): void {
    if (this.#wake >= 0) this.#libc.write(this.#wake, ONE, 8);
  }
}

const ONE = new HostWriter(8).u64(1n).written();
const EFD_CLOEXEC = 0o2_000_000;
const EFD_NONBLOCK = 0o4000;
/** Milliseconds, after which the thread looks by itself: a process that cannot even wake it ends all the same. */
const LONGEST_WAIT = 5_000;
