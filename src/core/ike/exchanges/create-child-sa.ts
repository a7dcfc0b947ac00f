import { NegotiationFailure } from '../../bytes/errors.ts';
import { type KeyExchangeOffer, zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload, ProtocolId } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import { onChildRequest, redundantOf } from '../collisions.ts';
import type { IkeSa } from '../ike-sa.ts';
import { errorNotify, find, findNotify, need, notify, refusedBy } from '../notifies.ts';
import type { ChildPolicy } from '../policy.ts';
import { firstKeMethod } from '../proposals.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import { childAnswer, installChild, offerChild, spiOctets, takeChildAnswer, takeChildRequest } from '../tasks/child-create.ts';
import { deleteChild, deleteChildren } from '../tasks/child-delete.ts';
import { giveUpRekey, noteRekeyed, rekeyTarget } from '../tasks/child-rekey.ts';
import { respondIkeRekey } from '../tasks/ike-rekey.ts';
import { acceptKe, finishKe, InvalidKe, methodWanted, offerKe } from '../tasks/ke.ts';
import { newNonce, nonceOf } from '../tasks/nonce.ts';
import type { World } from '../world.ts';

/**
 * CREATE_CHILD_SA for a CHILD_SA, RFC 7296 §1.3.1 and §1.3.3:
 *
 *     HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->  <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
 *
 * @param rekeys the child that the new one takes over from
 */
export function* createChild(world: World, sa: IkeSa, policy: ChildPolicy, rekeys?: ChildSa): Routine<ChildSa> {
  const { offer, payloads } = offerChild(world, sa, policy, true, rekeys);
  const Ni = newNonce(world);
  const tried = new Set<number>();
  let method = firstKeMethod(offer.proposals);
  let ke: { offer: KeyExchangeOffer; payload: Payload } | undefined;
  try {
    for (;;) {
      if (method !== undefined) {
        tried.add(method);
        ke = offerKe(world, method);
      }
      const response = yield* exchange(ExchangeType.CREATE_CHILD_SA, createRequest(payloads, Ni, ke?.payload, rekeys));
      const refused = errorNotify(response.payloads);
      if (refused?.notify === NotifyType.INVALID_KE_PAYLOAD) {
        method = methodWanted(refused, offer.proposals, tried);
        ke?.offer.destroy();
        continue;
      }
      if (refused) throw refusedBy(refused, rekeys ? `rekeying CHILD_SA ${policy.name}` : `CHILD_SA ${policy.name}`);
      return yield* finishCreate(world, sa, { offer, Ni, method, ke: ke?.offer, rekeys }, response);
    }
  } finally {
    ke?.offer.destroy();
  }
}

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
  try {
    const agreement = takeChildAnswer(own.offer, response.payloads);
    const agreed = agreement.suite.keyExchange;
    if (agreed !== 0 && agreed !== own.method) {
      throw new NegotiationFailure('the peer chose a key exchange method for which we sent no public value', {
        code: 'KE_METHOD_MISMATCH',
        section: 'RFC 7296 §1.3',
      });
    }
    const sharedSecret = agreed !== 0 && own.ke ? finishKe(own.ke, agreed, need(response.payloads, 'KE')) : undefined;
    const nonces = { Ni: own.Ni, Nr: nonceOf(response.payloads) };
    // §2.8: the responder accepts on the new SA before it answers, so we may send at once; unless a crossing rekey may make ours redundant
    const outboundActive = own.rekeys?.peerSuccessor === undefined;
    return yield* installChild(world, sa, agreement, nonces, sharedSecret, { replaces: own.rekeys, outboundActive });
  } catch (error) {
    yield* deleteChildren([own.offer.spi]);
    throw error;
  }
}

function createRequest(offered: readonly Payload[], Ni: Uint8Array, ke: Payload | undefined, rekeys: ChildSa | undefined): Payload[] {
  const selectors = offered.filter((p) => p.kind === 'TSi' || p.kind === 'TSr');
  const others = offered.filter((p) => p.kind !== 'TSi' && p.kind !== 'TSr');
  const protocol = rekeys?.spec.protocol === 'AH' ? ProtocolId.AH : ProtocolId.ESP;
  // §1.3.3: REKEY_SA names the SPI that the sender expects in inbound packets
  const rekey: Payload[] = rekeys ? [{ ...notify(NotifyType.REKEY_SA), protocol, spi: spiOctets(rekeys.inboundSpi) }] : [];
  return [...rekey, ...others, { kind: 'Nonce', data: Ni }, ...(ke ? [ke] : []), ...selectors];
}

