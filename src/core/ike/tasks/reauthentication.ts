import { type PeerRefused, TimedOut } from '../../bytes/errors.ts';
import { NONE } from '../../bytes/lists.ts';
import { ExchangeType, NotifyType, type Payload } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import type { Millis } from '../effects.ts';
import { sameEnds } from '../identity.ts';
import type { IkeSa, Job } from '../ike-sa.ts';
import { findNotify, notify } from '../notifies.ts';
import { samePath } from '../path.ts';
import type { ChildPolicy, IkeLifetimes } from '../policy.ts';
import { soften } from '../rekey-times.ts';
import { exchange, type Routine } from '../routine.ts';
import { sameSelectors } from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import type { ChildAgreement } from './child-create.ts';
import { activate } from './child-delete.ts';

/**
 * Repeated authentication, make before break. The initiator sets up a second IKE SA with its children beside the old one (RFC 7296 §2.8.3),
 * traffic moves over, and the old one is deleted once nothing can be under way on it any more. The responder cannot begin that; it says how
 * long an authentication is good for (AUTH_LIFETIME, RFC 4478) and ends the IKE SA when that is over.
 */
export interface Reauthentication {
  /** When the peer was last proven: a rekeying does not prove it anew. */
  at: Millis | undefined;
  /** We began that authentication, and so we begin the next. */
  byUs: boolean;
  /** RFC 4478 §2: without a new authentication the responder ends the IKE SA then. */
  endsAt: Millis | undefined;
  /** The IKE SA whose place this one is to take. */
  of: IkeSa | undefined;
  /** The one that is being set up to take our place. */
  by: IkeSa | undefined;
  /** How often that one could not take all children along. */
  incomplete: number;
  /** What the peer deleted on the one that has taken our place, where we carry it still. */
  owed: readonly ChildPolicy[];
}

export const notAuthenticated = (): Reauthentication => ({
  at: undefined,
  byUs: false,
  endsAt: undefined,
  of: undefined,
  by: undefined,
  incomplete: 0,
  owed: NOTHING,
});

/** The peer is proven: from now on it counts; from longer ago for a session that was resumed, which is no authentication (RFC 5723 §6.2). */
export function noteAuthenticated(world: World, sa: IkeSa): void {
  const { reauth, resumption } = sa;
  const provenAt = resumption?.session === undefined ? undefined : resumption.authenticatedAt;
  reauth.at = world.now - (provenAt === undefined ? 0 : Math.max(0, world.wall() - provenAt));
  reauth.byUs = sa.originalRole === 'initiator';
  const lifetimes = sa.connection?.lifetimes;
  if (!reauth.byUs && lifetimes !== undefined && lifetimes.reauth > 0) reauth.endsAt = reauth.at + lifetimes.reauth + graceOf(lifetimes);
}

/** Also after a rekeying and a restart: an authentication is as old as it is. */
export function armReauthentication(world: World, sa: IkeSa): void {
  const due = reauthenticationDue(world, sa);
  sa.reauthAt = sa.reauth.byUs ? due : sa.reauth.endsAt;
  if (due === undefined) world.disarm(sa.timers, 'reauthenticate');
  else world.arm(sa.timers.reauthenticate, Math.max(world.now, due));
}

function reauthenticationDue(world: World, sa: IkeSa): Millis | undefined {
  const { at, byUs, endsAt } = sa.reauth;
  if (!byUs || at === undefined) return endsAt;
  const { reauth = 0, jitter = 0 } = sa.connection?.lifetimes ?? {};
  const ours = reauth > 0 ? at + soften(world, reauth, jitter) : Number.POSITIVE_INFINITY;
  const theirs = endsAt === undefined ? Number.POSITIVE_INFINITY : inTimeFor(world, endsAt);
  const due = Math.max(Math.min(ours, theirs), at + SHORTEST);
  return due === Number.POSITIVE_INFINITY ? undefined : due;
}

/** A tenth of the time the peer gave us is set aside, a minute at most, yet enough for the old IKE SA to be gone by then; and as much for jitter. */
function inTimeFor(world: World, endsAt: Millis): Millis {
  const left = endsAt - world.now;
  const margin = Math.min(Math.max(left / 10, UNDER_WAY + PEER_INSTALLS), LONGEST_MARGIN, left / 2);
  return Math.floor(endsAt - margin - world.random.jitter() * margin);
}

