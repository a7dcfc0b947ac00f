import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scope } from './scope.ts';

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Milliseconds after which the process is killed: two minutes unless told. */
  readonly timeout?: number;
}

/** Runs a command to its end; a status other than 0 is the caller's to judge. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawn(command, args, { env: { ...process.env, ...options.env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout ?? 120_000);
  try {
    return { status: await ended(child), ...output };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that has to succeed and gives its output. */
export async function must(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(command, args, options);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** A process that runs beside the test. It is ended by its own pid, politely first. */
export class Daemon {
  readonly child: ChildProcess;
  readonly #name: string;
  #output = '';
  #closed = false;

  constructor(
    scope: Scope,
    name: string,
    command: string,
    args: readonly string[],
    options: { env?: Readonly<Record<string, string>>; stdin?: boolean } = {},
  ) {
    this.#name = name;
    this.child = spawn(command, args, {
      env: { ...process.env, ...options.env },
      stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    this.child.stderr!.on('data', (chunk: Buffer) => this.#keep(chunk));
    this.child.stdout!.on('data', (chunk: Buffer) => this.#keep(chunk));
    this.child.on('error', (error) => {
      this.#closed = true;
      this.#keep(Buffer.from(`${error.message}\n`));
    });
    this.child.on('close', () => {
      this.#closed = true;
    });
    const atExit = (): void => void this.child.kill('SIGKILL');
    process.setMaxListeners(0);
    process.once('exit', atExit);
    scope.defer(name, async () => {
      await this.stop();
      process.removeListener('exit', atExit);
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.#name} did not start\n${this.#output}`);
    return this.child.pid;
  }

  /** Until it has ended and all of its output was read. */
  get running(): boolean {
    return !this.#closed;
  }

  /** The last of what it printed, for the text of a failure. */
  get output(): string {
    return this.#output;
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    const end = ended(this.child);
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 20_000);
    await end;
    clearTimeout(timer);
  }

  #keep(chunk: Buffer): void {
    this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT);
  }
}

/**
 * Waits until `look` gives something, for a minute unless told: a busy machine is slow. `what` says in a failure for what, and `onTimeout`
 * adds what the other side logged.
 */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeout = PATIENCE,
  onTimeout: () => string = () => '',
): Promise<T> {
  const end = performance.now() + timeout;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > end) throw new Error(`waited ${timeout / 1000} s in vain: ${what}\n${onTimeout()}`);
    await sleep(50);
  }
}

export const commandExists = (name: string): boolean =>
  spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'ignore' }).status === 0;

/** A script of `process/`, as `tsc -b tsconfig.tools.json` compiled it; this file itself may run compiled, too. */
export function compiled(name: string): string {
  const built = join(process.cwd(), 'dist', '.tools', 'test', 'interop', 'process', `${name}.js`);
  if (!existsSync(built)) throw new Error(`${built} is not there: run npm run test:interop, which builds it first`);
  return built;
}

function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', () => resolve(-1));
    child.once('close', (code) => resolve(code ?? -1));
  });
}

/** Milliseconds for what only has to happen. */
export const PATIENCE = 60_000;
const OUTPUT_KEPT = 64 * 1024;