/** RFC 7296 §2.8: make before break. The old child goes when the new one carries traffic. */
export function* rekeyChild(world: World, sa: IkeSa, old: ChildSa): Routine<void> {
  if (!old.is('installed')) return;
  world.childTransition(old, 'rekeying');
  let successor: ChildSa;
  try {
    successor = yield* createChild(world, sa, old.policy, old);
  } catch (error) {
    giveUpRekey(world, old, error);
    throw error;
  }
  world.notice({ kind: 'child-rekeyed', from: old.id, to: successor.id, byUs: true });
  const rival = old.peerSuccessor;
  if (old.is('rekeying')) world.childTransition(old, 'rekeyed');
  // §2.8.1: with two successors the one with the lowest nonce is redundant; its creator deletes it, the other deletes the old SA
  if (rival?.usable && redundantOf(successor, rival) === 'ours') {
    world.childTransition(successor, 'rekeyed');
    yield* deleteChild(world, successor, 'made redundant by a crossing rekey');
    return;
  }
  world.emit({ kind: 'child-update', child: successor.id, change: { kind: 'activate-outbound' } });
  yield* deleteChild(world, old, 'rekeyed');
}

/** The responder: three forms of one exchange, told apart by what is in it (§1.3). */
export function* respondCreateChildSa(world: World, sa: IkeSa, request: Inbound): Routine<Reply> {
  const { payloads } = request;
  if (need(payloads, 'SA').proposals.some((p) => p.protocol === ProtocolId.IKE)) return respondIkeRekey(world, sa, payloads);
  if (onChildRequest(sa.state) === 'TEMPORARY_FAILURE') return { payloads: [notify(NotifyType.TEMPORARY_FAILURE)] };
  const rekey = findNotify(payloads, NotifyType.REKEY_SA);
  const target = rekey && rekeyTarget(sa, rekey);
  if (target && 'refuse' in target) return { payloads: [target.refuse] };
  return yield* respondChild(world, sa, payloads, target?.old);
}

function* respondChild(world: World, sa: IkeSa, payloads: readonly Payload[], old: ChildSa | undefined): Routine<Reply> {
  const { connection } = sa;
  if (connection === undefined)
    throw new NegotiationFailure('this IKE SA has no connection', { code: 'NO_CONNECTION', notify: NotifyType.NO_ADDITIONAL_SAS });
  if (sa.children.size >= MAX_CHILDREN) {
    throw new NegotiationFailure(`this IKE SA carries ${sa.children.size} CHILD_SAs already`, {
      code: 'NO_ADDITIONAL_SAS',
      notify: NotifyType.NO_ADDITIONAL_SAS,
      section: 'RFC 7296 §1.3',
    });
  }
  const { agreement, proposal } = takeChildRequest(world, sa, connection, payloads, true, old);
  const nonces = { Ni: nonceOf(payloads), Nr: newNonce(world) };
  const ke = find(payloads, 'KE');
  const agreed = agreement.suite.keyExchange;
  if (agreed !== 0 && ke?.method !== agreed) throw new InvalidKe(agreed, ke?.method ?? 0);
  const accepted = agreed !== 0 && ke ? acceptKe(world, ke) : undefined;
  const child = yield* installChild(world, sa, agreement, nonces, accepted?.sharedSecret, {
    replaces: old,
    outboundActive: old === undefined,
  });
  if (accepted) zeroise(accepted.sharedSecret);
  if (old) noteRekeyed(world, old, child);
  const [mode, rest] = splitMode(childAnswer(agreement, proposal));
  const [sap, ...selectors] = rest as [Payload, ...Payload[]];
  return { payloads: [...mode, sap, { kind: 'Nonce', data: nonces.Nr }, ...(accepted ? [accepted.payload] : []), ...selectors] };
}

const splitMode = (answer: readonly Payload[]): [Payload[], Payload[]] => [
  answer.filter((p) => p.kind === 'N'),
  answer.filter((p) => p.kind !== 'N'),
];

/** A peer that is authenticated may still be broken: what it can make us keep is bounded. */
const MAX_CHILDREN = 1024;
