import type { Millis } from './effects.ts';
import type { Timer } from './timers.ts';
import type { World } from './world.ts';

/** RFC 7296 §2.8: lifetimes are local and end in jitter, so that two ends with equal settings seldom rekey at once. */
export function soften(world: World, soft: number, jitter: number): number {
  return soft - Math.floor(world.random.jitter() * Math.min(jitter, soft));
}

/** When a rekeying that may fail is tried again: every half minute, and more often where the hard lifetime leaves less time. */
export function nextRekey(world: World, hard: Timer): Millis {
  const left = hard.slot < 0 ? Number.POSITIVE_INFINITY : hard.at - world.now;
  return world.now + Math.max(1000, Math.min(REKEY_RETRY, Math.floor(left / 4)));
}

const REKEY_RETRY: Millis = 30_000;