/** RFC 4478 §2: the responder tells the initiator in the last message of IKE_AUTH. */
export function authLifetime(world: World, sa: IkeSa): Payload[] {
  const { reauth = 0 } = sa.connection?.lifetimes ?? {};
  return reauth > 0 ? [lifetimeNotify(Math.max(0, Math.ceil(((sa.reauth.at ?? world.now) + reauth - world.now) / 1000)))] : [];
}

/** RFC 4478 §2: at any time, in an INFORMATIONAL of its own; 0 asks for a new authentication at once. */
export function* demandAuthentication(world: World, sa: IkeSa): Routine<void> {
  let heard = false;
  try {
    yield* exchange(ExchangeType.INFORMATIONAL, [lifetimeNotify(0)]);
    heard = true;
    const { heir } = sa;
    heir.reauth.endsAt = Math.min(heir.reauth.endsAt ?? Number.POSITIVE_INFINITY, world.now + REASONABLE_TIME);
    if (heir.isEstablished) armReauthentication(world, heir);
  } finally {
    // a rekeying came between
    if (!heard && sa.heir !== sa) requestAuthentication(world, sa.heir);
  }
}

/** Of the original initiator, by its responder. */
export const requestAuthentication = (world: World, sa: IkeSa): void =>
  world.enqueue(sa, { what: 'demanding a new authentication', key: 'auth-lifetime', start: (owner) => demandAuthentication(world, owner) });

/** RFC 4478 §2: only the original responder says so, and only to the original initiator; what else comes is ignored, as any status is. */
export function heedAuthLifetime(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  const told = findNotify(payloads, NotifyType.AUTH_LIFETIME);
  const { heir, reauth } = sa;
  // one that a new authentication has replaced already was heeded by that
  if (told === undefined || told.data.length !== 4 || !reauth.byUs || !heir.isEstablished || heir.reauth !== reauth) return;
  const seconds = new DataView(told.data.buffer, told.data.byteOffset).getUint32(0);
  reauth.endsAt = world.now + seconds * 1000;
  armReauthentication(world, heir);
}

/** When a new authentication that may fail is tried again: every half minute, and more often where less time is left. */
export function nextAuthentication(world: World, sa: IkeSa): Millis {
  const left = (sa.reauth.endsAt ?? Number.POSITIVE_INFINITY) - world.now;
  return world.now + Math.max(SOONEST_RETRY, Math.min(RETRY, Math.floor(left / 4)));
}

/**
 * How long such an attempt waits for the answer to IKE_AUTH. A responder forgets what it has half open within seconds: from then on no copy
 * is answered, and the old IKE SA may have less time than the policy gives a peer.
 */
export const patienceOf = ({ reauth }: IkeSa): Millis | undefined => (reauth.of === undefined ? undefined : ATTEMPT);

/**
 * RFC 7296 §4: a peer that makes nothing by CREATE_CHILD_SA rekeys nothing either, so a new IKE SA with new children takes the place of the
 * old one, which is deleted. Whoever began the old one begins it; the other end's lifetimes come to their end.
 */
export function replaceInstead(world: World, sa: IkeSa, { key }: Job, refusal: PeerRefused): void {
  const rekeying = key === 'rekey-ike' || key.startsWith('rekey-child ');
  if (!rekeying || refusal.notify !== NotifyType.NO_ADDITIONAL_SAS || !sa.reauth.byUs || !sa.isEstablished) return;
  world.arm(sa.timers.reauthenticate, world.now);
}

/** The new authentication that is under way and is to take the place of this one; where that was rekeyed meanwhile, what it was rekeyed to. */
export function authenticatingAnew({ reauth }: IkeSa): IkeSa | undefined {
  const next = reauth.by?.heir;
  return next?.is('deleting', 'lingering', 'dead') ? undefined : next;
}

/** The new IKE SA carries everything: the old one only takes what is still under way, and is deleted after that. */
export function takePlace(world: World, successor: IkeSa): void {
  const old = successor.reauth.of?.heir;
  successor.reauth.of = undefined;
  if (old === undefined || old === successor || !old.isEstablished) return;
  old.reauth.by = undefined;
  old.successor = successor;
  world.transition(old, 'replaced');
  world.disarm(old.timers, 'rekey-ike', 'expire-ike', 'liveness', 'reauthenticate', 'retry');
  old.jobs = NONE;
  old.deferred = NONE;
  for (const { timers } of old.children) world.disarm(timers, 'rekey', 'expire', 'idle');
  for (const child of successor.children) if (child.usable) standIn(world, child);
  world.arm(old.timers.superseded, world.now + UNDER_WAY);
  world.notice({ kind: 'ike-reauthenticated', from: old.id, to: successor.id, byUs: true });
}

