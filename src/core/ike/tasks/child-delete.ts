import { withLast } from '../../bytes/lists.ts';
import { ExchangeType, type Payload, ProtocolId } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import { childMet } from '../collisions.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll } from '../notifies.ts';
import { nextRekey } from '../rekey-times.ts';
import { exchange, exchangeWhileDue, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { spiNumber, spiOctets } from './child-create.ts';
import { watchActivity } from './inactivity.ts';

/** RFC 7296 §1.4.1: each end names the SPIs it receives on; the answer names the other halves. */
export function* deleteHalf(protocol: number, inboundSpi: number): Routine<void> {
  yield* exchange(ExchangeType.INFORMATIONAL, [{ kind: 'D', protocol, spis: [spiOctets(inboundSpi)] }]);
}

/** Several at once, of which the peer may know some. */
export function* deleteHalves(halves: readonly { readonly protocol: 'ESP' | 'AH'; readonly spi: number }[]): Routine<void> {
  const payloads = (['ESP', 'AH'] as const).flatMap((name): Payload[] => {
    const spis = halves.filter(({ protocol }) => protocol === name).map(({ spi }) => spiOctets(spi));
    return spis.length === 0 ? [] : [{ kind: 'D', protocol: ProtocolId[name], spis }];
  });
  yield* exchange(ExchangeType.INFORMATIONAL, payloads);
}

/** Our decision to end a child. */
export function* deleteChild(world: World, child: ChildSa, reason: string): Routine<void> {
  if (child.is('installing', 'deleting', 'retired', 'dead')) return;
  const replaced = child.state === 'rekeyed';
  world.childTransition(child, 'deleting');
  // §1.4.1: where the peer's Delete comes first, our half is in the answer to that
  const due = () => {
    child.deleteSent = child.is('deleting');
    return child.deleteSent;
  };
  yield* exchangeWhileDue(due, ExchangeType.INFORMATIONAL, [
    { kind: 'D', protocol: protocolOf(child), spis: [spiOctets(child.inboundSpi)] },
  ]);
  if (child.is('deleting')) finish(world, child, replaced, reason);
}

/** The operator, or a lifetime, ends a child: what it was just about to replace goes as well. */
export function* endChild(world: World, child: ChildSa, reason: string): Routine<void> {
  const replaced = child.spec.replaces === undefined ? undefined : world.child(child.spec.replaces);
  // what a new authentication was to replace is the business of the IKE SA before (RFC 7296 §2.8.3)
  const old = replaced?.ikeSa === child.ikeSa ? replaced : undefined;
  if (child.is('rekeyed')) activateSuccessors(world, child);
  yield* deleteChild(world, child, reason);
  if (old?.is('rekeyed')) yield* deleteChild(world, old, reason);
}

/** The peer ends children; our answer carries the inbound SPIs of those halves that we had not asked to delete ourselves (§1.4.1, D51). @returns also those that the peer closed without having replaced them. */
export function answerChildDeletes(world: World, sa: IkeSa, payloads: readonly Payload[]): { answers: Payload[]; closed: ChildSa[] } {
  const answers: Payload[] = [];
  const closed: ChildSa[] = [];
  for (const { protocol, spis } of findAll(payloads, 'D')) {
    if (protocol === ProtocolId.IKE) continue;
    const ours: Uint8Array[] = [];
    for (const spi of spis) {
      if (spi.length !== 4) continue;
      const child = byOutboundSpi(sa, protocol, spiNumber(spi));
      const decision = world.collisions.deleteChild[childMet(sa, child)];
      if (decision === 'remember' && sa.deletedEarly.length < MOST_EARLY) sa.deletedEarly = withLast(sa.deletedEarly, spiNumber(spi));
      if (child === undefined) continue;
      if (child.is('installed') && !hasStandIn(world, sa, child)) closed.push(child);
      if (decision === 'close-outbound') {
        closeOutbound(world, child);
        continue;
      }
      if (decision === 'delete-and-answer') ours.push(spiOctets(child.inboundSpi));
      // what its rival stands in for was not abandoned
      const abandoned = child.usable && child.rival === undefined ? replacedBy(world, sa, child) : undefined;
      finishByPeer(world, child);
      if (abandoned) reinstate(world, abandoned);
    }
    if (ours.length > 0) answers.push({ kind: 'D', protocol, spis: ours });
  }
  return { answers, closed };
}

/** §1.4.1: two Deletes have crossed; the outgoing half goes with the peer's request, the incoming one with the response to ours. */
function closeOutbound(world: World, child: ChildSa): void {
  if (child.rival !== undefined) activateSuccessors(world, child);
  world.emit({ kind: 'child-update', child: child.id, change: { kind: 'stop-outbound' } });
}

/** Of two successors the redundant one, which serves until the peer has this one (§2.8.1). */
export const givingWayTo = (child: ChildSa): ChildSa | undefined => {
  const other = child.takesOverFrom;
  return other?.ikeSa === child.ikeSa && other.is('rekeyed') ? other : undefined;
};

/** The child that this one was to replace by a rekeying, if that has not gone yet and nothing else replaces it. */
export function replacedBy(world: World, sa: IkeSa, successor: ChildSa): ChildSa | undefined {
  const rival = givingWayTo(successor);
  if (rival) return rival;
  const old = successor.spec.replaces === undefined ? undefined : world.child(successor.spec.replaces);
  // what a new authentication was to replace hangs on the IKE SA before, and is rekeyed there or not, whatever comes of this one
  if (!old?.is('rekeyed') || old.ikeSa !== sa.id) return undefined;
  const others = sa.children.some((c) => c !== successor && c.spec.replaces === old.id && c.usable);
  return others ? undefined : old;
}

/** What this child was to replace still serves, or its rival does: a successor that a crossing made redundant leaves no gap (§2.8.1). */
function hasStandIn(world: World, sa: IkeSa, successor: ChildSa): boolean {
  const { replaces } = successor.spec;
  if (replaces === undefined) return false;
  if (givingWayTo(successor)) return true;
  const rival = sa.children.some((c) => c !== successor && c.spec.replaces === replaces && c.is('installing', 'installed', 'rekeying'));
  const old = world.child(replaces);
  // what hangs on an IKE SA whose place was taken goes with that in a moment
  if (old && old.ikeSa !== sa.id && world.ikeSas.get(old.ikeSa)?.is('replaced')) return rival;
  return rival || old?.is('installed', 'rekeying', 'rekeyed') === true;
}

/** The peer could not use what it had asked for and deleted it: the old SA serves on. */
function reinstate(world: World, old: ChildSa): void {
  world.childTransition(old, 'installed');
  if (old.successor?.usable !== true) old.successor = undefined;
  world.disarm(old.timers, 'retire');
  if (old.rekeyAt !== undefined) world.arm(old.timers.rekey, nextRekey(world, old.timers.expire));
  watchActivity(world, old);
  activate(world, old);
}

function finishByPeer(world: World, child: ChildSa): void {
  const replaced = child.is('rekeyed') || child.rival !== undefined;
  // the peer is done with the old SA, so it has the new one: our traffic may move over (§2.8)
  if (replaced) activateSuccessors(world, child);
  if (replaced && child.is('rekeying')) world.childTransition(child, 'rekeyed');
  finish(world, child, replaced, 'deleted by the peer');
}

function finish(world: World, child: ChildSa, replaced: boolean, reason: string): void {
  if (child.state === 'retired' || child.state === 'dead') return;
  if (!replaced && child.state !== 'rekeyed') {
    world.removeChild(child, reason);
    return;
  }
  retireChild(world, child);
}

/** Packets that were under way when the Delete overtook them still find their SA (D02). */
export function retireChild(world: World, child: ChildSa): void {
  if (child.usable) world.childTransition(child, 'rekeyed');
  world.childTransition(child, 'retired');
  world.arm(child.timers.retire, world.now + RETIREMENT);
}

/** Whoever replaced this child sends from now on. */
export function activateSuccessors(world: World, old: ChildSa): void {
  for (const child of world.ikeSas.get(old.ikeSa)?.children ?? []) {
    if ((child.spec.replaces === old.id || child === old.takenOverBy) && child.usable) activate(world, child);
  }
}

/** Unless a newer authentication has a child for the same traffic: then the old one only receives (RFC 7296 §2.8.3). */
export function activate(world: World, child: ChildSa): void {
  child.activated = true;
  if (child.standIn?.serving) return;
  world.emit({ kind: 'child-update', child: child.id, change: { kind: 'activate-outbound' } });
}

export const byOutboundSpi = (sa: IkeSa, protocol: number, spi: number): ChildSa | undefined =>
  sa.children.find((c) => c.outboundSpi === spi && protocolOf(c) === protocol && c.state !== 'dead');

export const protocolOf = (child: ChildSa): number => (child.spec.protocol === 'AH' ? ProtocolId.AH : ProtocolId.ESP);

/** One request of ours is under way at a time; who names more SPIs than any answer to it could is not listened to. */
const MOST_EARLY = 64;
/** Longer than packets linger in any path that TCP could use. */
const RETIREMENT = 5_000;
