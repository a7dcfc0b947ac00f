import { zeroise } from '../../crypto/index.ts';
import { ExchangeType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { type AdditionalKe, type Nonces, rekeyedKeys } from '../keys.ts';
import { authenticatedOfOurs } from '../messenger.ts';
import { errorNotify, find, invalidSyntax, need, refusedBy } from '../notifies.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import { acceptKe, finishKe, methodName, offerKe } from '../tasks/ke.ts';
import type { World } from '../world.ts';

/**
 * IKE_INTERMEDIATE (RFC 9242) between IKE_SA_INIT and IKE_AUTH, one for each additional key exchange (RFC 9370 §2.2.2):
 *
 *     HDR, SK {KEi(n)}  -->  <--  HDR, SK {KEr(n)}
 *
 * Each runs under the keys that were there before it and leaves new ones behind.
 */
export function* initiateIntermediates(world: World, sa: IkeSa, material: AuthMaterial): Routine<void> {
  for (const wanted of pendingKes(sa, material)) {
    const { offer, payload } = offerKe(world, wanted.method);
    try {
      const response = yield* askIntermediate(sa, material, [payload]);
      const sharedSecret = finishKe(offer, wanted.method, need(response.payloads, 'KE'));
      mixIn(world, sa, sharedSecret, material.nonces, response.messageId);
    } finally {
      offer.destroy();
    }
  }
}

/** One exchange, with what AUTH is to cover of it noted down under the keys that protected it. */
function* askIntermediate(sa: IkeSa, material: AuthMaterial, payloads: readonly Payload[]): Routine<Inbound> {
  const response = yield* exchange(ExchangeType.IKE_INTERMEDIATE, payloads);
  const refused = errorNotify(response.payloads);
  if (refused) throw refusedBy(refused, 'IKE_INTERMEDIATE');
  const request = authenticatedOfOurs(sa, response.messageId, false, payloads);
  material.intAuth.add(sa.keys, request, response.authenticated!);
  return response;
}

/**
 * The responder, in state half-open: its sender is not authenticated. So the number of exchanges is known beforehand (RFC 9242 §5): one
 * for each additional key exchange, in their order, and one that may carry whatever else. New keys hold once the answer is sealed.
 */
export function* respondIntermediate(world: World, sa: IkeSa, material: AuthMaterial, request: Inbound): Routine<Reply> {
  const { payloads, messageId } = request;
  const ke = find(payloads, 'KE');
  const [wanted] = pendingKes(sa, material);
  const others = material.intAuth.exchanges - material.intAuth.keyExchanges;
  if (ke === undefined && others >= MOST_OTHERS) throw invalidSyntax('one IKE_INTERMEDIATE exchange more than was agreed', 'RFC 9242 §5');
  if (ke !== undefined && ke.method !== wanted?.method) {
    const due = wanted === undefined ? 'none is due' : `${methodName(wanted.method)} is due`;
    throw invalidSyntax(`a key exchange by ${methodName(ke.method)} where ${due}`, 'RFC 9370 §2.2.2');
  }
  const accepted = ke && (yield* acceptKe(world, sa, ke));
  const answer: Payload[] = accepted ? [accepted.payload] : [];
  material.intAuth.add(sa.keys, request.authenticated!, authenticatedOfOurs(sa, messageId, true, answer), accepted !== undefined);
  return {
    payloads: answer,
    afterwards: () => {
      if (accepted) mixIn(world, sa, accepted.sharedSecret, material.nonces, messageId);
    },
  };
}

/** Additional key exchanges still to be made; as long as there is one, IKE_AUTH is not due. A resumed IKE SA makes none (RFC 5723 §4.3.2). */
export const pendingKes = (sa: IkeSa, { intAuth }: AuthMaterial): readonly AdditionalKe[] =>
  sa.resumption?.session ? [] : (sa.keys.suite.additional ?? []).slice(intAuth.keyExchanges);

/** RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and all seven keys from it. */
function mixIn(world: World, sa: IkeSa, sharedSecret: Uint8Array, nonces: Nonces, messageId: number): void {
  sa.changeKeys(rekeyedKeys(sa.keys, sa.keys.suite, [sharedSecret], nonces, sa), messageId);
  zeroise(sharedSecret);
  if (world.options.logKeys) world.logKeys(sa);
}

/** libreswan begins one as soon as both ends announce the exchange, be there something to say or not. */
const MOST_OTHERS = 1;
