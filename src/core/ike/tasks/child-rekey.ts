import { PeerRefused } from '../../bytes/errors.ts';
import { type NotifyPayload, NotifyType, ProtocolId } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import { ON_CHILD_REKEY } from '../collisions.ts';
import type { IkeSa } from '../ike-sa.ts';
import { notify } from '../notifies.ts';
import type { World } from '../world.ts';
import { spiNumber } from './child-create.ts';
import { activateSuccessors } from './child-delete.ts';

/** Which child the peer means by REKEY_SA, and whether it may (§2.25.1). */
export function rekeyTarget(sa: IkeSa, rekey: NotifyPayload): { old: ChildSa } | { refuse: NotifyPayload } {
  const protocol = rekey.protocol === ProtocolId.AH ? 'AH' : 'ESP';
  const spi = rekey.spi.length === 4 ? spiNumber(rekey.spi) : 0;
  const old = [...sa.children.values()].find((c) => c.outboundSpi === spi && c.spec.protocol === protocol && c.state !== 'dead');
  const decision = old === undefined ? 'CHILD_SA_NOT_FOUND' : ON_CHILD_REKEY[old.state];
  if (old === undefined || decision === 'CHILD_SA_NOT_FOUND')
    return { refuse: { ...notify(NotifyType.CHILD_SA_NOT_FOUND), protocol: rekey.protocol, spi: rekey.spi } };
  if (decision === 'TEMPORARY_FAILURE') return { refuse: notify(NotifyType.TEMPORARY_FAILURE) };
  return { old };
}

/** The peer's rekeying of `old` stands on our side. */
export function noteRekeyed(world: World, old: ChildSa, successor: ChildSa): void {
  world.notice({ kind: 'child-rekeyed', from: old.id, to: successor.id, byUs: false });
  if (old.state === 'rekeying') old.peerSuccessor = successor;
  else if (old.state === 'installed') world.childTransition(old, 'rekeyed');
}

/** Our rekeying failed: what the old child is now depends on what the peer did meanwhile. */
export function giveUpRekey(world: World, old: ChildSa, error: unknown): void {
  if (old.state !== 'rekeying') return;
  if (old.peerSuccessor?.usable) {
    world.childTransition(old, 'rekeyed');
    activateSuccessors(world, old);
  } else if (error instanceof PeerRefused && error.notify === NotifyType.CHILD_SA_NOT_FOUND) {
    world.removeChild(old, 'the peer no longer knows it');
  } else {
    world.childTransition(old, 'installed');
  }
}
