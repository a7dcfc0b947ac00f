import { NegotiationFailure, PeerRefused, PeerViolation } from '../../bytes/errors.ts';
import { NONE, withLast, without } from '../../bytes/lists.ts';
import { type KeyExchangeOffer, zeroise } from '../../crypto/index.ts';
import { ExchangeType, type NotifyPayload, NotifyType, type Payload, ProtocolId } from '../../wire/index.ts';
import type { ChildSa, SelectorPair } from '../child-sa.ts';
import { ikeMet, lowestOf, rivalsMet } from '../collisions.ts';
import type { HalfMade } from '../half-made.ts';
import type { IkeSa } from '../ike-sa.ts';
import { errorNotify, find, findNotify, need, notify } from '../notifies.ts';
import type { ChildPolicy } from '../policy.ts';
import { firstKeMethod, keMethods } from '../proposals.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import {
  type ChildOffer,
  childAnswer,
  narrowedTo,
  offerChild,
  offeredTraffic,
  spiOctets,
  takeChildAnswer,
  takeChildRequest,
} from '../tasks/child-create.ts';
import { activate, deleteChild, deleteHalf, protocolOf } from '../tasks/child-delete.ts';
import { installChild } from '../tasks/child-install.ts';
import { awaitDelete, giveUpRekey, noteRekeyed, rekeyTarget } from '../tasks/child-rekey.ts';
import { singlePairOf } from '../tasks/child-selectors.ts';
import { respondIkeRekey, settleOn } from '../tasks/ike-rekey.ts';
import { acceptKe, finishKe, InvalidKe, methodWanted, offerKe } from '../tasks/ke.ts';
import { newNonce, nonceOf } from '../tasks/nonce.ts';
import { childRefusal } from '../tasks/pfs.ts';
import { inPlaceOf } from '../tasks/reauthentication.ts';
import type { World } from '../world.ts';
import { followUp, halfMadeByPeer, halfMake } from './followup-ke.ts';

/**
 * CREATE_CHILD_SA for a CHILD_SA, RFC 7296 §1.3.1 and §1.3.3:
 *
 *     HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->  <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
 *
 * @param rekeys the child that the new one takes over from
 * @param selectors its traffic, or the wider one that the peer takes for it
 */
export function* createChild(
  world: World,
  sa: IkeSa,
  policy: ChildPolicy,
  rekeys?: ChildSa,
  selectors: SelectorPair | undefined = rekeys,
): Routine<ChildSa> {
  const { offer, payloads } = offerChild(world, sa, policy, true, selectors);
  const tried = new Set<number>();
  // what worked before works again without another round trip
  const known = rekeys?.suite.keyExchange;
  let method = offer.proposals.flatMap(keMethods).find((id) => id === known) ?? firstKeMethod(offer.proposals);
  let ke: { offer: KeyExchangeOffer; payload: Payload } | undefined;
  const offered = { protocol: offer.proposals[0]?.protocol === ProtocolId.AH ? 'AH' : 'ESP', spi: offer.spi } as const;
  sa.offeredSpis = withLast(sa.offeredSpis, offered);
  try {
    for (;;) {
      // RFC 7296 §3.9: for each exchange another
      const Ni = newNonce(world);
      if (method !== undefined) {
        tried.add(method);
        ke = offerKe(world, method);
      }
      const response = yield* askToMake(offer, createRequest(payloads, Ni, ke?.payload, rekeys));
      const refused = errorNotify(response.payloads);
      if (refused?.notify === NotifyType.INVALID_KE_PAYLOAD) {
        method = methodWanted(refused, offer.proposals, tried);
        ke?.offer.destroy();
        continue;
      }
      const pair = refused && pairInstead(sa, refused, offer, selectors);
      if (pair) return yield* createChild(world, sa, policy, undefined, pair);
      if (refused) throw childRefusal(refused, policy, offer.proposals, rekeys);
      return yield* finishCreate(world, sa, { offer, Ni, method, ke: ke?.offer, rekeys }, response);
    }
  } finally {
    sa.offeredSpis = without(sa.offeredSpis, offered);
    if (sa.offeredSpis.length === 0) sa.deletedEarly = NONE;
    ke?.offer.destroy();
  }
}

