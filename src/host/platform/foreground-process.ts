import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { DataPlaneError } from '../../core/bytes/index.ts';

/**
 * Runs a program with our input and output. Signals of the terminal reach it by itself; while it runs they are its business.
 * @returns its exit code; 128 and the signal's number where one ended it
 * @throws DataPlaneError `PROGRAM_FAILED` where it cannot be started
 */
export function runInForeground([command, ...args]: readonly [string, ...string[]]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' });
    const ignore = (): void => undefined;
    for (const signal of OF_THE_TERMINAL) process.on(signal, ignore);
    const pass = (): void => void child.kill('SIGTERM');
    process.on('SIGTERM', pass);
    const done = (): void => {
      for (const signal of OF_THE_TERMINAL) process.off(signal, ignore);
      process.off('SIGTERM', pass);
    };
    child.once('error', (cause: NodeJS.ErrnoException) => {
      done();
      const why = cause.code === 'ENOENT' ? 'there is no such program' : cause.message;
      reject(
        new DataPlaneError(`${command} cannot be started: ${why}`, {
          code: 'PROGRAM_FAILED',
          cause,
          hint: 'Check that it is installed and in PATH.',
        }),
      );
    });
    child.once('exit', (code, signal) => {
      done();
      resolve(code ?? 128 + constants.signals[signal ?? 'SIGTERM']);
    });
  });
}

const OF_THE_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;
