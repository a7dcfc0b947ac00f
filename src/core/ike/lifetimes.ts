import type { ChildSa } from './child-sa.ts';
import type { Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import type { World } from './world.ts';

/** RFC 7296 §2.8: lifetimes are local and end in jitter, so that two ends with equal settings seldom rekey at once. */
function softLifetime(world: World, rekey: number, jitter: number): Millis {
  return world.now + rekey - Math.floor(world.random.jitter() * Math.min(jitter, rekey));
}

/** The IKE SA stands: from here on it may carry CREATE_CHILD_SA and INFORMATIONAL. */
export function established(world: World, sa: IkeSa): void {
  world.clear(sa.timers['half-open']);
  world.transition(sa, 'established');
  world.noteProven(sa);
  sa.establishedAt = world.now;
  sa.lastInbound = world.now;
  armIkeTimers(world, sa);
  world.notice({ kind: 'ike-up', ikeSa: sa.id, info: sa.info() });
}

export function armIkeTimers(world: World, sa: IkeSa): void {
  const { connection } = sa;
  if (connection === undefined) return;
  const { rekey, jitter, hard } = connection.lifetimes;
  if (rekey > 0) {
    sa.rekeyAt = softLifetime(world, rekey, jitter);
    world.arm(sa.timers['rekey-ike'], sa.rekeyAt);
  }
  if (hard > 0) world.arm(sa.timers['expire-ike'], world.now + hard);
  if (connection.liveness.delay > 0) world.arm(sa.timers.liveness, world.now + connection.liveness.delay);
}

export function armChildTimers(world: World, child: ChildSa): void {
  const { rekey, jitter, hard } = child.policy.lifetimes;
  if (rekey > 0) {
    child.rekeyAt = softLifetime(world, rekey, jitter);
    world.arm(child.timers.rekey, child.rekeyAt);
  }
  if (hard > 0) world.arm(child.timers.expire, world.now + hard);
}