/** §1.4.1: a responder whose answer breaks the grammar has installed what it told us of, and must hear that we have not. */
function* askToMake(offer: ChildOffer, request: readonly Payload[]): Routine<Inbound> {
  try {
    return yield* exchange(ExchangeType.CREATE_CHILD_SA, request);
  } catch (error) {
    if (error instanceof PeerViolation) yield* deleteOffered(offer);
    throw error;
  }
}

const deleteOffered = ({ proposals, spi }: ChildOffer): Routine<void> => deleteHalf(proposals[0]?.protocol ?? ProtocolId.ESP, spi);

/** Once: what was asked for as a pair is not asked for again. */
const pairInstead = (sa: IkeSa, refused: NotifyPayload, offer: ChildOffer, asked: SelectorPair | undefined): SelectorPair | undefined =>
  refused.notify === NotifyType.SINGLE_PAIR_REQUIRED && asked === undefined ? singlePairOf(sa, offeredTraffic(offer)) : undefined;

/** @param stillWanted asked when it is its turn */
export function enqueueCreate(world: World, sa: IkeSa, policy: ChildPolicy, stillWanted: () => boolean = () => true): void {
  world.enqueue(sa, {
    what: `CHILD_SA ${policy.name}`,
    key: createKey(policy.name),
    ofChild: true,
    makes: policy.name,
    start: function* (owner) {
      if (stillWanted()) yield* createChild(world, owner, policy);
    },
  });
}

/** A child of this name is being made, or waits for its turn. */
export const isBeingMade = (sa: IkeSa, child: string): boolean =>
  sa.firstChild === child || [...sa.active, ...sa.jobs, ...sa.deferred].some((job) => job.key === createKey(child));

/** A rekeying of ours is under way for it, of which the peer may have heard or not. */
export const isBeingRekeyed = (sa: IkeSa, child: number): boolean => sa.active.some((job) => job.key === `rekey-child ${child}`);

const createKey = (child: string): string => `create-child ${child}`;

function* finishCreate(
  world: World,
  sa: IkeSa,
  own: {
    readonly offer: ReturnType<typeof offerChild>['offer'];
    readonly Ni: Uint8Array;
    readonly method: number | undefined;
    readonly ke: KeyExchangeOffer | undefined;
    readonly rekeys: ChildSa | undefined;
  },
  response: Inbound,
): Routine<ChildSa> {
  // until the last follow-up is answered, be it by nonsense, there is nothing on the other side
  let madeThere = true;
  try {
    const answered = takeChildAnswer(sa, own.offer, response.payloads);
    if (sa.deletedEarly.includes(answered.outboundSpi)) throw deletedMeanwhile();
    const agreement = own.rekeys ? narrowedTo(sa, answered, own.rekeys) : answered;
    const agreed = agreement.suite.keyExchange;
    if (agreed !== 0 && agreed !== own.method) {
      throw new NegotiationFailure('the peer chose a key exchange method for which we sent no public value', {
        code: 'KE_METHOD_MISMATCH',
        section: 'RFC 7296 §1.3',
      });
    }
    const nonces = { Ni: own.Ni, Nr: nonceOf(response.payloads) };
    const first = agreed !== 0 && own.ke ? finishKe(own.ke, agreed, need(response.payloads, 'KE')) : undefined;
    const { additional } = agreement.suite;
    madeThere = additional === undefined;
    const sharedSecrets = first ? yield* followUp(world, sa, own.rekeys, response, { nonces, first, additional }) : [];
    madeThere = true;
    // the last follow-up made it, and its answer may be as late
    if (sa.deletedEarly.includes(answered.outboundSpi)) {
      zeroise(...sharedSecrets);
      throw deletedMeanwhile();
    }
    // §2.8: the responder accepts on the new SA before it answers, so we may send at once; unless a crossing rekey may make ours redundant
    const place = own.rekeys
      ? { replaces: own.rekeys, outboundActive: own.rekeys.peerSuccessor === undefined }
      : inPlaceOf(world, sa, agreement);
    return yield* installChild(world, sa, agreement, nonces, sharedSecrets, place);
  } catch (error) {
    // §1.4.1: the responder has installed it by now, so it must hear that we have not; unless it was the one that deleted it
    const gone = error instanceof NegotiationFailure && error.code === 'CHILD_SA_GONE';
    if ((madeThere || error instanceof PeerViolation) && !gone) yield* deleteOffered(own.offer);
    throw error;
  }
}