/** What the peer closes here an IKE SA whose place this one has taken may still have, until it goes: then it is owed. @returns whether it is */
export function oweToOld(world: World, { heir }: IkeSa, { policy }: ChildSa): boolean {
  if (!heir.reauth.byUs) return false;
  for (const old of world.ikeSas.values()) {
    if (!old.is('replaced') || old.heir !== heir || !old.children.some((child) => child.usable && child.policy === policy)) continue;
    old.reauth.owed = [...old.reauth.owed, policy];
    return true;
  }
  return false;
}

/** IKE SAs that one end began with the other: the newer may be the new authentication of the older. */
export const begunAlike = (a: IkeSa, b: IkeSa): boolean => a.reauth.byUs === b.reauth.byUs && a.connection?.name === b.connection?.name;

/** The older authentication first. Of two at one instant the later made is the newer. */
export const byAge = (a: IkeSa, b: IkeSa): number => (a.reauth.at ?? 0) - (b.reauth.at ?? 0) || a.id - b.id;

/**
 * Which child of another IKE SA a new one takes over from, and whether we send on it at once. As responder we do not: the peer installs its
 * half when it has our answer, so we wait for its traffic, or for the end of the old one (RFC 7296 §2.8).
 */
export function inPlaceOf(
  world: World,
  sa: IkeSa,
  agreement: ChildAgreement,
): { readonly replaces: ChildSa | undefined; readonly outboundActive: boolean } {
  const { policy, localTs, remoteTs } = agreement;
  if (sa.reauth.byUs) {
    const own = (sa.reauth.of?.heir.children ?? []).find((c) => c.usable && c.policy.name === policy.name);
    return { replaces: own, outboundActive: true };
  }
  if (agreement.exchangeRole === 'initiator') return { replaces: undefined, outboundActive: true };
  const olderOfPeer = (id: number): boolean => {
    const other = world.ikeSas.get(id);
    return other?.isEstablished === true && byAge(other, sa) < 0 && sameEnds(sa, other) && begunAlike(sa, other);
  };
  const old = [...world.childrenTowards(remoteTs)].find(
    (c) =>
      c.usable &&
      c.policy.name === policy.name &&
      c.takenOverBy === undefined &&
      c.standIn?.serving === undefined &&
      sameSelectors(c.localTs, localTs) &&
      sameSelectors(c.remoteTs, remoteTs) &&
      olderOfPeer(c.ikeSa),
  );
  return { replaces: old, outboundActive: old === undefined };
}

/** The child stands: either it sends in place of one that hangs on another IKE SA, or it waits for the traffic of that one. */
export function awaitTakeOver(world: World, child: ChildSa): void {
  const { replaces, outboundActive } = child.spec;
  const newer = child.standIn?.sending;
  if (newer) return activate(world, newer);
  if (replaces === undefined) return;
  const old = world.child(replaces);
  if (outboundActive) return old?.ikeSa === child.ikeSa ? undefined : standIn(world, child);
  // it went while this one was being installed: nothing else would set it going
  if (old === undefined) return activate(world, child);
  if (old.ikeSa === child.ikeSa) return;
  const sa = world.ikeSas.get(child.ikeSa);
  const known = (sa?.children ?? []).some((other) => other.takesOverFrom?.ikeSa === old.ikeSa);
  if (!known) world.notice({ kind: 'ike-reauthenticated', from: old.ikeSa, to: child.ikeSa, byUs: false });
  awaitTraffic(world, child, old);
}

function awaitTraffic(world: World, child: ChildSa, old: ChildSa): void {
  child.takesOverFrom = old;
  old.takenOverBy = child;
  world.arm(child.timers.takeOver, world.now + PEER_INSTALLS);
}

/**
 * The old one still brings our traffic to where the peer is. RFC 7296 §2.8: that the peer receives on the new one is sure when it sends there,
 * or closes what that replaces, which whoever began it does within seconds; a peer that does neither is not waited for long.
 */
export function isServedByOld(world: World, child: ChildSa): boolean {
  const old = child.takesOverFrom;
  const [before, now] = [old, child].map((one) => one && world.ikeSas.get(one.ikeSa));
  if (old?.serving === undefined || before === undefined || now === undefined || !samePath(before, now)) return false;
  return world.now < child.establishedAt + OWNER_ENDS;
}

