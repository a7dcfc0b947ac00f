import { AuthenticationFailure } from '../../bytes/errors.ts';
import { AuthMethod, formatIdentification, type Identification, nameOf, type Payload } from '../../wire/index.ts';
import type { AskAnswers } from '../effects.ts';
import { isDistinguishedName, sameIdentity } from '../identity.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { IkeKeys } from '../keys.ts';
import { find, findAll, need } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import { type AuthMaterial, signedOctets } from '../signed-octets.ts';
import type { World } from '../world.ts';
import { methodsTaken, requireTaken } from './auth-methods.ts';
import { DEFAULT_HASHES } from './certificates.ts';
import { proveNull, verifyNull } from './null-authentication.ts';
import { proveResumed, resumedPeer, verifyResumed } from './resumption.ts';

/** RFC 7296 §2.15: our ID, CERT and AUTH payloads. The key is elsewhere; we hand over what must be covered. */
export function* authenticateSelf(sa: IkeSa, connection: Connection, material: AuthMaterial, keys: IkeKeys = sa.keys): Routine<Payload[]> {
  const session = sa.resumption?.session;
  if (session) return proveResumed(sa, session, material);
  const auth = connection.local[0];
  if (auth === undefined) throw noAuthentication(connection, 'local');
  if (auth.auth === 'null') requireTaken(sa, connection, AuthMethod.NULL_AUTHENTICATION);
  if (auth.auth === 'psk') requireTaken(sa, connection, AuthMethod.SHARED_KEY_MIC);
  if (auth.auth === 'null') return proveNull(sa, auth.id, material, keys);
  const { peer, originalRole } = sa;
  const answer = yield* ask({
    kind: 'authenticate',
    connection: connection.name,
    auth,
    localId: auth.id,
    remoteId: sa.remoteId ?? expectedId(connection),
    octets: (id) => signedOctets(originalRole, keys, material, id),
    prf: keys.suite.prf,
    peerHashes: peer.hashes,
    peerMethods: methodsTaken(sa),
    certificateAuthorities: peer.authorities,
    sendCertificates: sends(connection, peer.certificatesWanted),
    looksUp: peer.looksUp,
    sendRawKey: sends(connection, peer.rawKeysWanted),
  });
  if (!answer.ok) throw answer.error;
  sa.localId = answer.id;
  sa.localAuth = nameOf(AuthMethod, answer.method);
  return [
    { kind: originalRole === 'initiator' ? 'IDi' : 'IDr', ...answer.id },
    ...answer.certificates.map((c): Payload => ({ kind: 'CERT', ...c })),
    { kind: 'AUTH', method: answer.method, data: answer.data },
  ];
}

/**
 * RFC 7296 §2.15, §2.16: the peer's ID, CERT and AUTH against the connections that may be meant.
 * @param made other keys than those of the IKE SA, and other authentication data than that of the AUTH payload (RFC 8784)
 * @returns the connection that fits. Throws AuthenticationFailure, whose cause stays local.
 */
export function* verifyPeer(
  world: World,
  sa: IkeSa,
  candidates: readonly Connection[],
  material: AuthMaterial,
  payloads: readonly Payload[],
  made: { readonly keys?: IkeKeys; readonly data?: Uint8Array } = {},
): Routine<Connection> {
  const session = sa.resumption?.session;
  if (session) return verifyResumed(world, sa, session, candidates, material, payloads);
  const peerRole = sa.originalRole === 'initiator' ? 'responder' : 'initiator';
  const { keys = sa.keys } = made;
  const { idType, data, reserved } = need(payloads, peerRole === 'initiator' ? 'IDi' : 'IDr');
  // copies: the identity outlives the datagram
  const id: Identification =
    reserved === undefined ? { idType, data: data.slice() } : { idType, data: data.slice(), reserved: reserved.slice() };
  const auth = need(payloads, 'AUTH');
  const proof = made.data ?? auth.data;
  if (auth.method === AuthMethod.NULL_AUTHENTICATION) return verifyNull(world, sa, candidates, material, { id, data: proof, keys });
  const possible = candidates.flatMap((c) => (c.remote[0] === undefined ? [] : [{ connection: c.name, remote: c.remote[0] }]));
  const answer: AskAnswers['verify'] = yield* ask({
    kind: 'verify',
    candidates: possible,
    id,
    localId: sa.localId,
    method: auth.method,
    data: proof,
    octets: signedOctets(peerRole, keys, material, id),
    prf: keys.suite.prf,
    certificates: findAll(payloads, 'CERT'),
    ourHashes: world.options.hashes ?? DEFAULT_HASHES,
  });
  if (!answer.ok) throw answer.error;
  const connection = candidates.find((c) => c.name === answer.connection);
  if (connection === undefined) throw noAuthentication({ name: answer.connection }, 'remote');
  sa.remoteId = answer.id ?? id;
  sa.remoteAuth = nameOf(AuthMethod, auth.method);
  world.notice({ kind: 'peer', ikeSa: sa.id, id: sa.remoteId, method: auth.method, description: answer.description });
  return connection;
}

const sends = ({ sendCert }: Connection, wanted: boolean): boolean => sendCert === 'always' || (sendCert === 'ifasked' && wanted);

/**
 * The responder keeps those connections whose own identity is the one the initiator asked for in IDr, if it asked (RFC 7296 §1.2). Whether two
 * distinguished names are the same, and which a certificate has, is not known here: the initiator judges what it gets.
 */
export function candidatesFor(connections: readonly Connection[], payloads: readonly Payload[]): Connection[] {
  const wanted = find(payloads, 'IDr');
  if (wanted === undefined) return [...connections];
  const isWanted = (id: Identification | undefined) => id !== undefined && sameIdentity(id, wanted);
  const mayBe = (id: Identification | undefined) =>
    id === undefined || isDistinguishedName(id) || isDistinguishedName(wanted) || isWanted(id);
  const fits = connections.filter(({ local: [own] }) => mayBe(own?.id));
  if (fits.length === 0) {
    throw new AuthenticationFailure(`the peer asked for ${formatIdentification(wanted)}, which no connection here is`, {
      code: 'NO_MATCHING_PEER',
      section: 'RFC 7296 §1.2',
      hint: 'Set the local identity to what the peer expects, or its remote identity to ours.',
    });
  }
  return fits.toSorted((a, b) => Number(isWanted(b.local[0]?.id)) - Number(isWanted(a.local[0]?.id)));
}

/** Whom we ask for in IDr: only a policy that names one identity can. */
export function askedId({ resumption }: IkeSa, connection: Connection): Identification | undefined {
  const id = expectedId(connection);
  return id && resumption?.session ? resumedPeer(resumption.session, connection) : id;
}

export function expectedId({ remote }: Connection): Identification | undefined {
  const pattern = remote[0]?.id;
  return pattern?.kind === 'exact' ? pattern.id : undefined;
}

function noAuthentication(connection: { readonly name: string }, side: string): AuthenticationFailure {
  return new AuthenticationFailure(`connection ${connection.name} has no ${side} authentication`, {
    code: 'NO_AUTHENTICATION',
    hint: `Add a ${side} section to the connection.`,
  });
}
