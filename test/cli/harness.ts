import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CliContext, EndSignal } from '../../src/cli/context.ts';
import { run } from '../../src/cli/program.ts';

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly columns?: number;
  readonly tty?: boolean;
  readonly uid?: number;
  readonly stdin?: Uint8Array;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One command line in this process, with everything it says and takes in our hands. */
export class Cli {
  out = '';
  err = '';
  readonly done: Promise<Ran>;
  readonly #listeners = new Set<(signal: EndSignal) => void>();
  exitedNow: number | undefined;

  constructor(argv: readonly string[], options: CliOptions = {}) {
    const { columns = 100, tty = false } = options;
    const terminal = (take: (text: string) => void) => ({ write: take, isTty: tty, columns });
    const context: CliContext = {
      out: terminal((text) => {
        this.out += text;
      }),
      err: terminal((text) => {
        this.err += text;
      }),
      env: options.env ?? {},
      args: argv,
      detach: () => Promise.reject(new Error('no test sends anything into the background')),
      tellReady: undefined,
      cwd: options.cwd ?? '/nonexistent',
      home: '/nonexistent/home',
      uid: options.uid ?? 1000,
      hostname: 'laptop',
      version: '1.2.3',
      now: () => Date.now(),
      onSignal: (listener) => {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
      takeObjectRoom: async () => undefined,
      exitNow: (code) => {
        this.exitedNow = code;
      },
      readStdin: async () => options.stdin ?? new Uint8Array(0),
      stdio: () => ({
        input: Readable.from(options.stdin === undefined ? [] : [options.stdin]),
        output: new Writable({
          write: (chunk: Uint8Array, _encoding, done) => {
            this.out += new TextDecoder('latin1').decode(chunk);
            done();
          },
        }),
      }),
    };
    this.done = run(argv, context).then((code) => ({ code, out: this.out, err: this.err }));
  }

  signal(signal: EndSignal = 'SIGINT'): void {
    for (const listener of [...this.#listeners]) listener(signal);
  }

  /** Nobody listens for Ctrl-C any more. */
  get deaf(): boolean {
    return this.#listeners.size === 0;
  }

  /** Waits for something it says. */
  async says(pattern: RegExp, limit = 30_000): Promise<RegExpExecArray> {
    const ended = this.done.then(() => true);
    for (let waited = 0; waited < limit; waited += 10) {
      const found = pattern.exec(this.out + this.err);
      if (found !== null) return found;
      if ((await Promise.race([ended, sleep(10).then(() => false)])) && !pattern.test(this.out + this.err)) break;
    }
    const found = pattern.exec(this.out + this.err);
    if (found !== null) return found;
    throw new Error(`it never said ${pattern}:\n${this.out}\n${this.err}`);
  }
}

export const cli = (argv: readonly string[], options?: CliOptions): Promise<Ran> => new Cli(argv, options).done;

/** The one document on the output. */
export const json = (ran: Ran): Record<string, unknown> => JSON.parse(ran.out) as Record<string, unknown>;
