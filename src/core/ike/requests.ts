import type { ChildSa } from './child-sa.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { enqueueCreate, isBeingRekeyed, rekeyChild } from './exchanges/create-child-sa.ts';
import type { IkeSa } from './ike-sa.ts';
import type { Routine } from './routine.ts';
import { activateSuccessors, deleteHalf, endChild, protocolOf } from './tasks/child-delete.ts';
import { deleteIkeSa } from './tasks/ike-delete.ts';
import { rekeyIke } from './tasks/ike-rekey.ts';
import { checkLiveness } from './tasks/mobike-update.ts';

export function requestChildRekey(world: EndpointWorld, child: ChildSa): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa)
    enqueueChildJob(world, sa, child, 'rekey-child', `rekeying CHILD_SA ${child.spec.name}`, (owner) => rekeyChild(world, owner, child));
}

export function requestChildDelete(world: EndpointWorld, child: ChildSa, reason: string): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa) enqueueChildJob(world, sa, child, 'delete-child', `deleting CHILD_SA ${child.spec.name}`, () => endChild(world, child, reason));
}

/**
 * The hard lifetime of a child is over. It carries nothing from now on, whatever is under way; the Delete follows when the window has
 * room. What is meant to be up always is made anew, unless a successor is being made already.
 */
export function endOfLife(world: EndpointWorld, child: ChildSa): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa === undefined || child.is('installing', 'deleting', 'retired', 'dead')) return;
  const { policy, spec } = child;
  const wanted = child.usable && (policy.startAction === 'start' || policy.dpdAction === 'start');
  // a rekeying of ours that is under way may put another in its place (§2.8.1)
  const { replaces } = spec;
  child.wantedBack = wanted && (child.is('rekeying') || (replaces !== undefined && isBeingRekeyed(sa, replaces)));
  const protocol = protocolOf(child);
  if (child.is('rekeyed')) activateSuccessors(world, child);
  world.removeChild(child, 'its hard lifetime is over');
  world.enqueue(sa, {
    what: `deleting CHILD_SA ${spec.name}`,
    // another one than the operator's, which may be waiting and finds nothing to delete any more
    key: `expired-child ${child.id}`,
    ofChild: true,
    about: child.line,
    owes: [{ protocol: spec.protocol, spi: spec.inbound.spi }],
    start: () => deleteHalf(protocol, spec.inbound.spi),
  });
  if (wanted && !child.wantedBack) enqueueCreate(world, sa, policy);
}

export function requestIkeRekey(world: EndpointWorld, sa: IkeSa): void {
  world.enqueue(sa, { what: 'rekeying the IKE SA', key: 'rekey-ike', start: (owner) => rekeyIke(world, owner) });
}

export function requestIkeDelete(world: EndpointWorld, sa: IkeSa, reason: string): void {
  world.enqueue(sa, { what: 'deleting the IKE SA', key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, reason) });
}

export function requestLivenessCheck(world: EndpointWorld, sa: IkeSa): void {
  world.enqueue(sa, { what: 'liveness check', key: 'liveness', start: (owner) => checkLiveness(world, owner) });
}

function enqueueChildJob(
  world: EndpointWorld,
  sa: IkeSa,
  child: ChildSa,
  kind: string,
  what: string,
  start: (owner: IkeSa) => Routine<void>,
): void {
  world.enqueue(sa, { what, key: `${kind} ${child.id}`, ofChild: true, about: child.line, start });
}
