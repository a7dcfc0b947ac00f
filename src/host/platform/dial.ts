import type { Socket } from 'node:net';
import type { Millis } from '../../core/ike/effects.ts';

interface DialBounds {
  readonly within: Millis;
  readonly signal?: AbortSignal | undefined;
  /** What an errno, `ETIMEDOUT` after that time as well, is to be told as. */
  failure(errno: string, cause?: unknown): Error;
}

/**
 * Until a socket that connects is connected; else it is destroyed. Errors of it that nobody hears later are not the process's end.
 * @throws what `failure` makes; the signal's reason
 */
export async function connected(socket: Socket, { within, signal, failure }: DialBounds): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let aborted = (): void => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(failure('ETIMEDOUT')), within);
      aborted = () => reject(signal?.reason);
      signal?.addEventListener('abort', aborted);
      socket.on('error', (error: NodeJS.ErrnoException) => reject(failure(error.code ?? error.message, error)));
      socket.once('connect', resolve);
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', aborted);
    socket.removeAllListeners('error');
    socket.on('error', () => undefined);
  }
}
