import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { DataPlaneError } from '../../core/bytes/index.ts';

export type Command = readonly [string, ...string[]];

export interface ProgramOptions {
  /** That of this process unless given. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Those of this process unless given. */
  readonly stdio?: 'inherit' | 'pipe' | 'ignore' | undefined;
}

/** A program that was started. */
export interface Program {
  readonly pid: number | undefined;
  /** Rejects with DataPlaneError `PROGRAM_FAILED` where it cannot be started. */
  readonly ended: Promise<ProgramEnd>;
  kill(signal?: NodeJS.Signals): void;
}

export interface ProgramEnd {
  /** Its exit code, or as shells have it 128 and the number of the signal that ended it. */
  readonly code: number;
  /** What it wrote, with `stdio: 'pipe'`; else empty. */
  readonly stdout: string;
  readonly stderr: string;
}

export function startProgram([command, ...args]: Command, { env = process.env, stdio = 'inherit' }: ProgramOptions = {}): Program {
  const child = spawn(command, args, { env: { ...env }, stdio });
  const ended = endOf(child, command);
  // whoever does not wait for it need not know
  ended.catch(() => undefined);
  return { pid: child.pid, ended, kill: (signal = 'SIGTERM') => void child.kill(signal) };
}

/**
 * Runs a program with our input and output. Signals of the terminal reach it by itself; while it runs they are its business.
 * @returns its exit code @throws DataPlaneError `PROGRAM_FAILED`
 */
export async function runInForeground(command: Command): Promise<number> {
  const program = startProgram(command);
  const ignore = (): void => undefined;
  const pass = (): void => program.kill('SIGTERM');
  for (const signal of OF_THE_TERMINAL) process.on(signal, ignore);
  process.on('SIGTERM', pass);
  try {
    return (await program.ended).code;
  } finally {
    for (const signal of OF_THE_TERMINAL) process.off(signal, ignore);
    process.off('SIGTERM', pass);
  }
}

function endOf(child: ChildProcess, command: string): Promise<ProgramEnd> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'there is no such program' : cause.message;
      reject(
        new DataPlaneError(`${command} cannot be started: ${why}`, {
          code: 'PROGRAM_FAILED',
          cause,
          hint: 'Check that it is installed and in PATH.',
        }),
      );
    });
    child.once('close', (code, signal) => resolve({ code: code ?? 128 + constants.signals[signal ?? 'SIGTERM'], ...output }));
  });
}

const OF_THE_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;
