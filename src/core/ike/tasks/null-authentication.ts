import { AuthenticationFailure } from '../../bytes/errors.ts';
import { equalSecrets, pskAuth, zeroise } from '../../crypto/index.ts';
import { AuthMethod, formatIdentification, type Identification, IdType, nameOf, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { type IkeKeys, prfOf } from '../keys.ts';
import { invalidSyntax } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { type AuthMaterial, signedOctets } from '../signed-octets.ts';
import type { World } from '../world.ts';

/** RFC 7619 §2.1: AUTH as with a pre-shared key, which is SK_pi or SK_pr; the identity proves nothing, and is ID_NULL unless one is set. */
export function proveNull(sa: IkeSa, wanted: Identification | undefined, material: AuthMaterial, keys: IkeKeys): Payload[] {
  const { originalRole: role } = sa;
  const id = wanted ?? NOBODY;
  sa.localId = id;
  sa.localAuth = METHOD;
  return [
    { kind: role === 'initiator' ? 'IDi' : 'IDr', ...id },
    { kind: 'AUTH', method: AuthMethod.NULL_AUTHENTICATION, data: nullAuth(role, material, keys, id) },
  ];
}

/**
 * AUTH of a peer that proves nothing but that it is the one of IKE_SA_INIT. Only a connection that says so lets it in (RFC 7619 §2.4), and
 * what it calls itself chooses none (§2.2). @throws AuthenticationFailure; PeerViolation where ID_NULL holds something
 */
export function verifyNull(
  world: World,
  sa: IkeSa,
  candidates: readonly Connection[],
  material: AuthMaterial,
  claim: { readonly id: Identification; readonly data: Uint8Array; readonly keys: IkeKeys },
): Connection {
  const { id, data, keys } = claim;
  // RFC 7619 §2.2: "MUST be empty"
  if (id.idType === IdType.ID_NULL && id.data.length > 0) throw invalidSyntax('an ID_NULL that is not empty', 'RFC 7619 §2.2');
  const connection = candidates.find(acceptsAnybody);
  if (connection === undefined) throw notAllowed(candidates);
  const expected = nullAuth(sa.originalRole === 'initiator' ? 'responder' : 'initiator', material, keys, id);
  const good = equalSecrets(expected, data);
  zeroise(expected);
  if (!good) throw somebodyBetween();
  sa.remoteId = id;
  sa.remoteAuth = METHOD;
  const claimed = id.idType === IdType.ID_NULL ? '' : `; it calls itself ${formatIdentification(id)}, which nothing supports`;
  const description = `nobody: it proved no identity${claimed}`;
  world.notice({ kind: 'peer', ikeSa: sa.id, id, method: AuthMethod.NULL_AUTHENTICATION, description });
  return connection;
}

/** Its peer proved no identity: whatever it is called, nothing follows from that (RFC 7619 §2.4). */
export const isUnproven = (sa: Pick<IkeSa, 'remoteAuth'>): boolean => sa.remoteAuth === METHOD;

/** There is an identity by which this peer can be known again. ID_NULL is everybody's, however its holder authenticates (§2.3). */
export const isSomebody = (sa: Pick<IkeSa, 'remoteAuth' | 'remoteId'>): boolean =>
  sa.remoteId !== undefined && sa.remoteId.idType !== IdType.ID_NULL && !isUnproven(sa);

export const acceptsAnybody = ({ remote }: Connection): boolean => remote[0]?.auth === 'null';

/**
 * RFC 7619 §2.5: whoever calls and proves nothing speaks for the address that it has from us, else for the one it calls from. Where we called,
 * the policy names what we look for there.
 */
export const speaksForItself = (sa: IkeSa): boolean => isUnproven(sa) && !sa.reauth.byUs;

/** Selectors of such a peer follow from its address when the CHILD_SA is made, so it has to keep it, unless it is one of ours. */
export const mayRoam = (connection: Connection): boolean => !acceptsAnybody(connection) || connection.pools.length > 0;

/**
 * §2.3: an INITIAL_CONTACT of nobody ends nothing. IKE SAs of others who called from there and prove nothing either may be left over from a
 * former life of this peer, though, and are worth a question.
 */
export function* likelyStale(world: World, sa: IkeSa): Iterable<IkeSa> {
  if (!isUnproven(sa) || sa.remoteId === undefined) return;
  let asked = 0;
  for (const other of world.provenAs(sa.remoteId)) {
    if (other === sa || !other.isEstablished || !isUnproven(other) || other.remote.ip !== sa.remote.ip) continue;
    yield other;
    if (++asked === MOST_ASKED) return;
  }
}

function nullAuth(signer: 'initiator' | 'responder', material: AuthMaterial, keys: IkeKeys, id: Identification): Uint8Array {
  const secret = signer === 'initiator' ? keys.SK_pi : keys.SK_pr;
  return pskAuth(prfOf(keys), secret, signedOctets(signer, keys, material, id));
}

function notAllowed(candidates: readonly Connection[]): AuthenticationFailure {
  const names = candidates.slice(0, MOST_NAMES).map(({ name }) => name);
  return new AuthenticationFailure(
    `the peer wants to stay anonymous (NULL authentication), which ${names.join(', ') || 'no connection'} does not allow`,
    {
      code: 'NULL_AUTH_NOT_ALLOWED',
      section: 'RFC 7619 §2',
      hint: 'Let the peer prove who it is; or, where anybody may come in, give them a connection of their own whose remote section has auth: null.',
    },
  );
}

const somebodyBetween = () =>
  new AuthenticationFailure('AUTH does not belong to the IKE_SA_INIT exchange that was seen here', {
    code: 'NULL_AUTH_MISMATCH',
    section: 'RFC 7619 §2.1',
    hint: 'Somebody on the way changed messages, or one end computes NULL authentication in another way.',
  });

const NOBODY: Identification = { idType: IdType.ID_NULL, data: new Uint8Array(0) };
const METHOD = nameOf(AuthMethod, AuthMethod.NULL_AUTHENTICATION);
const MOST_NAMES = 4;
const MOST_ASKED = 8;
