import { compareBytes } from '../../bytes/bytes.ts';
import { AuthenticationFailure } from '../../bytes/errors.ts';
import { ExchangeType, formatIdentification, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import { isDistinguishedName, sameEnds } from '../identity.ts';
import type { IkeSa } from '../ike-sa.ts';
import { notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { expectedId } from './authenticate.ts';
import { deleteIkeSa } from './ike-delete.ts';
import { isSomebody, likelyStale } from './null-authentication.ts';
import { begunAlike, byAge } from './reauthentication.ts';

/** RFC 7296 §2.4: says that we know of no other IKE SA with this peer, so it may drop what it still keeps of us. */
export function initialContact(world: World, sa: IkeSa, connection: Connection): Payload[] {
  // RFC 7619 §2.3: of somebody whom the peer cannot know again it says nothing
  if (connection.unique === 'never' || connection.local[0]?.auth === 'null') return [];
  const peer = expectedId(connection);
  // a policy that names nobody in particular, or by a name of many encodings, may have the same peer on any of its IKE SAs
  const known =
    peer === undefined || isDistinguishedName(peer)
      ? [...world.ikeSas.values()].filter((other) => other.connection === connection)
      : world.provenAs(peer);
  return [...known].some((other) => other !== sa && other.isEstablished && isSomebody(other)) ? [] : [notify(NotifyType.INITIAL_CONTACT)];
}

/**
 * The peer restarted: its older SAs are gone there, so they go here, without a word (D41). Under a number several devices may share an
 * identity; each of them speaks for itself alone, that is for its address.
 */
export function heedInitialContact(world: World, sa: IkeSa, present: boolean): void {
  for (const other of likelyStale(world, sa)) suspectDead(world, other);
  const unique = sa.connection?.unique;
  if (!present || unique === 'never') return;
  for (const other of twins(world, sa)) {
    if (crossing(sa, other) || (typeof unique === 'number' && other.remote.ip !== sa.remote.ip)) continue;
    world.kill(other, 'the peer started anew (INITIAL_CONTACT)');
  }
}

/**
 * Where the policy sets a number, one more is refused. Those that stand are asked whether they live, so that none that is dead keeps anybody
 * out for long. @throws AuthenticationFailure `TOO_MANY_OF_ONE_IDENTITY`
 */
export function refuseExcess(world: World, sa: IkeSa): void {
  const { connection, remoteId } = sa;
  if (typeof connection?.unique !== 'number' || remoteId === undefined) return;
  const others = siblings(world, sa);
  if (others.length < connection.unique) return;
  if (others.some((other) => isRepeated(sa, other))) return;
  for (const other of others) suspectDead(world, other);
  throw new AuthenticationFailure(
    `${formatIdentification(remoteId)} has ${others.length} IKE SA${others.length === 1 ? '' : 's'} already, as many as ${connection.name} permits`,
    {
      code: 'TOO_MANY_OF_ONE_IDENTITY',
      hint: `Give every device an identity of its own, raise unique of ${connection.name}, or set unique: replace, which ends the older one.`,
    },
  );
}

/** As many IKE SAs per pair of identities as the policy permits: the older ones are deleted in an orderly way. */
export function enforceUniqueness(world: World, sa: IkeSa): void {
  const unique = sa.connection?.unique;
  if (typeof unique === 'number') return limit(world, sa, unique);
  if (unique !== 'replace') return;
  for (const other of siblings(world, sa)) {
    // both ends see both SAs, in either order: both must find the same one superfluous
    if (crossing(sa, other))
      end(world, compareBytes(sa.spiI, other.spiI) < 0 ? sa : other, 'both ends began at once, and one IKE SA is enough');
    else if (isRepeated(sa, other) || hasRoamed(sa, other)) world.arm(other.timers.superseded, world.now + PEER_DELETES);
    else end(world, other, REPLACED);
  }
}

/** A restart forgets what was to go. Unless a newer one is about to take the place of this one, the peer gets that moment again, then it goes. */
export function resumeUniqueness(world: World, sa: IkeSa): void {
  const unique = sa.connection?.unique;
  const limited = unique === 'replace' || typeof unique === 'number';
  const rivals = newer(world, sa).filter(({ reauth }) => reauth.of?.heir !== sa);
  if (limited && rivals.length > 0 && stillSuperseded(world, sa) !== undefined) world.arm(sa.timers.superseded, world.now + PEER_DELETES);
}

/** The moment that a peer had to delete the IKE SA itself is over. @returns why it goes, if it still has to */
export function stillSuperseded(world: World, sa: IkeSa): string | undefined {
  if (sa.is('replaced')) return 'authenticated anew';
  const unique = sa.connection?.unique;
  return newer(world, sa).length >= (typeof unique === 'number' ? unique : 1) ? REPLACED : undefined;
}

/**
 * Nothing is broken before something else is made (RFC 7296 §2.8.3): the peer may wait for our answer to IKE_AUTH, and have no newer IKE SA
 * before it comes, or that one still lacks what this one carries, and the peer may be at it. @returns until when
 */
export function stillCarrying(world: World, sa: IkeSa): Millis | undefined {
  const policies = (one: IkeSa) => one.children.filter((child) => child.usable).map((child) => child.policy.name);
  const [newest] = newer(world, sa).sort(byAge).reverse();
  if (newest === undefined) return undefined;
  if (!isKnownToPeer(world, newest)) return world.now + PEER_DELETES;
  const giveUp = newest.connection?.retransmission.giveUp ?? 0;
  const made = policies(newest);
  const heard = isHeard(newest);
  // a peer that waits for our answer may give up the newer one without a word, which is to be noticed first
  if (!heard) suspectDead(world, newest);
  if (world.now - (newest.reauth.at ?? 0) >= (heard ? giveUp : 2 * giveUp) + PEER_DELETES) return undefined;
  return heard && policies(sa).every((name) => made.includes(name)) ? undefined : world.now + PEER_DELETES;
}

/** §2.3: with a request behind the window the peer shows that it has our answer to the one that made something; with a copy of that it does not. */
const isHeard = ({ lastMade, window }: IkeSa): boolean => lastMade === undefined || window.nextExpected > lastMade + window.receiveSize;

/** The peer waits for our answer no more: it has sent anything after IKE_AUTH, or rekeyed. Where it has not, it is asked, and answers or is given up. */
export function isKnownToPeer(world: World, sa: IkeSa): boolean {
  const { lastInbound = 0, establishedAt = 0, lowestNonce } = sa;
  if (lastInbound > establishedAt || lowestNonce !== undefined) return true;
  suspectDead(world, sa);
  return false;
}

/** The peer of this IKE SA has authenticated again, and has another one now. */
export const hasNewer = (world: World, sa: IkeSa): boolean => newer(world, sa).length > 0;

/** IKE SAs between the same two identities (RFC 7296 §2.4), none where the peer has shown none. */
export function twins(world: World, sa: IkeSa): IkeSa[] {
  if (sa.remoteId === undefined || !isSomebody(sa)) return [];
  return [...world.provenAs(sa.remoteId)].filter(
    (other) => other !== sa && other.isEstablished && isSomebody(other) && sameEnds(sa, other),
  );
}

const newer = (world: World, sa: IkeSa): IkeSa[] => siblings(world, sa).filter((other) => byAge(sa, other) < 0);

function limit(world: World, sa: IkeSa, most: number): void {
  const others = siblings(world, sa);
  if (others.length < most) return;
  const repeated = others.filter((other) => isRepeated(sa, other) && other.timers.superseded.slot < 0);
  const oldest = repeated.sort(byAge)[0];
  if (oldest) world.arm(oldest.timers.superseded, world.now + PEER_DELETES);
}

/**
 * Of the same connection; the one whose place this one takes by our own doing, or from which we were redirected, goes by our own doing.
 * RFC 7296 §2.8.2: as long as two rekeyings cross, the IKE SA that both replace stands for both.
 */
const siblings = (world: World, sa: IkeSa): IkeSa[] =>
  twins(world, sa).filter(
    (other) =>
      other.connection?.name === sa.connection?.name &&
      !other.isUndecided &&
      other !== sa.reauth.of?.heir &&
      other.redirect?.follower !== sa.id,
  );

/** The peer came from the same place and did not say that it lost its memory: most likely it authenticates anew, and deletes the old one itself. */
const isRepeated = (sa: IkeSa, other: IkeSa): boolean => !sa.reauth.byUs && begunAlike(sa, other) && other.remote.ip === sa.remote.ip;

/** RFC 4555 §3.5: with MOBIKE it may be elsewhere by now, and authenticate anew from there before its update has come. */
const hasRoamed = (sa: IkeSa, other: IkeSa): boolean => !sa.reauth.byUs && begunAlike(sa, other) && other.mobike !== undefined;

function end(world: World, sa: IkeSa, reason: string): void {
  world.enqueue(sa, { what: reason, key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, reason) });
}

function suspectDead(world: World, sa: IkeSa): void {
  if (world.now - (sa.suspectedAt ?? Number.NEGATIVE_INFINITY) < SUSPICION_INTERVAL) return;
  if (sa.active.some(({ key }) => key === 'liveness')) return;
  sa.suspectedAt = world.now;
  world.enqueue(sa, { what: 'liveness check', key: 'liveness', start: askWhetherAlive });
}

function* askWhetherAlive(): Routine<void> {
  yield* exchange(ExchangeType.INFORMATIONAL, []);
}

/** Each end called the other before it was called itself: neither SA is what is left of a former life. */
function crossing(a: IkeSa, b: IkeSa): boolean {
  // one that was rekeyed is older than it looks
  if (a.lowestNonce !== undefined || b.lowestNonce !== undefined) return false;
  const [first, second] = a.bornAt <= b.bornAt ? [a, b] : [b, a];
  // who asked for a rekeying began nothing, and after a restart nobody sees that it was one
  return a.reauth.byUs !== b.reauth.byUs && second.bornAt <= (first.establishedAt ?? Number.POSITIVE_INFINITY) + ON_THE_WAY;
}

const REPLACED = 'replaced by a newer IKE SA of the same peer';
/** A request that left before its sender heard of ours is here by then; nobody restarts as fast. */
const ON_THE_WAY: Millis = 1000;
/** A new authentication ends with the Delete of the old IKE SA, sent by whoever began it, once nothing is under way on it. */
const PEER_DELETES: Millis = 15_000;
const SUSPICION_INTERVAL: Millis = 10_000;
