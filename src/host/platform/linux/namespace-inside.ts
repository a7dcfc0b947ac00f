import { spawn } from 'node:child_process';
import type { NamespaceEntry } from './namespace.ts';

export interface InsideOptions {
  /** Where it begins; where we are unless given. */
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Those of this process unless given. */
  readonly stdio?: 'inherit' | 'pipe' | 'ignore';
}

/** A program that runs behind the tunnel. */
export interface InsideProcess {
  readonly pid: number | undefined;
  /** What it wrote, with `stdio: 'pipe'`; else empty. */
  readonly ended: Promise<{
    readonly code: number | null;
    readonly signal: NodeJS.Signals | null;
    readonly stdout: string;
    readonly stderr: string;
  }>;
  kill(signal?: NodeJS.Signals): void;
}

/**
 * The command line by which `command` runs in the namespace, for any process of the same user: through the tunnel, or not at all. It has the
 * user's rights, home and files; what it lacks is any other network. nsenter(1) is of util-linux.
 */
export const commandInside = ({ user, net, mount }: NamespaceEntry, command: readonly string[], folder?: string): readonly string[] => [
  'nsenter',
  '--preserve-credentials',
  `--user=${user}`,
  `--net=${net}`,
  `--mount=${mount}`,
  '--',
  // in another mount namespace the folder is found again by its name
  ...(folder === undefined ? [] : ['env', `--chdir=${folder}`]),
  ...command,
];

/** Runs a program behind the tunnel. @throws nothing; one that cannot be started ends with the code 127 and says why */
export function runInside(entry: NamespaceEntry, command: readonly string[], options: InsideOptions = {}): InsideProcess {
  const { folder = process.cwd(), env = process.env, stdio = 'inherit' } = options;
  const [program, ...args] = commandInside(entry, command, folder);
  const child = spawn(program!, args, { env: { ...env }, stdio });
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Uint8Array) => {
    output.stdout += String(chunk);
  });
  child.stderr?.on('data', (chunk: Uint8Array) => {
    output.stderr += String(chunk);
  });
  const ended = new Promise<Awaited<InsideProcess['ended']>>((resolve) => {
    child.once('error', (error) => resolve({ code: NOT_FOUND, signal: null, stdout: output.stdout, stderr: error.message }));
    child.once('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  return { pid: child.pid, ended, kill: (signal = 'SIGTERM') => void child.kill(signal) };
}

/** As shells have it. */
const NOT_FOUND = 127;
