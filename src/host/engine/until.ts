import { TimedOut } from '../../core/bytes/index.ts';
import type { Notice } from '../../core/ike/effects.ts';
import type { EngineEvents } from './engine.ts';
import type { Emitter } from './events.ts';

/** What a waiter makes of one notice: undefined waits on. */
export type Outcome<T> = { readonly done: T } | { readonly failed: unknown } | undefined;

/**
 * Waits until `judge` decides. It is asked once at the beginning without a notice, then for each.
 * @param signal ends the waiting with its reason
 */
export function until<T>(
  events: Emitter<EngineEvents>,
  judge: (notice: Notice | undefined) => Outcome<T>,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void): void => {
      off();
      signal?.removeEventListener('abort', onAbort);
      act();
    };
    const onAbort = (): void => finish(() => reject(signal?.reason));
    const look = (notice: Notice | undefined): void => {
      const outcome = judge(notice);
      if (outcome === undefined) return;
      if ('done' in outcome) finish(() => resolve(outcome.done));
      else finish(() => reject(outcome.failed));
    };
    const off = events.on('notice', ({ notice }) => look(notice));
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    else look(undefined);
  });
}

/** What was waited for is over before it came about. */
export const connectionEnded = (what: string, reason: string): TimedOut => new TimedOut(`${what}: ${reason}`, { code: 'CONNECTION_ENDED' });
