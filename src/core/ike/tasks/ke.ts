import { NegotiationFailure, PeerViolation, TunnelwrightError } from '../../bytes/errors.ts';
import { type KeyExchangeOffer, keyExchange } from '../../crypto/index.ts';
import { type KePayload, KeyExchangeId, type NotifyPayload, NotifyType, nameOf, type Proposal } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { keMethods } from '../proposals.ts';
import { ask, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/** RFC 7296 §3.4. A private value of ours that waits for the peer's public one. */
export function offerKe(world: World, method: number): { offer: KeyExchangeOffer; payload: KePayload } {
  const transform = methodOf(world, method);
  const offer = transform.offer(world.random.keySeed(method, transform.seedLength));
  return { offer, payload: { kind: 'KE', method, data: offer.publicValue } };
}

/**
 * The responder's half in one step. Where somebody computes it beside us the routine parks: whatever the caller has seen of the state of SAs
 * it has to look at again.
 */
export function* acceptKe(world: World, sa: IkeSa, { method, data }: KePayload): Routine<{ payload: KePayload; sharedSecret: Uint8Array }> {
  const transform = methodOf(world, method);
  const seed = world.random.keySeed(method, transform.seedLength);
  if (world.options.asksKeyExchange !== true) {
    const { publicValue, sharedSecret } = transform.accept(data, seed);
    return { payload: { kind: 'KE', method, data: publicValue }, sharedSecret };
  }
  // what no peer sends is not worth a place in a queue
  if (data.length !== transform.initiatorLength) transform.accept(data, seed);
  const answer = yield* ask<'key-exchange'>({ kind: 'key-exchange', method, peerPublic: data.slice(), seed, refusable: !sa.hasKeys });
  if (!answer.ok) throw answer.error;
  return { payload: { kind: 'KE', method, data: answer.publicValue }, sharedSecret: answer.sharedSecret };
}

/** Nobody had the time to compute it, or whoever computed it ended: no fault of the peer, and nothing is promised yet. */
export const isNotComputed = (error: unknown): boolean =>
  error instanceof TunnelwrightError && (error.code === 'OVERLOADED' || error.code === 'WORKER_CRASHED' || error.code === 'ASK_TIMEOUT');

export function finishKe(offer: KeyExchangeOffer, method: number, answer: KePayload): Uint8Array {
  if (answer.method !== method) {
    throw new PeerViolation(`the peer answered with ${methodName(answer.method)} where ${methodName(method)} was agreed`, {
      code: 'KE_METHOD_MISMATCH',
      notify: NotifyType.INVALID_SYNTAX,
      section: 'RFC 7296 §1.3',
    });
  }
  return offer.finish(answer.data);
}

/** RFC 7296 §1.2: the initiator guessed another method than the one the chosen proposal needs; two octets name the right one. */
export class InvalidKe extends NegotiationFailure {
  readonly data: Uint8Array;

  constructor(wanted: number, got: number) {
    super(`the key exchange is ${methodName(got)} where ${methodName(wanted)} is wanted`, {
      code: 'INVALID_KE_PAYLOAD',
      notify: NotifyType.INVALID_KE_PAYLOAD,
      section: 'RFC 7296 §1.3',
    });
    this.data = new Uint8Array([wanted >>> 8, wanted & 0xff]);
  }
}

/** @returns the method to try next, or throws when the peer asks for one that we never offered or that we tried already. */
export function methodWanted(answer: NotifyPayload, offered: readonly Proposal[], tried: ReadonlySet<number>): number {
  const wanted = answer.data.length === 2 ? (answer.data[0]! << 8) | answer.data[1]! : -1;
  if (!offered.some((p) => keMethods(p).includes(wanted)) || tried.has(wanted)) {
    throw new NegotiationFailure(
      `the peer insists on ${methodName(wanted)} for the key exchange, which we ${tried.has(wanted) ? 'already sent' : 'did not offer'}`,
      {
        code: 'KE_METHOD_REFUSED',
        section: 'RFC 7296 §2.7',
        hint: `Add ${methodName(wanted)} to the proposals of this connection, or remove it on the peer.`,
      },
    );
  }
  return wanted;
}

export const methodName = (id: number): string => nameOf(KeyExchangeId, id);

function methodOf(world: World, id: number): NonNullable<ReturnType<typeof keyExchange>> {
  const transform = world.options.keyExchange?.(id) ?? keyExchange(id);
  if (transform === undefined) {
    throw new NegotiationFailure(`key exchange ${methodName(id)} is not implemented here`, {
      code: 'KE_METHOD_UNSUPPORTED',
      notify: NotifyType.NO_PROPOSAL_CHOSEN,
    });
  }
  return transform;
}