/** After a restart all of them send. Of two for the same traffic the one of the newer authentication comes after the other, as if it had just been made. */
export function settleRestored(world: World, child: ChildSa): void {
  const newer = standInFor(world, child);
  const older = newer ? child : alike(world, child, (own, other) => byAge(other, own) < 0).find((c) => c.usable && !c.takenOverBy);
  if (older === undefined) return;
  const next = newer ?? child;
  if (world.ikeSas.get(next.ikeSa)?.reauth.byUs) return standIn(world, next);
  awaitTraffic(world, next, older);
  activate(world, older);
}

/** From now on the new child sends, or what has taken its place in that meanwhile. */
export function takeOver(world: World, child: ChildSa): void {
  const old = child.takesOverFrom;
  if (old === undefined) return;
  child.takesOverFrom = undefined;
  old.takenOverBy = undefined;
  world.disarm(child.timers, 'takeOver');
  const { sending } = child;
  if (sending === undefined) return;
  if (old.ikeSa === child.ikeSa) activate(world, sending);
  else standIn(world, sending);
}

/** It sends, and no rekeying of what the older authentication left takes that back. */
function standIn(world: World, child: ChildSa): void {
  for (const other of alike(world, child, (own, owner) => byAge(owner, own) < 0)) other.standIn = child;
  activate(world, child);
}

/** A child is gone before it gave or took over, or while it served for another one: the other one of the two sends. */
export function settleTakeOver(world: World, gone: ChildSa): void {
  const { takenOverBy: next, takesOverFrom: before } = gone;
  if (before) before.takenOverBy = next;
  if (next && before) next.takesOverFrom = before;
  else if (next) takeOver(world, next);
  gone.takesOverFrom = undefined;
  if (gone.serving) return;
  const freed = [...world.childrenTowards(gone.remoteTs)].filter((other) => other.usable && other.standIn?.heir === gone);
  // yet another one may stand between
  for (const other of freed) other.standIn = standInFor(world, other);
  const sender = freed.find(({ standIn }) => standIn === undefined);
  if (sender) activate(world, sender);
}

/** The child that sends for the same traffic on an IKE SA of a newer authentication, if there is one. */
export const standInFor = (world: World, child: ChildSa): ChildSa | undefined =>
  alike(world, child, (own, other) => byAge(own, other) < 0).find((other) => other.usable && other.takesOverFrom === undefined);

/** What is there for the same traffic on other IKE SAs of the same two ends. */
function alike(world: World, child: ChildSa, which: (own: IkeSa, other: IkeSa) => boolean): ChildSa[] {
  const own = world.ikeSas.get(child.ikeSa);
  if (own === undefined) return [];
  return [...world.childrenTowards(child.remoteTs)].filter((other) => {
    const owner = world.ikeSas.get(other.ikeSa);
    return (
      owner !== undefined &&
      owner !== own &&
      which(own, owner) &&
      other.policy.name === child.policy.name &&
      sameSelectors(other.localTs, child.localTs) &&
      sameSelectors(other.remoteTs, child.remoteTs) &&
      sameEnds(own, owner)
    );
  });
}

export const overdue = (): TimedOut =>
  new TimedOut('the peer did not authenticate anew in time', {
    code: 'REAUTHENTICATION_OVERDUE',
    section: 'RFC 4478 §2',
    hint: 'The peer ignores AUTH_LIFETIME: set its own re-authentication below reauth_time here, or leave reauth_time out.',
  });

const graceOf = ({ reauth, reauthGrace }: IkeLifetimes): Millis => reauthGrace ?? Math.round(reauth / 10);

function lifetimeNotify(seconds: number): Payload {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, Math.min(seconds, 0xffffffff));
  return notify(NotifyType.AUTH_LIFETIME, data);
}

const NOTHING: readonly ChildPolicy[] = [];
/** RFC 4478 §5 lets an initiator set reasonable limits: a responder that wants it again and again is not followed at that pace. */
const SHORTEST: Millis = 10_000;
const LONGEST_MARGIN: Millis = 60_000;
const RETRY: Millis = 30_000;
/** Over before the next one is due. */
const ATTEMPT: Millis = 25_000;
/** A gateway takes no more than a few attempts at once from one address. */
const SOONEST_RETRY: Millis = 3000;
/** RFC 4478 §3: a person may have to type a password. */
const REASONABLE_TIME: Millis = 300_000;
/** Longer than packets linger in any path that TCP could use. */
const UNDER_WAY: Millis = 5000;
/** A round trip, and the time that a peer needs for our certificate. */
export const PEER_INSTALLS: Millis = 2000;
/** For all of its children to be installed, and UNDER_WAY. */
const OWNER_ENDS: Millis = 15_000;
