import { fromUtf8, printable } from '../../bytes/bytes.ts';
import { AuthenticationFailure, NegotiationFailure } from '../../bytes/errors.ts';
import { prfPlus, zeroise } from '../../crypto/index.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { type IkeKeys, prfOf } from '../keys.ts';
import { find, findNotify, need, notify } from '../notifies.ts';
import type { Connection, PpkExchange, PpkPolicy } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import type { World } from '../world.ts';
import { authenticateSelf, expectedId } from './authenticate.ts';

/** Post-quantum pre-shared keys, RFC 8784 and RFC 9867: what an IKE SA has to do with one. */
export interface PpkState {
  /** Both ends use them, in this exchange. */
  agreed: PpkExchange | undefined;
  /** The one that its keys are made of; every IKE SA that is rekeyed from this one descends from it. */
  used: string | undefined;
  /** The initiator's choice, and the keys with it, until IKE_AUTH is over. */
  offer: { readonly id: Uint8Array; readonly secret: Uint8Array; mixed?: IkeKeys | undefined } | undefined;
}

/** May a PPK of this connection be mixed in there? */
export const mixesIn = (exchange: PpkExchange, ppk: PpkPolicy | undefined): ppk is PpkPolicy =>
  ppk !== undefined && (ppk.exchange ?? exchange) === exchange;

/** The initiator asks for its PPK before it speaks of one: who announces a PPK has to name one (RFC 8784 §3). */
export function* choosePpk(world: World, sa: IkeSa, connection: Connection): Routine<void> {
  const { name, ppk } = connection;
  if (ppk === undefined) return;
  const answer = yield* ask({ kind: 'ppk', candidates: [{ connection: name, ppk }], id: undefined, remoteId: expectedId(connection) });
  if (answer.ok) sa.ppk = { agreed: undefined, used: undefined, offer: { id: answer.id, secret: answer.secret } };
  else if (ppk.required) throw answer.error;
  else
    world.notice({ kind: 'failed', ikeSa: sa.id, connection: name, what: 'mixing in a post-quantum pre-shared key', error: answer.error });
}

/** Whatever became of the IKE SA, the secret is not needed any more. */
export function forgetPpk(sa: IkeSa): void {
  if (sa.ppk?.offer === undefined) return;
  const { secret, mixed } = sa.ppk.offer;
  zeroise(secret);
  if (mixed) forget(mixed);
  sa.ppk.offer = undefined;
}

/** N(USE_PPK) and N(USE_PPK_INT) of the initiator: one exchange or the other, as the responder likes (RFC 9867 §3.1). */
export const announcePpk = (sa: IkeSa, { ppk }: Connection): Payload[] =>
  sa.ppk?.offer ? EXCHANGES.filter((exchange) => mixesIn(exchange, ppk)).map((exchange) => notify(ANNOUNCED_BY[exchange])) : [];

/** The responder's: it says so where it was asked and one of the connections that may be meant has a PPK. */
export function agreeOnPpk(sa: IkeSa, candidates: readonly Connection[], payloads: readonly Payload[]): Payload[] {
  const agreed = agreedExchange(sa, candidates, payloads);
  if (agreed === undefined) return [];
  sa.ppk = { agreed, used: undefined, offer: undefined };
  return [notify(ANNOUNCED_BY[agreed])];
}

/** The earlier one, if both ends can. */
const agreedExchange = (sa: IkeSa, connections: readonly Connection[], payloads: readonly Payload[]): PpkExchange | undefined =>
  EXCHANGES.find(
    (exchange) =>
      (exchange === 'IKE_AUTH' || sa.peer.intermediate) &&
      findNotify(payloads, ANNOUNCED_BY[exchange]) !== undefined &&
      connections.some(({ ppk }) => mixesIn(exchange, ppk)),
  );

/** The initiator hears whether the responder knows PPKs. */
export function notePpk(sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  const agreed = agreedExchange(sa, [connection], payloads);
  if (sa.ppk) sa.ppk.agreed = agreed;
  if (agreed || connection.ppk?.required !== true) return;
  throw new NegotiationFailure(`the peer does not use post-quantum pre-shared keys, which ${connection.name} insists on`, {
    code: 'PPK_NOT_SUPPORTED',
    section: 'RFC 8784 §3',
    hint: 'Configure the PPK on the peer, or set ppk_required: no here.',
  });
}

