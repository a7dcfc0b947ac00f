import { EMPTY, toHex } from '../../bytes/bytes.ts';
import { AuthenticationFailure, MalformedMessage } from '../../bytes/errors.ts';
import { Writer } from '../../bytes/writer.ts';
import { acceptableSchemes, type SignatureScheme } from '../../crypto/index.ts';
import {
  type AuthAnnouncement,
  AuthMethod,
  describeAuthAnnouncement,
  NotifyType,
  nameOf,
  type Payload,
  parseAuthAnnouncements,
  writeAuthAnnouncements,
  writePayloads,
} from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findNotify, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import type { Inbound } from '../routine.ts';
import type { World } from '../world.ts';
import { DEFAULT_HASHES } from './certificates.ts';

/**
 * RFC 9593: how each end lets itself be convinced, so that the other one need not guess which of its credentials to use.
 *
 *     HDR, SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr, [N(SUPPORTED_AUTH_METHODS)]
 *     HDR, SK {IDi, AUTH, [N(SUPPORTED_AUTH_METHODS)], ...}  -->
 */
export interface AuthMethodsState {
  /** Notification Data of the peer that could be read. */
  readonly announced: Uint8Array | undefined;
  /** The notify in IKE_SA_INIT was empty: the responder's methods are to come in IKE_INTERMEDIATE (RFC 9593 §3.1). */
  readonly deferred: boolean;
}

/**
 * The responder's, in IKE_SA_INIT; what would not fit into one datagram waits for IKE_INTERMEDIATE where that is to be (RFC 9593 §3.1).
 * A request whose address may be forged draws no more octets than it has itself.
 * @param others what the response holds besides
 */
export function announceInInit(
  world: World,
  sa: IkeSa,
  candidates: readonly Connection[],
  request: Inbound,
  others: readonly Payload[],
): Payload[] {
  const data = announcement(world, candidates);
  const [connection] = candidates;
  if (data === undefined || connection === undefined) return [];
  const fits = datagramOf(others) + data.length <= connection.fragmentSize;
  if (fits && (sa.reachable || data.length <= request.raw.length)) return [notify(NotifyType.SUPPORTED_AUTH_METHODS, data)];
  if (!sa.peer.intermediate) return [];
  sa.authMethods = { announced: undefined, deferred: true };
  return [notify(NotifyType.SUPPORTED_AUTH_METHODS)];
}

/** The responder's, in the first IKE_INTERMEDIATE, where it was put off until then. */
export function announceInIntermediate(world: World, sa: IkeSa, candidates: readonly Connection[]): Payload[] {
  if (!awaitsAuthMethods(sa)) return [];
  sa.authMethods = undefined;
  return [notify(NotifyType.SUPPORTED_AUTH_METHODS, announcement(world, candidates) ?? EMPTY)];
}

/**
 * The initiator's, in IKE_AUTH, to a responder that has shown that it speaks the extension (RFC 9593 §3.1 leaves it open). It is an advice, so it
 * does not make fragments of a request that has none without it: some paths and some peers have trouble with those.
 * @param others what the request holds besides
 */
export function announceInAuth(world: World, sa: IkeSa, connection: Connection, others: readonly Payload[]): Payload[] {
  if (sa.resumption?.session || sa.authMethods === undefined) return [];
  const data = announcement(world, [connection]);
  if (data === undefined) return [];
  const whole = datagramOf(others);
  if (whole <= connection.fragmentSize && whole + data.length > connection.fragmentSize) return [];
  return [notify(NotifyType.SUPPORTED_AUTH_METHODS, data)];
}

/** The initiator, of the response to IKE_SA_INIT. */
export function heedInInit(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  const data = announcedIn(payloads);
  if (data === undefined || connection.authMethods !== true) return;
  if (data.length > 0) note(world, sa, data);
  else sa.authMethods = { announced: undefined, deferred: sa.peer.intermediate };
}

/** The initiator has something to ask for in IKE_INTERMEDIATE, the responder something to say. */
export const awaitsAuthMethods = ({ authMethods }: IkeSa): boolean => authMethods?.deferred === true;

/** The initiator, of a response to IKE_INTERMEDIATE. */
export function heedInIntermediate(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  const data = awaitsAuthMethods(sa) ? announcedIn(payloads) : undefined;
  if (data !== undefined && data.length > 0) note(world, sa, data);
}

/** The responder, once it knows who is calling. */
export function heedInAuth(world: World, sa: IkeSa, { authMethods }: Connection, payloads: readonly Payload[]): void {
  const data = announcedIn(payloads);
  if (data !== undefined && data.length > 0 && authMethods === true) note(world, sa, data);
}

/** What the peer takes; undefined where it did not say. */
export const methodsTaken = ({ authMethods }: IkeSa): readonly AuthAnnouncement[] | undefined =>
  authMethods?.announced && parsed(authMethods.announced);

