import type { ChildSa } from '../child-sa.ts';
import type { Millis } from '../effects.ts';
import { ask, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/** A child that carries nothing is deleted where its policy says so (D25). A rekeying is no traffic: what is idle before it is idle after it. */
export function watchActivity(world: World, child: ChildSa): void {
  const { inactivity = 0 } = child.policy;
  if (inactivity === 0) return;
  child.busyAt = world.now;
  world.arm(child.timers.idle, world.now + inactivity);
  const old = child.spec.replaces === undefined ? undefined : world.child(child.spec.replaces);
  if (old === undefined) return;
  askLastUse(world, old, (at) => {
    child.busyAt = at ?? old.busyAt ?? old.establishedAt;
    if (child.usable) world.arm(child.timers.idle, Math.max(world.now, child.busyAt + inactivity));
  });
}

/** The timer fired: was there traffic since it was armed? @param idle what happens when there was none */
export function idleDue(world: World, child: ChildSa, idle: (reason: string) => void): void {
  const { inactivity = 0 } = child.policy;
  if (!child.usable || inactivity === 0) return;
  world.arm(child.timers.idle, world.now + inactivity);
  if (child.is('rekeying')) return;
  askLastUse(world, child, (at) => {
    child.busyAt = Math.max(at ?? 0, child.busyAt ?? child.establishedAt);
    if (!child.is('installed')) return;
    if (world.now - child.busyAt >= inactivity) idle(`no traffic for ${seconds(inactivity)}`);
    else world.arm(child.timers.idle, child.busyAt + inactivity);
  });
}

function askLastUse(world: World, child: ChildSa, told: (at: Millis | undefined) => void): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa === undefined) return;
  const routine = (function* (): Routine<Millis | undefined> {
    const answer = yield* ask({ kind: 'last-use', child: child.id });
    return answer.ok ? answer.at : undefined;
  })();
  world.run(sa, routine, told, (error) => {
    throw error;
  });
}

const seconds = (span: Millis): string => `${Math.round(span / 1000)} s`;