/** What the initiator proves itself with, and what it adds to its IKE_AUTH request. */
export interface PpkProof {
  /** Those with the PPK in them, where one is used. */
  readonly keys: IkeKeys;
  readonly notifies: readonly Payload[];
}

/** N(PPK_IDENTITY) and, where we could do without, N(NO_PPK_AUTH): AUTH once more, made without the PPK (RFC 8784 §3). */
export function* provePpk(sa: IkeSa, connection: Connection, material: AuthMaterial): Routine<PpkProof> {
  const { keys, ppk } = sa;
  if (ppk?.agreed !== 'IKE_AUTH' || ppk.offer === undefined) return { keys, notifies: [] };
  const notifies = [notify(NotifyType.PPK_IDENTITY, ppk.offer.id)];
  if (connection.ppk?.required !== true) {
    const auth = find(yield* authenticateSelf(sa, connection, material), 'AUTH');
    if (auth) notifies.push(notify(NotifyType.NO_PPK_AUTH, auth.data));
  }
  ppk.offer.mixed = mixPpk(keys, ppk.offer.secret);
  return { keys: ppk.offer.mixed, notifies };
}

/** The initiator reads from the response whether the PPK was used, and takes the keys that go with it. Throws AuthenticationFailure. */
export function settlePpk(sa: IkeSa, connection: Connection, { keys }: PpkProof, payloads: readonly Payload[]): void {
  if (keys === sa.keys || sa.ppk?.offer === undefined) return;
  if (findNotify(payloads, NotifyType.PPK_IDENTITY)) {
    sa.ppk.used = ppkName(sa.ppk.offer.id);
    sa.ppk.offer.mixed = undefined;
    sa.changeDerivation(keys);
    return;
  }
  goWithoutPpk(connection, 'RFC 8784 §3');
}

/** The peer knows nothing of the initiator's PPK. Throws AuthenticationFailure where that ends it. */
export function goWithoutPpk({ name, ppk }: Connection, section: string): void {
  if (ppk?.required !== true) return;
  throw new AuthenticationFailure(`the peer went on without the post-quantum pre-shared key, which ${name} insists on`, {
    code: 'PPK_REFUSED',
    section,
    hint: 'Make the PPK known to the peer under the same id, or set ppk_required: no here.',
  });
}

/** What the responder holds the initiator's AUTH against. */
export interface PpkJudgement {
  readonly candidates: readonly Connection[];
  readonly keys: IkeKeys;
  /** Authentication data that stands for that of the AUTH payload. */
  readonly data?: Uint8Array;
  /** The id of the PPK that is in these keys. */
  readonly used?: string;
}

/** RFC 8784 §3, table 1. Throws AuthenticationFailure. */
export function* judgePpk(world: World, sa: IkeSa, candidates: readonly Connection[], payloads: readonly Payload[]): Routine<PpkJudgement> {
  const { keys } = sa;
  // those that are left had their PPK before (RFC 9867 §3.1)
  if (sa.resumption?.session || sa.ppk?.used !== undefined) return { candidates, keys };
  const without = candidates.filter((c) => c.ppk?.required !== true);
  if (sa.ppk?.agreed !== 'IKE_AUTH') {
    if (without.length === 0) throw refusedForPpk('the peer brings no post-quantum pre-shared key', candidates);
    return { candidates: without, keys };
  }
  const id = findNotify(payloads, NotifyType.PPK_IDENTITY)?.data.slice();
  if (id === undefined) throw refusedForPpk('the peer announced a post-quantum pre-shared key and names none', candidates);
  const possible = ppksFor('IKE_AUTH', candidates);
  const answer = yield* ask({ kind: 'ppk', candidates: possible, id, remoteId: need(payloads, 'IDi') });
  if (answer.ok) {
    const mixed = mixPpk(keys, answer.secret);
    zeroise(answer.secret);
    return { candidates: candidates.filter(({ name }) => answer.connections.includes(name)), keys: mixed, used: ppkName(id) };
  }
  const data = findNotify(payloads, NotifyType.NO_PPK_AUTH)?.data;
  const unknown = `the peer names the post-quantum pre-shared key ${ppkName(id)}, which is not known for it here`;
  if (data === undefined || without.length === 0) throw refusedForPpk(unknown, candidates, answer.error);
  world.notice({
    kind: 'failed',
    ikeSa: sa.id,
    connection: without[0]!.name,
    what: 'mixing in a post-quantum pre-shared key',
    error: answer.error,
  });
  return { candidates: without, keys, data };
}