/** Throws AuthenticationFailure where the peer said what it takes, and this is not among it. */
export function requireTaken(sa: IkeSa, { name }: Connection, method: number): void {
  const taken = methodsTaken(sa);
  if (taken === undefined || taken.some((each) => each.method === method)) return;
  throw new AuthenticationFailure(
    `${name} authenticates us by ${nameOf(AuthMethod, method)}, and the peer takes ${taken.map(describeAuthAnnouncement).join(', ')} alone`,
    {
      code: 'AUTH_METHOD_NOT_TAKEN',
      section: 'RFC 9593 §3',
      hint: 'Set auth of the local section, here, or of the remote section, at the peer, so that both mean the same.',
    },
  );
}

/** By `status`. */
export const methodsShown = (sa: IkeSa): readonly string[] | undefined => methodsTaken(sa)?.map(describeAuthAnnouncement);

const announcedIn = (payloads: readonly Payload[]): Uint8Array | undefined => findNotify(payloads, NotifyType.SUPPORTED_AUTH_METHODS)?.data;

function note(world: World, sa: IkeSa, data: Uint8Array): void {
  try {
    parseAuthAnnouncements(data);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    world.notice({ kind: 'drop', cause: 'auth-methods-malformed', remote: sa.remote, detail: error.message });
    return;
  }
  sa.authMethods = { announced: inCommon(data), deferred: false };
}

/** Peers of one kind announce the same: thousands of IKE SAs have it in common. */
function inCommon(data: Uint8Array): Uint8Array {
  const key = toHex(data);
  const known = ANNOUNCED.get(key);
  if (known !== undefined) return known;
  const copy = data.slice();
  if (ANNOUNCED.size < MOST_ANNOUNCED && data.length <= LONGEST_ANNOUNCED) ANNOUNCED.set(key, copy);
  return copy;
}

/** Those are read again with each look at one of these IKE SAs. */
function parsed(announced: Uint8Array): readonly AuthAnnouncement[] {
  const known = PARSED.get(announced);
  if (known !== undefined) return known;
  const list = parseAuthAnnouncements(announced);
  PARSED.set(announced, list);
  return list;
}

/** What any of these connections takes; undefined where one of them is to say nothing, or there is nothing to say. */
function announcement(world: World, connections: readonly Connection[]): Uint8Array | undefined {
  if (connections.length === 0 || !connections.every(({ authMethods }) => authMethods === true)) return undefined;
  const hashes = world.options.hashes ?? DEFAULT_HASHES;
  const [connection] = connections;
  if (connection === undefined || connections.length > 1) return compose(connections, hashes);
  // mostly there is one, which says the same to everybody
  const known = COMPOSED.get(connection);
  if (known?.hashes === hashes) return known.data;
  const data = compose(connections, hashes);
  COMPOSED.set(connection, { hashes, data });
  return data;
}

function compose(connections: readonly Connection[], hashes: readonly number[]): Uint8Array | undefined {
  const remotes = connections.flatMap(({ remote }) => remote.slice(0, 1));
  const keys = remotes.filter(({ auth }) => auth === 'pubkey' || auth === 'any');
  const schemes = new Set(keys.flatMap((remote) => acceptableSchemes(remote.schemes, hashes)));
  const announcements: AuthAnnouncement[] = [
    ...(remotes.some(({ auth }) => auth === 'psk' || auth === 'any') ? [{ method: AuthMethod.SHARED_KEY_MIC }] : []),
    ...(remotes.some(({ auth }) => auth === 'null') ? [{ method: AuthMethod.NULL_AUTHENTICATION }] : []),
    ...Array.from(schemes, announceScheme),
  ];
  return announcements.length === 0 ? undefined : writeAuthAnnouncements(announcements);
}

/** For any of our authorities: which of them a key has to come from, the path of certificates decides. */
const announceScheme = ({ authMethod, algorithmIdentifier }: SignatureScheme): AuthAnnouncement => ({
  method: authMethod,
  certLink: 0,
  ...(algorithmIdentifier.length === 0 ? {} : { algorithm: algorithmIdentifier }),
});

/** Octets of an IP datagram with these payloads, and a notify without data. */
function datagramOf(payloads: readonly Payload[]): number {
  const w = new Writer();
  writePayloads(w, payloads);
  return w.length + OVERHEAD;
}

/** Octets of the headers of IPv6, UDP, IKE and that notify, the non-ESP marker, and what the longest cipher adds to an SK payload. */
const OVERHEAD = 160;
/** In hexadecimal. */
const ANNOUNCED = new Map<string, Uint8Array>();
const MOST_ANNOUNCED = 64;
const PARSED = new WeakMap<Uint8Array, readonly AuthAnnouncement[]>();
const COMPOSED = new WeakMap<Connection, { readonly hashes: readonly number[]; readonly data: Uint8Array | undefined }>();
const LONGEST_ANNOUNCED = 256;
