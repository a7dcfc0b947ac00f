import { NegotiationFailure, PeerRefused, PeerViolation } from '../../bytes/errors.ts';
import { zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../wire/index.ts';
import { lowestOf, rivalsMet } from '../collisions.ts';
import type { Millis } from '../effects.ts';
import type { HalfMade, Replaced } from '../half-made.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { AdditionalKe, Nonces } from '../keys.ts';
import { errorNotify, findNotify, invalidSyntax, need, notify, refusedBy } from '../notifies.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import { acceptKe, finishKe, methodName, offerKe } from '../tasks/ke.ts';
import type { World } from '../world.ts';

/**
 * IKE_FOLLOWUP_KE, RFC 9370 §2.2.4: the additional key exchanges of an SA that CREATE_CHILD_SA has begun. Link data of the responder
 * tells them from those of another one.
 *
 *     HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)(link)}  -->  <--  HDR, SK {KEr(n) [, N(ADDITIONAL_KEY_EXCHANGE)(link)]}
 *
 * @param response of CREATE_CHILD_SA
 * @param first SK(0); it is zeroised should the rest fail
 * @returns SK(0), SK(1), …
 */
export function* followUp(
  world: World,
  sa: IkeSa,
  replaces: Replaced,
  response: Inbound,
  { nonces, first, additional = [] }: { nonces: Nonces; first: Uint8Array; additional: readonly AdditionalKe[] | undefined },
): Routine<Uint8Array[]> {
  const sharedSecrets = [first];
  if (additional.length === 0) return sharedSecrets;
  const { halfMade } = sa;
  let complete = false;
  try {
    yieldToRival(world, sa, replaces, nonces);
    halfMade.following = replaces;
    let link = linkOf(response.payloads);
    for (const { method } of additional) {
      if (link === undefined) throw withoutLink();
      const { offer, payload } = offerKe(world, method);
      try {
        const answer: Inbound = yield* exchange(ExchangeType.IKE_FOLLOWUP_KE, [payload, notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)]);
        const refused = errorNotify(answer.payloads);
        if (refused) throw refusedBy(refused, 'IKE_FOLLOWUP_KE');
        sharedSecrets.push(finishKe(offer, method, need(answer.payloads, 'KE')));
        link = linkOf(answer.payloads);
      } finally {
        offer.destroy();
      }
    }
    complete = true;
    return sharedSecrets;
  } finally {
    halfMade.following = undefined;
    if (!complete) zeroise(...sharedSecrets);
  }
}

/**
 * The responder of CREATE_CHILD_SA keeps what it has until the follow-ups have come.
 * @returns the notify that goes into the answer
 */
export function halfMake(world: World, sa: IkeSa, half: HalfMade): Payload {
  const link = world.random.secret(LINK_LENGTH);
  if (!keep(world, sa, link, half)) {
    zeroise(...half.sharedSecrets);
    throw new NegotiationFailure('too many SAs of this peer wait for their additional key exchanges', {
      code: 'HALF_MADE_LIMIT',
      notify: NotifyType.TEMPORARY_FAILURE,
      section: 'RFC 9370 §2.2.4',
    });
  }
  return notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link);
}

export function* respondFollowupKe(world: World, sa: IkeSa, { payloads }: Inbound): Routine<Reply> {
  const link = linkOf(payloads)!;
  const half = sa.isEstablished ? sa.halfMade.find(link) : undefined;
  if (half === undefined) return stateNotFound();
  const { owed, sharedSecrets } = half;
  const ke = need(payloads, 'KE');
  const [due] = owed;
  let accepted: { readonly payload: Payload; readonly sharedSecret: Uint8Array };
  try {
    if (ke.method !== due?.method)
      throw invalidSyntax(`a key exchange by ${methodName(ke.method)} where ${methodName(due?.method ?? 0)} is due`, 'RFC 9370 §2.2.4');
    accepted = yield* acceptKe(world, sa, ke);
  } catch (error) {
    if (sa.halfMade.take(link)) zeroise(...sharedSecrets);
    throw error;
  }
  // while it was computed it may have been given up, or gone on by another request
  if (sa.halfMade.find(link) !== half || owed[0] !== due) {
    zeroise(accepted.sharedSecret);
    return stateNotFound();
  }
  sa.halfMade.take(link);
  sharedSecrets.push(accepted.sharedSecret);
  const answer = accepted.payload;
  owed.shift();
  if (owed.length > 0) {
    keep(world, sa, link, half);
    return { payloads: [answer, notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)] };
  }
  const made = yield* half.complete(sharedSecrets);
  if (made) return { payloads: [answer], ...made };
  zeroise(...sharedSecrets);
  return stateNotFound();
}

/** The timer fired: a peer that does not go on has given up. */
export function expireHalfMade(world: World, sa: IkeSa): void {
  const next = sa.halfMade.expire(world.now);
  if (next !== undefined) world.arm(sa.timers['follow-up'], next);
  world.pump(sa);
}

/** Something of the peer's is half made, and what we want has to wait for it: the job is tried again in a moment. */
export const halfMadeByPeer = () =>
  new PeerRefused('the peer is in the middle of rekeying it', {
    code: 'PEER_REKEYING',
    notify: NotifyType.TEMPORARY_FAILURE,
    section: 'RFC 7296 §2.25',
  });

/** Of two rekeyings that crossed, ours goes no further. The peer knows the same nonces and finds the same. */
export class Superseded extends NegotiationFailure {
  constructor() {
    super('the peer is rekeying it as well, and its rekeying stays', { code: 'REKEY_SUPERSEDED', section: 'RFC 7296 §2.8.1' });
  }
}

/**
 * RFC 7296 §2.8.1, §2.8.2: rekeyings that cross are compared by their lowest nonces, which both ends know once CREATE_CHILD_SA is
 * answered both ways. Deciding there spares the follow-ups of the one that goes; an SA that needs none is made by then, and stays.
 */
function yieldToRival(world: World, sa: IkeSa, replaces: Replaced, nonces: Nonces): void {
  const made = replaces === 'ike' ? sa.peerSuccessor !== undefined : replaces?.rival !== undefined;
  if (made) throw new Superseded();
  const rival = sa.halfMade.rivalOf(replaces);
  if (rival === undefined) return;
  if (world.collisions.redundant[rivalsMet({ lowestNonce: lowestOf(nonces) }, rival)] === 'ours') throw new Superseded();
  sa.halfMade.forget(replaces);
}

function keep(world: World, sa: IkeSa, link: Uint8Array, half: HalfMade): boolean {
  const kept = sa.halfMade.add(link, half, world.now + PATIENCE);
  if (kept && sa.timers['follow-up'].slot < 0) world.arm(sa.timers['follow-up'], world.now + PATIENCE);
  return kept;
}

/** A copy: it outlives the datagram. */
const linkOf = (payloads: readonly Payload[]): Uint8Array | undefined =>
  findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)?.data.slice();

const stateNotFound = (): Reply => ({ payloads: [notify(NotifyType.STATE_NOT_FOUND)] });

const withoutLink = () =>
  new PeerViolation('the peer agreed to an additional key exchange, and sent no ADDITIONAL_KEY_EXCHANGE to link it to', {
    code: 'LINK_MISSING',
    section: 'RFC 9370 §2.2.4',
  });

const LINK_LENGTH = 16;
/** Between two steps; copies of a lost request come sooner. */
const PATIENCE: Millis = 20_000;