/** The PPKs that may be mixed in there. */
export const ppksFor = (exchange: PpkExchange, candidates: readonly Connection[]): { connection: string; ppk: PpkPolicy }[] =>
  candidates.flatMap(({ name, ppk }) => (mixesIn(exchange, ppk) ? [{ connection: name, ppk }] : []));

/** The initiator is proven: its PPK is in all that follows. @returns what the response says of it */
export function adoptPpk(sa: IkeSa, { keys, used }: PpkJudgement): Payload[] {
  if (used === undefined || sa.ppk === undefined) return [];
  sa.ppk.used = used;
  sa.changeDerivation(keys);
  // RFC 8784 §3: without data
  return [notify(NotifyType.PPK_IDENTITY)];
}

/** AUTH did not verify: what was made for it goes, and with a PPK in it the PPK may be why. */
export function blamePpk(
  sa: IkeSa,
  { keys, used }: { readonly keys: IkeKeys; readonly used?: string | undefined },
  error: unknown,
): unknown {
  if (keys !== sa.keys) forget(keys);
  if (used === undefined || !(error instanceof AuthenticationFailure) || !WRONG_AUTH.has(error.code)) return error;
  return new AuthenticationFailure(`${error.message}, or the post-quantum pre-shared key ${used} is not the same on both ends`, {
    code: error.code,
    section: 'RFC 8784 §3',
    hint: 'Compare both secrets, that of the authentication and the PPK of this id, on both ends.',
    cause: error,
  });
}

/** RFC 8784 §3: SK_d = prf+ (PPK, SK_d'), SK_pi and SK_pr likewise; the keys that protect messages stay. */
export function mixPpk(keys: IkeKeys, ppk: Uint8Array): IkeKeys {
  const f = prfOf(keys);
  const mix = (key: Uint8Array): Uint8Array => prfPlus(f, ppk, key, key.length);
  return { ...keys, SK_d: mix(keys.SK_d), SK_pi: mix(keys.SK_pi), SK_pr: mix(keys.SK_pr) };
}

const forget = ({ SK_d, SK_pi, SK_pr }: IkeKeys): void => zeroise(SK_d, SK_pi, SK_pr);

export function refusedForPpk(what: string, [connection]: readonly Connection[], cause?: Error): AuthenticationFailure {
  return new AuthenticationFailure(connection?.ppk?.required ? `${what}; ${connection.name} insists on one` : what, {
    code: 'PPK_MISMATCH',
    section: 'RFC 8784 §3',
    hint: 'Give both ends the same PPK under the same id, or set ppk_required: no on both until they have it.',
    ...(cause ? { cause } : {}),
  });
}

/** PPK_ID Type, then the identity (RFC 8784 §5.1). */
export const ppkName = (id: Uint8Array): string => printable(fromUtf8(id.subarray(1, 1 + LONGEST_SHOWN)));

/** The answers of who checks AUTH that say that its octets are other ones. */
const WRONG_AUTH: ReadonlySet<string> = new Set(['PSK_MISMATCH', 'AUTH_SIGNATURE']);
const LONGEST_SHOWN = 128;
/** What is preferred comes first. */
const EXCHANGES: readonly PpkExchange[] = ['IKE_INTERMEDIATE', 'IKE_AUTH'];
const ANNOUNCED_BY = { IKE_INTERMEDIATE: NotifyType.USE_PPK_INT, IKE_AUTH: NotifyType.USE_PPK } as const;
