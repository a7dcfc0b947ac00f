import { createInterface } from 'node:readline';
import { Daemon } from './process.ts';
import type { Scope } from './scope.ts';

/**
 * A process that answers questions, each with a line of JSON for a line of JSON, one at a time. It says first, with a line of its own, that
 * it is ready, and ends when its input does.
 */
export class Dialogue {
  readonly #daemon: Daemon;
  readonly #name: string;
  #waiting: { readonly resolve: (answer: unknown) => void; readonly reject: (error: Error) => void } | undefined;

  private constructor(name: string, daemon: Daemon) {
    this.#name = name;
    this.#daemon = daemon;
    createInterface({ input: daemon.child.stdout! }).on('line', (line) => this.#waiting?.resolve(JSON.parse(line)));
    daemon.child.once('close', () => this.#waiting?.reject(new Error(`${name}: the process ended\n${daemon.output}`)));
  }

  static async start(scope: Scope, name: string, command: string, args: readonly string[]): Promise<Dialogue> {
    const made = new Dialogue(name, new Daemon(scope, name, command, args, { stdin: true }));
    await made.#answer();
    return made;
  }

  async ask<Question, Answer>(question: Question): Promise<Answer> {
    const answer = this.#answer();
    this.#daemon.child.stdin!.write(`${JSON.stringify(question)}\n`);
    return (await answer) as Answer;
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${this.#name}: no answer\n${this.#daemon.output}`)), PATIENCE);
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(late);
          this.#waiting = undefined;
          settle(value);
        };
      this.#waiting = { resolve: done(resolve), reject: done(reject) };
    });
  }
}

/** The other side: answers each line, once `ready` was said. */
export function answering<Question, Answer>(answer: (question: Question) => Answer | Promise<Answer>): void {
  const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => void Promise.resolve(answer(JSON.parse(line) as Question)).then(say));
  lines.on('close', () => process.exit(0));
  say({ ready: true });
}

/** Milliseconds. */
const PATIENCE = 60_000;
