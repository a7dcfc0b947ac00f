import { systemThreads, type Thread, type Threads } from '../../../host/platform/worker-threads.ts';
import { TransferError } from '../errors.ts';
import { type Answered, type Asked, buffersOf, errorOf, FileWork, type Openers } from './file-work.ts';

/** Something that is open in the thread. Calls are made in the order in which they are asked for; octets among the arguments are handed over. */
export interface Remote<T> {
  call<K extends Methods<T>>(method: K, ...args: ArgumentsOf<T[K]>): Promise<ResultOf<T[K]>>;
  /** Everything that was asked of it before is over then. */
  close(): Promise<T extends { close(): infer R } ? R : never>;
}

export interface FileThreadOptions {
  readonly threads?: Threads | undefined;
  /** The file that runs in the thread; that of this folder unless given. */
  readonly module?: URL | undefined;
}

/** A thread that reads and writes many small files. It begins with what is first opened. */
export class FileThread {
  readonly #options: FileThreadOptions;
  readonly #waiting = new Map<number, Waiting>();
  #thread: Thread | undefined;
  /** Where there is no thread to be had it takes as long, and others wait. */
  #here: FileWork | undefined;
  #nextId = 1;
  #idle = (): void => undefined;

  constructor(options: FileThreadOptions = {}) {
    this.#options = options;
  }

  /** The caller closes it. @throws TransferError */
  async open<K extends keyof Openers>(kind: K, what: Parameters<Openers[K]>[0]): Promise<Remote<ReturnType<Openers[K]>>> {
    const of = (await this.#ask({ id: this.#nextId++, open: kind, what })) as number;
    const call = (method: string, ...args: readonly unknown[]): Promise<unknown> =>
      this.#ask({ id: this.#nextId++, of, call: method, args });
    return { call, close: () => call('close') } as Remote<ReturnType<Openers[K]>>;
  }

  /** Ends the thread once what was asked of it is done. */
  async close(): Promise<void> {
    if (this.#waiting.size > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    await this.#thread?.end();
    this.#thread = undefined;
  }

  #ask(asked: Asked): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(asked.id, { asked, resolve, reject });
      if (this.#here !== undefined) return this.#answered(this.#here.answer(asked));
      this.#thread ??= this.#start();
      this.#thread.post(asked, 'args' in asked ? buffersOf(asked.args) : []);
    });
  }

  #start(): Thread {
    const { threads = systemThreads, module = WORKER } = this.#options;
    let works = false;
    return threads.start(module, {
      onMessage: (answered) => {
        works = true;
        this.#answered(answered as Answered);
      },
      onExit: (why) => {
        this.#thread = undefined;
        if (works) this.#crashed(why);
        else this.#workHere();
      },
    });
  }

  #answered(answered: Answered): void {
    const waiting = this.#waiting.get(answered.id);
    this.#waiting.delete(answered.id);
    if ('error' in answered) waiting?.reject(errorOf(answered.error));
    else waiting?.resolve(answered.result);
    if (this.#waiting.size === 0) this.#idle();
  }

  #workHere(): void {
    const here = new FileWork();
    this.#here = here;
    for (const { asked } of [...this.#waiting.values()]) this.#answered(here.answer(asked));
  }

  /** What was open in it is gone; the next thing that is opened begins another. */
  #crashed(why: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new TransferError(`what reads and writes files has ended: ${why}`, { code: 'TRANSFER_IO' }));
    this.#idle();
  }
}

interface Waiting {
  readonly asked: Asked;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: TransferError) => void;
}

type Methods<T> = Exclude<{ [K in keyof T]: T[K] extends (...args: never[]) => unknown ? K : never }[keyof T], 'close'>;
type ArgumentsOf<F> = F extends (...args: infer A) => unknown ? A : never;
type ResultOf<F> = F extends (...args: never[]) => infer R ? R : never;

const WORKER = new URL('./file-worker.js', import.meta.url);
