import { compareBytes } from '../../bytes/bytes.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
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
  // a policy that names nobody in particular may have the same peer on any of its IKE SAs
  const known = peer === undefined ? [...world.ikeSas.values()].filter((other) => other.connection === connection) : world.provenAs(peer);
  return [...known].some((other) => other !== sa && other.isEstablished) ? [] : [notify(NotifyType.INITIAL_CONTACT)];
}

/** The peer restarted: its older SAs are gone there, so they go here, without a word (D41). */
export function heedInitialContact(world: World, sa: IkeSa, present: boolean): void {
  if (!present || sa.connection?.unique === 'never') return;
  for (const other of twins(world, sa)) if (!crossing(sa, other)) world.kill(other, 'the peer started anew (INITIAL_CONTACT)');
}

/** One IKE SA per pair of identities, where the policy says so: the older ones are deleted in an orderly way. */
export function enforceUniqueness(world: World, sa: IkeSa): void {
  if (sa.connection?.unique !== 'replace') return;
  for (const other of twins(world, sa)) {
    // the one we were redirected from goes when this one carries its traffic
    if (other.connection?.name !== sa.connection.name || other.redirect?.follower === sa.id) continue;
    if (!crossing(sa, other)) end(world, other, 'replaced by a newer IKE SA of the same peer');
    // both ends see both SAs, in either order: both must find the same one superfluous
    else end(world, compareBytes(sa.spiI, other.spiI) < 0 ? sa : other, 'both ends began at once, and one IKE SA is enough');
  }
}

function end(world: World, sa: IkeSa, reason: string): void {
  world.enqueue(sa, { what: reason, key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, reason) });
}

/** Each end called the other before it was called itself: neither SA is what is left of a former life. */
function crossing(a: IkeSa, b: IkeSa): boolean {
  const [first, second] = a.bornAt <= b.bornAt ? [a, b] : [b, a];
  return a.originalRole !== b.originalRole && second.bornAt <= (first.establishedAt ?? Number.POSITIVE_INFINITY) + ON_THE_WAY;
}

/** IKE SAs between the same two identities (RFC 7296 §2.4). */
function twins(world: World, sa: IkeSa): IkeSa[] {
  const { localId, remoteId } = sa;
  if (localId === undefined || remoteId === undefined) return [];
  const samePair = (other: IkeSa) => other.localId !== undefined && sameIdentity(other.localId, localId);
  return [...world.provenAs(remoteId)].filter((other) => other !== sa && other.isEstablished && samePair(other));
}

/** A request that left before its sender heard of ours is here by then; nobody restarts as fast. */
const ON_THE_WAY: Millis = 1000;
