import type { ChildSa } from './child-sa.ts';
import type { Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import type { Timer } from './timers.ts';
import type { World } from './world.ts';

/** RFC 7296 §2.8: lifetimes are local and end in jitter, so that two ends with equal settings seldom rekey at once. */
function softLifetime(world: World, since: Millis, rekey: number, jitter: number): Millis {
  return since + rekey - Math.floor(world.random.jitter() * Math.min(jitter, rekey));
}

/** The IKE SA stands: from here on it may carry CREATE_CHILD_SA and INFORMATIONAL. */
export function established(world: World, sa: IkeSa): void {
  world.clear(sa.timers['half-open']);
  world.transition(sa, 'established');
  world.noteProven(sa);
  sa.establishedAt = world.now;
  sa.lastInbound = world.now;
  sa.initRequest = undefined;
  armIkeTimers(world, sa);
  world.notice({ kind: 'ike-up', ikeSa: sa.id, info: sa.info() });
}

/** Lifetimes count from when the SA was established, be that before a restart. */
export function armIkeTimers(world: World, sa: IkeSa): void {
  const { connection, establishedAt: since = world.now } = sa;
  if (connection === undefined) return;
  const { rekey, jitter, hard } = connection.lifetimes;
  if (rekey > 0) {
    sa.rekeyAt = softLifetime(world, since, rekey, jitter);
    world.arm(sa.timers['rekey-ike'], sa.rekeyAt);
  }
  if (hard > 0) world.arm(sa.timers['expire-ike'], since + hard);
  if (connection.liveness.delay > 0) world.arm(sa.timers.liveness, world.now + connection.liveness.delay);
}

export function armChildTimers(world: World, child: ChildSa): void {
  const { rekey, jitter, hard } = child.policy.lifetimes;
  const since = child.establishedAt;
  if (rekey > 0) {
    child.rekeyAt = softLifetime(world, since, rekey, jitter);
    world.arm(child.timers.rekey, child.rekeyAt);
  }
  if (hard > 0) world.arm(child.timers.expire, since + hard);
}

/** When a rekeying that may fail is tried again: every half minute, and more often where the hard lifetime leaves less time. */
export function nextRekey(world: World, hard: Timer): Millis {
  const left = hard.slot < 0 ? Number.POSITIVE_INFINITY : hard.at - world.now;
  return world.now + Math.max(1000, Math.min(REKEY_RETRY, Math.floor(left / 4)));
}

const REKEY_RETRY: Millis = 30_000;
