import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, eventually, PATIENCE } from '../support/process.ts';
import { Scope } from '../support/scope.ts';

/** A program that is started again whenever it ends, by the same command, as a service manager does. */
export class Supervised {
  readonly #start: (scope: Scope) => Daemon;
  #scope = new Scope();
  #daemon: Daemon;
  #starts = 1;
  #before = '';
  #closed = false;
  readonly #watching: Promise<void>;

  /** Ends with the scope. */
  constructor(scope: Scope, name: string, start: (scope: Scope) => Daemon) {
    this.#start = start;
    this.#daemon = start(this.#scope);
    this.#watching = this.#watch();
    scope.defer(name, () => this.#close());
  }

  get starts(): number {
    return this.#starts;
  }

  /** Of all its lives. */
  get output(): string {
    return this.#before + this.#daemon.output;
  }

  /** Until this life has said it. */
  async says(text: string): Promise<void> {
    await eventually(
      `it says ${text}`,
      () => this.#daemon.output.includes(text),
      2 * PATIENCE,
      () => this.output,
    );
  }

  /** From one moment to the next; resolves when it runs again. */
  async kill(): Promise<void> {
    const before = this.#starts;
    // `ip netns exec` becomes what it executes
    this.#daemon.child.kill('SIGKILL');
    await eventually(
      'it is started again',
      () => this.#starts > before,
      PATIENCE,
      () => this.output,
    );
  }

  async #watch(): Promise<void> {
    while (!this.#closed) {
      await sleep(100);
      if (this.#daemon.running || this.#closed) continue;
      this.#before += this.#daemon.output;
      await this.#scope.close();
      this.#scope = new Scope();
      this.#daemon = this.#start(this.#scope);
      this.#starts++;
    }
  }

  async #close(): Promise<void> {
    this.#closed = true;
    await this.#watching;
    await this.#scope.close();
  }
}
