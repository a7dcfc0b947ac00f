import type { Duplex } from 'node:stream';
import { EMPTY } from '../../core/bytes/index.ts';

/**
 * Makes two half-open streams one: what either says the other hears, and each direction ends by itself. A stream that fails, or goes away
 * in the middle, takes the other with it.
 * @param early what `near` has said already
 * @returns resolves when both are closed
 */
export function join(near: Duplex, far: Duplex, early: Uint8Array = EMPTY): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    const watch = (one: Duplex, other: Duplex): void => {
      one.on('error', () => other.destroy());
      one.once('close', () => {
        if (!(one.readableEnded && one.writableFinished)) other.destroy();
        if (--open === 0) resolve();
      });
      if (one.destroyed) other.destroy();
    };
    watch(near, far);
    watch(far, near);
    if (early.length > 0) far.write(early);
    // one that has ended by now tells nobody any more
    if (near.readableEnded) far.end();
    else near.pipe(far);
    far.pipe(near);
  });
}
