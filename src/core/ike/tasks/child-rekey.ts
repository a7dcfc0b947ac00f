import { PeerRefused } from '../../bytes/errors.ts';
import { type NotifyPayload, NotifyType } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import { childMet } from '../collisions.ts';
import type { Millis } from '../effects.ts';
import { Superseded } from '../exchanges/followup-ke.ts';
import type { IkeSa } from '../ike-sa.ts';
import { notify } from '../notifies.ts';
import type { World } from '../world.ts';
import { spiNumber } from './child-create.ts';
import { activate, activateSuccessors, byOutboundSpi, replacedBy } from './child-delete.ts';

/** Which child the peer means by REKEY_SA, and whether it may (§2.25.1). */
export function rekeyTarget(world: World, sa: IkeSa, { protocol, spi }: NotifyPayload): { old: ChildSa } | { refuse: NotifyPayload } {
  const old = spi.length === 4 ? byOutboundSpi(sa, protocol, spiNumber(spi)) : undefined;
  const decision = world.collisions.rekeyChild[childMet(sa, old)];
  if (decision === 'TEMPORARY_FAILURE') return { refuse: notify(NotifyType.TEMPORARY_FAILURE) };
  // §2.25: the SPI is the one that the peer named
  if (old === undefined || decision === 'CHILD_SA_NOT_FOUND') {
    return { refuse: { ...notify(NotifyType.CHILD_SA_NOT_FOUND), protocol, spi } };
  }
  return { old };
}

/** The peer's rekeying of `old` stands on our side. */
export function noteRekeyed(world: World, old: ChildSa, successor: ChildSa): void {
  world.notice({ kind: 'child-rekeyed', from: old.id, to: successor.id, byUs: false });
  if (old.state === 'rekeying') old.peerSuccessor = successor;
  else if (old.state === 'installed') {
    old.successor = successor;
    world.childTransition(old, 'rekeyed');
  }
  // the old one went while the new one was being installed: nothing else would set it going, unless ours serves
  else if (!old.is('rekeyed') && old.successor?.usable !== true) activate(world, successor);
}

/** The peer has the successor and is to delete this one; should that never come, we do it ourselves. */
export function awaitDelete(world: World, child: ChildSa): void {
  if (!child.is('rekeyed')) world.childTransition(child, 'rekeyed');
  if (child.timers.retire.slot < 0) world.arm(child.timers.retire, world.now + PATIENCE);
}

/**
 * A successor is gone, and nothing else is in its place: the peer deletes the old child, if it has seen the successor at all. What only it
 * still believes in must not stand for ever (§2.8).
 */
export function settleReplaced(world: World, gone: ChildSa): void {
  const sa = world.ikeSas.get(gone.ikeSa);
  const old = sa && replacedBy(world, sa, gone);
  if (old) awaitDelete(world, old);
}

/**
 * Our rekeying failed: what the old child is now depends on what the peer did meanwhile.
 * @returns whether it is settled thereby; `anew` when a child must be made from scratch (§2.25)
 */
export function giveUpRekey(world: World, old: ChildSa, error: unknown): 'settled' | 'anew' | 'failed' {
  const unknown = error instanceof PeerRefused && error.notify === NotifyType.CHILD_SA_NOT_FOUND;
  const settled = unknown || error instanceof Superseded;
  // the peer deleted it while our request was under way, so there is nothing to rekey
  if (old.state !== 'rekeying') return settled ? 'settled' : 'failed';
  if (old.rival) {
    awaitDelete(world, old);
    // §2.8: the peer that asked for the rival may not have it yet; one that no longer knows the old one has
    if (unknown) activateSuccessors(world, old);
    return settled ? 'settled' : 'failed';
  }
  if (unknown) {
    world.removeChild(old, 'the peer no longer knows it');
    return 'anew';
  }
  world.childTransition(old, 'installed');
  return settled ? 'settled' : 'failed';
}

/** The peer that made the successor deletes what it replaced within a round trip or two. */
const PATIENCE: Millis = 60_000;
