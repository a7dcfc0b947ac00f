import type { ChildSa } from './child-sa.ts';
import type { ChildSaSpec, Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import type { ChildLifetimes } from './policy.ts';
import { watchActivity } from './tasks/inactivity.ts';
import type { Timer } from './timers.ts';
import type { World } from './world.ts';

/** RFC 7296 §2.8: lifetimes are local and end in jitter, so that two ends with equal settings seldom rekey at once. */
export function soften(world: World, soft: number, jitter: number): number {
  return soft - Math.floor(world.random.jitter() * Math.min(jitter, soft));
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
    sa.rekeyAt = since + soften(world, rekey, jitter);
    world.arm(sa.timers['rekey-ike'], sa.rekeyAt);
  }
  if (hard > 0) world.arm(sa.timers['expire-ike'], since + hard);
  if (connection.liveness.delay > 0) world.arm(sa.timers.liveness, world.now + connection.liveness.delay);
}

export function armChildTimers(world: World, child: ChildSa): void {
  const { rekey, jitter, hard } = child.policy.lifetimes;
  const since = child.establishedAt;
  if (rekey > 0) {
    child.rekeyAt = since + soften(world, rekey, jitter);
    world.arm(child.timers.rekey, child.rekeyAt);
  }
  if (hard > 0) world.arm(child.timers.expire, since + hard);
  watchActivity(world, child);
}

/** What the data plane counts towards. Sequence numbers of 32 bits must not run out before there is a successor (RFC 4303 §3.3.3). */
export function volumeLimits(world: World, lifetimes: ChildLifetimes, esn: boolean): ChildSaSpec['limits'] {
  const { rekeyBytes, hardBytes, rekeyPackets, hardPackets, jitterBytes = 0, jitterPackets = 0 } = lifetimes;
  const packets = soften(world, rekeyPackets, jitterPackets);
  return {
    softBytes: soften(world, rekeyBytes, jitterBytes),
    hardBytes,
    softPackets: esn ? packets : Math.min(packets || MOST_WITHOUT_ESN, MOST_WITHOUT_ESN),
    hardPackets,
  };
}

/** When a rekeying that may fail is tried again: every half minute, and more often where the hard lifetime leaves less time. */
export function nextRekey(world: World, hard: Timer): Millis {
  const left = hard.slot < 0 ? Number.POSITIVE_INFINITY : hard.at - world.now;
  return world.now + Math.max(1000, Math.min(REKEY_RETRY, Math.floor(left / 4)));
}

const REKEY_RETRY: Millis = 30_000;
const MOST_WITHOUT_ESN = 0xf000_0000;
