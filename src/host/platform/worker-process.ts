import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DataPlaneError } from '../../core/bytes/index.ts';

/** Another Node process of ours that speaks JSON, one value a line, over its standard streams. */
export interface WorkerProcess {
  send(message: unknown): void;
  /** Asks it to end by closing its input; kills it when it has not after `patience` milliseconds. */
  close(patience?: number): Promise<void>;
  readonly exited: Promise<WorkerExit>;
}

export interface WorkerExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last lines it wrote to its error stream. */
  readonly errors: string;
}

/**
 * Starts `module` in a process of its own. What it needs to know goes in by `setup`, the first line of its input, never in argv or the
 * environment, where others could read it.
 * @throws nothing; a process that cannot be started shows in `exited`
 */
export function startWorker(module: URL, setup: unknown, onMessage: (message: unknown) => void): WorkerProcess {
  const child = spawn(process.execPath, [fileURLToPath(module)], { stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true });
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    errors.push(line);
    if (errors.length > KEPT_ERROR_LINES) errors.shift();
  });
  createInterface({ input: child.stdout }).on('line', (line) => onMessage(parseLine(line)));
  // a process that died takes no more input; that it died is told by `exited`
  child.stdin.on('error', () => undefined);
  const exited = new Promise<WorkerExit>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, errors: error.message }));
    child.once('close', (code, signal) => resolve({ code, signal, errors: errors.join('\n') }));
  });
  const send = (message: unknown) => void child.stdin.write(`${JSON.stringify(message)}\n`);
  send(setup);
  return { send, exited, close: (patience = 2000) => end(child, exited, patience) };
}

/** The other side: calls `onMessage` for each line of input, the setup first, and `onClose` when the parent is gone. */
export function speakWithParent(onMessage: (message: unknown) => void, onClose: () => void): (message: unknown) => void {
  createInterface({ input: process.stdin })
    .on('line', (line) => onMessage(parseLine(line)))
    .on('close', onClose);
  return (message) => void process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function end(child: ChildProcess, exited: Promise<WorkerExit>, patience: number): Promise<void> {
  child.stdin?.end();
  const killer = setTimeout(() => child.kill('SIGKILL'), patience);
  await exited;
  clearTimeout(killer);
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new DataPlaneError(`a process of ours wrote what is no message: ${line.slice(0, 80)}`, { code: 'WORKER_TALK', cause });
  }
}

const KEPT_ERROR_LINES = 20;
