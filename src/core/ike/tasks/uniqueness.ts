import { NotifyType, type Payload } from '../../wire/index.ts';
import { sameIdentity } from '../identity.ts';
import type { IkeSa } from '../ike-sa.ts';
import { notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import type { World } from '../world.ts';
import { expectedId } from './authenticate.ts';
import { deleteIkeSa } from './ike-delete.ts';

/** RFC 7296 §2.4: says that we know of no other IKE SA with this peer, so it may drop what it still keeps of us. */
export function initialContact(world: World, sa: IkeSa, connection: Connection): Payload[] {
  if (connection.unique === 'never') return [];
  const peer = expectedId(connection);
  const others =
    peer !== undefined &&
    [...world.provenAs(peer)].some((other) => other !== sa && other.isEstablished && other.connection?.name === connection.name);
  return others ? [] : [notify(NotifyType.INITIAL_CONTACT)];
}

/** The peer restarted: its older SAs are gone there, so they go here, without a word (D41). */
export function heedInitialContact(world: World, sa: IkeSa, present: boolean): void {
  if (!present || sa.connection?.unique === 'never') return;
  for (const other of twins(world, sa)) world.kill(other, 'the peer started anew (INITIAL_CONTACT)');
}

/** One IKE SA per pair of identities, where the policy says so: the older ones are deleted in an orderly way. */
export function enforceUniqueness(world: World, sa: IkeSa): void {
  if (sa.connection?.unique !== 'replace') return;
  for (const other of twins(world, sa)) {
    const reason = 'replaced by a newer IKE SA of the same peer';
    world.enqueue(other, { what: reason, key: 'delete-ike', start: () => deleteIkeSa(world, other, reason) });
  }
}

function twins(world: World, sa: IkeSa): IkeSa[] {
  const { localId, remoteId } = sa;
  if (localId === undefined || remoteId === undefined) return [];
  const samePair = (other: IkeSa) => other.localId !== undefined && sameIdentity(other.localId, localId);
  return [...world.provenAs(remoteId)].filter(
    (other) => other !== sa && other.isEstablished && other.connection?.name === sa.connection?.name && samePair(other),
  );
}
