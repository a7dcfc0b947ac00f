import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** How a process that was sent into the background fared until it stood, or did not. */
export type DetachedStart = { readonly kind: 'ready'; readonly pid: number } | { readonly kind: 'ended'; readonly code: number };

/**
 * Starts `module` as a process that outlives us; what it writes goes to `log` (made anew, mode 0600). Waits until it calls `tellReady` or
 * ends. When `signal` fires before that, it is asked to end (SIGTERM) and waited for.
 */
export function startDetached(module: URL, args: readonly string[], log: string, signal: AbortSignal): Promise<DetachedStart> {
  const output = openSync(log, 'w', 0o600);
  try {
    const child = spawn(process.execPath, [fileURLToPath(module), ...args], {
      detached: true,
      stdio: ['ignore', output, output, 'ipc'],
      windowsHide: true,
    });
    const stop = () => child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    return new Promise<DetachedStart>((resolve, reject) => {
      child.once('message', () => {
        child.disconnect();
        child.unref();
        resolve({ kind: 'ready', pid: child.pid ?? 0 });
      });
      child.once('exit', (code) => resolve({ kind: 'ended', code: code ?? 1 }));
      child.once('error', reject);
    }).finally(() => signal.removeEventListener('abort', stop));
  } finally {
    closeSync(output);
  }
}

/** The other side of `startDetached`: undefined for a process that nobody sent into the background. */
export const tellReady: (() => void) | undefined =
  process.send === undefined
    ? undefined
    : () => {
        // one word, then nothing holds us to whoever started us
        process.send?.('ready', undefined, {}, () => process.disconnect?.());
      };