/** §2.25: its Delete overtook the answer that made it. */
const deletedMeanwhile = () =>
  new NegotiationFailure('the peer deleted the CHILD_SA before we heard that it stands', {
    code: 'CHILD_SA_GONE',
    section: 'RFC 7296 §2.25',
  });

function createRequest(offered: readonly Payload[], Ni: Uint8Array, ke: Payload | undefined, rekeys: ChildSa | undefined): Payload[] {
  const selectors = offered.filter((p) => p.kind === 'TSi' || p.kind === 'TSr');
  const others = offered.filter((p) => p.kind !== 'TSi' && p.kind !== 'TSr');
  const request: Payload[] = [...others, { kind: 'Nonce', data: Ni }, ...(ke ? [ke] : []), ...selectors];
  // §1.3.3: REKEY_SA names the SPI that the sender expects in inbound packets
  if (rekeys) request.unshift({ ...notify(NotifyType.REKEY_SA), protocol: protocolOf(rekeys), spi: spiOctets(rekeys.inboundSpi) });
  return request;
}

/** RFC 7296 §2.8: make before break. The old child goes when the new one carries traffic. */
export function* rekeyChild(world: World, sa: IkeSa, old: ChildSa): Routine<void> {
  if (!old.is('installed')) return;
  if (sa.halfMade.rivalOf(old)) throw halfMadeByPeer();
  world.childTransition(old, 'rekeying');
  let successor: ChildSa;
  try {
    successor = yield* createSuccessor(world, sa, old);
  } catch (error) {
    const outcome = giveUpRekey(world, old, error);
    // its hard lifetime ended meanwhile, or the peer deleted what it had put there: nothing took its place
    if ((old.wantedBack && !old.rival) || old.peerSuccessor?.wantedBack) enqueueCreate(world, sa.heir, old.policy);
    if (old.peerSuccessor) old.peerSuccessor.wantedBack = false;
    if (outcome === 'anew') yield* createChild(world, sa, old.policy);
    if (outcome === 'failed') throw error;
    return;
  }
  world.notice({ kind: 'child-rekeyed', from: old.id, to: successor.id, byUs: true });
  const { peerSuccessor, rival } = old;
  if (old.is('rekeying')) awaitDelete(world, old);
  // §2.8.1: with two successors the one with the lowest nonce is redundant; its creator deletes it, the other deletes the old SA
  if (peerSuccessor && rival && world.collisions.redundant[rivalsMet(successor, peerSuccessor)] === 'ours') {
    // ours may have been sending already
    if (successor.spec.outboundActive) activate(world, old.is('rekeyed') ? old : rival);
    world.childTransition(successor, 'rekeyed');
    yield* deleteChild(world, successor, 'made redundant by a crossing rekey');
    return;
  }
  if (rival) awaitDelete(world, rival);
  activate(world, successor);
  old.successor = successor;
  yield* deleteChild(world, old, 'rekeyed');
}

/** A peer that never took note of our narrowing finds the narrowed selectors unacceptable; it is asked again for what it knows. */
function* createSuccessor(world: World, sa: IkeSa, old: ChildSa): Routine<ChildSa> {
  try {
    return yield* createChild(world, sa, old.policy, old);
  } catch (error) {
    const unacceptable = error instanceof PeerRefused && error.notify === NotifyType.TS_UNACCEPTABLE;
    if (!unacceptable || old.asked === undefined) throw error;
    return yield* createChild(world, sa, old.policy, old, old.asked);
  }
}

/** The responder: three forms of one exchange, told apart by what is in it (§1.3). */
export function* respondCreateChildSa(world: World, sa: IkeSa, request: Inbound): Routine<Reply> {
  const { payloads } = request;
  settleOn(world, sa);
  if (need(payloads, 'SA').proposals[0]?.protocol === ProtocolId.IKE) return yield* respondIkeRekey(world, sa, payloads);
  const target = targetOf(world, sa, payloads);
  return 'refuse' in target ? { payloads: [target.refuse] } : yield* respondChild(world, sa, payloads, target.old);
}

/** What the request meets, and which child it is to replace. */
function targetOf(
  world: World,
  sa: IkeSa,
  payloads: readonly Payload[],
): { readonly refuse: Payload } | { readonly old: ChildSa | undefined } {
  if (world.collisions.makeChild[ikeMet(sa)] === 'TEMPORARY_FAILURE') return { refuse: notify(NotifyType.TEMPORARY_FAILURE) };
  const rekey = findNotify(payloads, NotifyType.REKEY_SA);
  return rekey ? rekeyTarget(world, sa, rekey) : { old: undefined };
}

