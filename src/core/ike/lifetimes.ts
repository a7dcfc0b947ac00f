import type { ChildSa } from './child-sa.ts';
import type { ChildSaSpec } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import type { ChildLifetimes } from './policy.ts';
import { soften } from './rekey-times.ts';
import { watchActivity } from './tasks/inactivity.ts';
import { armReauthentication, noteAuthenticated } from './tasks/reauthentication.ts';
import { keepStream } from './tasks/tcp-leaving.ts';
import type { World } from './world.ts';

/** The IKE SA stands: from here on it may carry CREATE_CHILD_SA and INFORMATIONAL. */
export function established(world: World, sa: IkeSa): void {
  world.disarm(sa.timers, 'half-open');
  world.transition(sa, 'established');
  world.noteProven(sa);
  sa.establishedAt = world.now;
  sa.lastInbound = world.now;
  sa.initRequest = undefined;
  sa.heeded = undefined;
  sa.forgetProofKeys();
  noteAuthenticated(world, sa);
  keepStream(world, sa);
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
  armReauthentication(world, sa);
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

const MOST_WITHOUT_ESN = 0xf000_0000;
