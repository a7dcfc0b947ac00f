import { zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa, PendingAuth } from '../ike-sa.ts';
import { type AdditionalKe, type Nonces, ppkKeys, rekeyedKeys, zeroiseKeys } from '../keys.ts';
import { authenticatedOfOurs } from '../messenger.ts';
import { errorNotify, find, invalidSyntax, need, notify, refusedBy } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import { announceInIntermediate, awaitsAuthMethods, heedInIntermediate } from '../tasks/auth-methods.ts';
import { acceptKe, finishKe, methodName, offerKe } from '../tasks/ke.ts';
import { adoptFound, findPpk, offerPpk, offersPpk, takePpk } from '../tasks/ppk-intermediate.ts';
import type { World } from '../world.ts';

/**
 * IKE_INTERMEDIATE (RFC 9242) between IKE_SA_INIT and IKE_AUTH, one for each additional key exchange (RFC 9370 §2.2.2), the last of which
 * has the PPK with it (RFC 9867 §3.1):
 *
 *     HDR, SK {[KEi(n)] [N(PPK_IDENTITY_KEY)]}  -->  <--  HDR, SK {[KEr(n)] [N(PPK_IDENTITY)] [N(SUPPORTED_AUTH_METHODS)]}
 *
 * Each runs under the keys that were there before it and leaves new ones behind.
 */
export function* initiateIntermediates(world: World, sa: IkeSa, connection: Connection, material: AuthMaterial): Routine<void> {
  const due: (AdditionalKe | undefined)[] = [...pendingKes(sa, material)];
  if (due.length === 0 && (offersPpk(sa) || awaitsAuthMethods(sa))) due.push(undefined);
  for (const [i, wanted] of due.entries()) {
    const withPpk = offersPpk(sa) && i === due.length - 1;
    const ke = wanted && offerKe(world, wanted.method);
    try {
      const payloads = [...(ke ? [ke.payload] : []), ...(withPpk ? offerPpk(sa, material.nonces) : [])];
      const response = yield* askIntermediate(sa, material, payloads);
      const sharedSecret = ke && finishKe(ke.offer, wanted.method, need(response.payloads, 'KE'));
      heedInIntermediate(world, sa, response.payloads);
      const ppk = withPpk ? takePpk(sa, connection, response.payloads) : undefined;
      mixIn(world, sa, { sharedSecret, ppk }, material.nonces, response.messageId);
    } finally {
      ke?.offer.destroy();
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
export function* respondIntermediate(world: World, sa: IkeSa, { candidates, material }: PendingAuth, request: Inbound): Routine<Reply> {
  const { payloads, messageId } = request;
  const { intAuth, nonces } = material;
  const ke = find(payloads, 'KE');
  const [wanted, ...owed] = pendingKes(sa, material);
  const others = intAuth.exchanges - intAuth.keyExchanges;
  if (ke === undefined && others >= MOST_OTHERS) throw invalidSyntax('one IKE_INTERMEDIATE exchange more than was agreed', 'RFC 9242 §5');
  if (ke !== undefined && ke.method !== wanted?.method) {
    const due = wanted === undefined ? 'none is due' : `${methodName(wanted.method)} is due`;
    throw invalidSyntax(`a key exchange by ${methodName(ke.method)} where ${due}`, 'RFC 9370 §2.2.2');
  }
  const accepted = ke && (yield* acceptKe(world, sa, ke));
  // RFC 9867 §3.1: in the last of them
  const isLast = ke === undefined ? wanted === undefined : owed.length === 0;
  const found = isLast && sa.ppk?.agreed === 'IKE_INTERMEDIATE' ? yield* findPpk(world, sa, candidates, nonces, payloads) : undefined;
  const answer: Payload[] = [
    ...(accepted ? [accepted.payload] : []),
    ...(found ? [notify(NotifyType.PPK_IDENTITY, found.id)] : []),
    ...announceInIntermediate(world, sa, candidates),
  ];
  intAuth.add(sa.keys, request.authenticated!, authenticatedOfOurs(sa, messageId, true, answer), accepted !== undefined);
  return {
    payloads: answer,
    afterwards: () => {
      if (found) adoptFound(sa, found, material);
      mixIn(world, sa, { sharedSecret: accepted?.sharedSecret, ppk: found?.secret }, nonces, messageId);
    },
  };
}

/** Additional key exchanges still to be made; as long as there is one, IKE_AUTH is not due. A resumed IKE SA makes none (RFC 5723 §4.3.2). */
export const pendingKes = (sa: IkeSa, { intAuth }: AuthMaterial): readonly AdditionalKe[] =>
  sa.resumption?.session ? [] : (sa.keys.suite.additional ?? []).slice(intAuth.keyExchanges);

/** What one exchange brought; overwritten when it is in the keys. */
interface Brought {
  readonly sharedSecret: Uint8Array | undefined;
  readonly ppk: Uint8Array | undefined;
}

/** RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and all seven keys from it; then those with the PPK (RFC 9867 §3.1). */
function mixIn(world: World, sa: IkeSa, { sharedSecret, ppk }: Brought, nonces: Nonces, messageId: number): void {
  const exchanged = sharedSecret && rekeyedKeys(sa.keys, sa.keys.suite, [sharedSecret], nonces, sa);
  const keys = ppk ? ppkKeys(exchanged ?? sa.keys, ppk, nonces, sa) : exchanged;
  if (keys === undefined) return;
  if (exchanged && keys !== exchanged) zeroiseKeys(exchanged);
  sa.changeKeys(keys, messageId);
  zeroise(...[sharedSecret, ppk].filter((secret) => secret !== undefined));
  if (world.options.logKeys) world.logKeys(sa);
}

/** libreswan begins one as soon as both ends announce the exchange, be there something to say or not. */
const MOST_OTHERS = 1;