function* respondChild(world: World, sa: IkeSa, payloads: readonly Payload[], old: ChildSa | undefined): Routine<Reply> {
  const { connection } = sa;
  if (connection === undefined)
    throw new NegotiationFailure('this IKE SA has no connection', { code: 'NO_CONNECTION', notify: NotifyType.NO_ADDITIONAL_SAS });
  // a rekeying adds one and takes one away, in time
  if (sa.children.length >= (old ? 2 * MAX_CHILDREN : MAX_CHILDREN)) {
    throw new NegotiationFailure(`this IKE SA carries ${sa.children.length} CHILD_SAs already`, {
      code: 'NO_ADDITIONAL_SAS',
      notify: NotifyType.NO_ADDITIONAL_SAS,
      section: 'RFC 7296 §1.3',
    });
  }
  const ke = find(payloads, 'KE');
  const { agreement, proposal } = takeChildRequest(world, sa, connection, payloads, { ke: ke?.method ?? 0, like: old });
  const nonces = { Ni: nonceOf(payloads), Nr: newNonce(world) };
  const agreed = agreement.suite.keyExchange;
  if (agreed !== 0 && ke?.method !== agreed) throw new InvalidKe(agreed, ke?.method ?? 0);
  const accepted = agreed !== 0 && ke ? yield* acceptKe(world, sa, ke) : undefined;
  const sharedSecrets = accepted ? [accepted.sharedSecret] : [];
  // while it was computed something of ours may have begun or ended
  const target = targetOf(world, sa, payloads);
  if ('refuse' in target) {
    zeroise(...sharedSecrets);
    return { payloads: [target.refuse] };
  }
  const [mode, rest] = splitMode(childAnswer(agreement, proposal));
  const [sap, ...selectors] = rest as [Payload, ...Payload[]];
  const answer: Payload[] = [...mode, sap, { kind: 'Nonce', data: nonces.Nr }, ...(accepted ? [accepted.payload] : []), ...selectors];
  const complete = function* (secrets: readonly Uint8Array[]): Routine<ChildSa> {
    const place = old ? { replaces: old, outboundActive: false } : inPlaceOf(world, sa, agreement);
    const child = yield* installChild(world, sa, agreement, nonces, secrets, place);
    if (old) noteRekeyed(world, old, child);
    return child;
  };
  const { additional } = agreement.suite;
  if (additional === undefined) {
    const child = yield* complete(sharedSecrets);
    // not before the answer that tells of it is on its way
    return { payloads: answer, afterwards: () => settleLateRival(world, sa, child) };
  }
  const half: HalfMade = {
    replaces: old,
    lowestNonce: lowestOf(nonces),
    owed: [...additional],
    sharedSecrets,
    *complete(secrets) {
      // a Delete, or another rekeying, may have overtaken it
      if (world.collisions.makeChild[ikeMet(sa)] === 'TEMPORARY_FAILURE' || (old && !old.is('installed', 'rekeying'))) return undefined;
      yield* complete(secrets);
      return {};
    },
  };
  return { payloads: [...answer, halfMake(world, sa, half)] };
}

/** Our own rekeying of the same child was over before the peer's was installed: which of the two is redundant is decided now (§2.8.1). */
function settleLateRival(world: World, sa: IkeSa, theirs: ChildSa): void {
  const { replaces } = theirs.spec;
  if (replaces === undefined) return;
  const ours = sa.children.find((c) => c.createdByUs && c.spec.replaces === replaces && c.usable);
  const old = world.child(replaces);
  if (ours === undefined || !theirs.usable || old?.is('installed', 'rekeying') === true) return;
  if (world.collisions.redundant[rivalsMet(ours, theirs)] === 'theirs') return awaitDelete(world, theirs);
  // what both replaced has gone, and the peer may not have our answer yet: ours serves until it shows that it has
  awaitDelete(world, ours);
  ours.takenOverBy = theirs;
  theirs.takesOverFrom = ours;
}

function splitMode(answer: readonly Payload[]): [readonly Payload[], readonly Payload[]] {
  const at = answer.findIndex((p) => p.kind === 'SA');
  return [answer.slice(0, at), answer.slice(at)];
}

/** A peer that is authenticated may still be broken: what it can make us keep is bounded. */
const MAX_CHILDREN = 1024;
