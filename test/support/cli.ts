import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { BUILD, whyNotBuilt } from './build.ts';

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd: string;
  /** Everything the process has of an environment, beside the way to find Node. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The command line as it was built, in a process of its own, with a process group of its own as at a terminal. */
export class CliProcess {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #stdout = '';
  #stderr = '';

  constructor(args: readonly string[], { cwd, env }: CliOptions) {
    this.#child = spawn(process.execPath, [builtCli(), ...args], {
      cwd,
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#look();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    const killed = (): void => this.kill();
    process.once('exit', killed);
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        process.removeListener('exit', killed);
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
        this.#look();
      });
    });
  }

  /** Waits for text on its output. @throws when it ends without */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.#stdout);
      if (found !== null) return found;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`it ended before it said ${pattern}:\n${this.#stdout}${this.#stderr}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Ctrl-C at the terminal: every process of the group gets it. */
  interrupt(): void {
    process.kill(-this.#pid, 'SIGINT');
  }

  /** Takes the process away, and it alone, without a chance to clean up. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  get #pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  #look(): void {
    for (const look of this.#waiting) look();
    this.#waiting.clear();
  }
}

/** Runs the command line to its end. */
export const runCli = (args: readonly string[], options: CliOptions): Promise<Ended> => new CliProcess(args, options).ended;

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** @throws when there is no build, or one of older sources: the test would judge what nobody wrote */
function builtCli(): string {
  const reason = whyNotBuilt();
  if (reason !== undefined) throw new Error(`${reason}: run npm run build, or npm test, which builds first`);
  return join(BUILD, 'cli', 'main.js');
}
