import { PeerRefused } from '../../bytes/errors.ts';
import { type NotifyPayload, NotifyType, ProtocolId } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import { ON_CHILD_REKEY } from '../collisions.ts';
import type { Millis } from '../effects.ts';
import { Superseded } from '../exchanges/followup-ke.ts';
import type { IkeSa } from '../ike-sa.ts';
import { notify } from '../notifies.ts';
import type { World } from '../world.ts';
import { spiNumber } from './child-create.ts';
import { activate, activateSuccessors } from './child-delete.ts';

/** Which child the peer means by REKEY_SA, and whether it may (§2.25.1). */
export function rekeyTarget(sa: IkeSa, rekey: NotifyPayload): { old: ChildSa } | { refuse: NotifyPayload } {
  const protocol = rekey.protocol === ProtocolId.AH ? 'AH' : 'ESP';
  const spi = rekey.spi.length === 4 ? spiNumber(rekey.spi) : 0;
  const old = [...sa.children.values()].find((c) => c.outboundSpi === spi && c.spec.protocol === protocol && c.state !== 'dead');
  const decision = old === undefined ? 'CHILD_SA_NOT_FOUND' : ON_CHILD_REKEY[old.state];
  // an answer that is still on its way to us may have made it: the peer, which sent that answer, knows more than we do
  if (old === undefined && sa.offeredSpis.size > 0) return { refuse: notify(NotifyType.TEMPORARY_FAILURE) };
  if (old === undefined || decision === 'CHILD_SA_NOT_FOUND')
    return { refuse: { ...notify(NotifyType.CHILD_SA_NOT_FOUND), protocol: rekey.protocol, spi: rekey.spi } };
  // one rival is what a crossing makes; more than one is not a crossing
  if (decision === 'TEMPORARY_FAILURE' || old.peerSuccessor?.usable || sa.halfMade.following === old)
    return { refuse: notify(NotifyType.TEMPORARY_FAILURE) };
  return { old };
}

/** The peer's rekeying of `old` stands on our side. */
export function noteRekeyed(world: World, old: ChildSa, successor: ChildSa): void {
  world.notice({ kind: 'child-rekeyed', from: old.id, to: successor.id, byUs: false });
  if (old.state === 'rekeying') old.peerSuccessor = successor;
  else if (old.state === 'installed') world.childTransition(old, 'rekeyed');
  // the old one went while the new one was being installed: nothing else would set it going
  else if (!old.is('rekeyed')) activate(world, successor);
}

/** The peer has the successor and is to delete this one; should that never come, we do it ourselves. */
export function awaitDelete(world: World, child: ChildSa): void {
  if (!child.is('rekeyed')) world.childTransition(child, 'rekeyed');
  if (child.timers.retire.slot < 0) world.arm(child.timers.retire, world.now + PATIENCE);
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
  if (old.peerSuccessor?.usable) {
    world.childTransition(old, 'rekeyed');
    activateSuccessors(world, old);
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
