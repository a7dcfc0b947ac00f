import { AuthenticationFailure, concat, InternalError, toHex, utf8 } from '../../../core/bytes/index.ts';
import {
  chooseScheme,
  HashAlgorithm,
  type KeyObject,
  keyInfo,
  meansScheme,
  prf,
  type SignatureScheme,
  sha1,
} from '../../../core/crypto/index.ts';
import type { Ask, AskAnswers } from '../../../core/ike/effects.ts';
import {
  type Certificate,
  certificateFailure,
  certificateIdentities,
  certificateTitle,
  formatIdentity,
  formatTime,
  identityMatchesCertificate,
  isSelfIssued,
  keyIdentity,
  sameName,
} from '../../../core/pki/index.ts';
import { describeAuthAnnouncement } from '../../../core/wire/auth-announcements.ts';
import { AuthMethod, CertEncoding, IdType } from '../../../core/wire/iana.ts';
import type { Identification } from '../../../core/wire/payloads/types.ts';
import type { SignatureSteps } from '../workers/work.ts';
import type { Keyring, OwnCertificate, OwnRawKey } from './keyring.ts';
import { authWithSecret } from './secrets.ts';

type AuthenticateAsk = Extract<Ask, { kind: 'authenticate' }>;
type Made = Extract<AskAnswers['authenticate'], { ok: true }>;
type Sent = Made['certificates'][number];

/** Makes our AUTH payload (RFC 7296 §2.15, RFC 7427 §3) and picks the certificates that go with it. Throws `AuthenticationFailure`. */
export function* authenticate(keyring: Keyring, ask: AuthenticateAsk, at: number): SignatureSteps<Made> {
  switch (ask.auth.auth) {
    case 'psk':
      return withSecret(keyring, ask);
    case 'pubkey':
      return yield* withKey(keyring, ask, at);
    case 'any':
      return takesSignatures(ask) && (ownCandidates(keyring, ask).length > 0 || rawKeyFor(keyring, ask) !== undefined)
        ? yield* withKey(keyring, ask, at)
        : withSecret(keyring, ask);
    default:
      throw new AuthenticationFailure(
        `connection ${ask.connection} authenticates us by ${ask.auth.auth}, for which no stored credential serves`,
        {
          code: 'AUTH_METHOD',
          hint: 'Set auth of the local section to psk or pubkey.',
        },
      );
  }
}

const takesSignatures = ({ peerMethods }: AuthenticateAsk): boolean =>
  peerMethods === undefined ||
  peerMethods.some(({ method }) => method !== AuthMethod.SHARED_KEY_MIC && method !== AuthMethod.NULL_AUTHENTICATION);

function withSecret(keyring: Keyring, ask: AuthenticateAsk): Made {
  const id = ask.auth.id ?? ask.localId;
  if (id === undefined) {
    throw new AuthenticationFailure(`connection ${ask.connection} has no identity of ours to go with a pre-shared key`, {
      code: 'NO_IDENTITY',
      hint: 'Set id in the local section.',
    });
  }
  const found = keyring.secrets.find(id, ask.remoteId, ask.auth.credential);
  if (found === undefined) throw missingSecret(id, ask.remoteId);
  return {
    ok: true,
    id,
    method: AuthMethod.SHARED_KEY_MIC,
    data: authWithSecret(found, prfOf(keyring, ask.prf), ask.octets(id)),
    certificates: [],
  };
}

export function missingSecret(local: Identification | undefined, remote: Identification | undefined): AuthenticationFailure {
  const ends = [remote && formatIdentity(remote), local && `us (${formatIdentity(local)})`].filter((each) => each !== undefined);
  return new AuthenticationFailure(`there is no pre-shared key for ${ends.length > 0 ? ends.join(' and ') : 'this connection'}`, {
    code: 'PSK_MISSING',
    hint: `Add a secret of kind psk whose ids name ${remote === undefined ? 'the peer' : formatIdentity(remote)}.`,
  });
}

export function prfOf({ options }: Pick<Keyring, 'options'>, id: number) {
  const transform = options.prf?.(id) ?? prf(id);
  if (transform === undefined) throw new InternalError(`PRF ${id} was negotiated and is not known`);
  return transform;
}

/** A raw key where the connection names one, or where there is no certificate to go before it. */
function* withKey(keyring: Keyring, ask: AuthenticateAsk, at: number): SignatureSteps<Made> {
  const raw = rawKeyFor(keyring, ask);
  return raw === undefined ? yield* withCertificate(keyring, ask, at) : yield* withRawKey(raw, keyring, ask);
}

function rawKeyFor(keyring: Keyring, ask: AuthenticateAsk): OwnRawKey | undefined {
  const { credential } = ask.auth;
  if (credential !== undefined) return keyring.rawKeys.find(({ handle }) => handle === credential);
  return keyring.own.length > 0 ? undefined : keyring.rawKeys[0];
}

/** RFC 7670: without an identity that was set, we are our key. */
function* withRawKey({ key, spki }: OwnRawKey, keyring: Keyring, ask: AuthenticateAsk): SignatureSteps<Made> {
  const scheme = schemeFor(key, keyring, ask, []);
  if (scheme === undefined) throw noScheme(ask, { key });
  const id = ask.auth.id ?? ask.localId ?? keyIdentity(spki);
  return {
    ok: true,
    id,
    method: scheme.authMethod,
    data: (yield { kind: 'sign', key, scheme, octets: ask.octets(id) }) as Uint8Array,
    certificates: ask.sendRawKey ? [{ encoding: CertEncoding.RAW_PUBLIC_KEY, data: spki }] : [],
  };
}

function* withCertificate(keyring: Keyring, ask: AuthenticateAsk, at: number): SignatureSteps<Made> {
  const { own, scheme } = chooseOwn(keyring, ask, at);
  const id = identityFor(own.certificate, ask.auth.id ?? ask.localId);
  const data = (yield { kind: 'sign', key: own.key, scheme, octets: ask.octets(id) }) as Uint8Array;
  return {
    ok: true,
    id,
    method: scheme.authMethod,
    data,
    certificates: ask.sendCertificates
      ? chainOf(keyring, own.certificate).map((each) => (ask.looksUp && hashAndUrl(keyring, each)) || whole(each))
      : [],
  };
}

const whole = ({ der }: Certificate): Sent => ({ encoding: CertEncoding.X509_SIGNATURE, data: der });

/** RFC 7296 §3.6: the SHA-1 of the certificate and where it lies, if its authority is said to keep it. */
function hashAndUrl({ authorities }: Keyring, { issuer, der }: Certificate): Sent | undefined {
  const authority = authorities.find((each) => each.certificateUrls !== undefined && sameName(each.certificate.subject, issuer));
  if (authority === undefined) return undefined;
  const hash = sha1(der);
  return { encoding: CertEncoding.HASH_AND_URL_X509, data: concat(hash, utf8(`${authority.certificateUrls}${toHex(hash)}`)) };
}

interface Choice {
  readonly own: OwnCertificate & { readonly key: NonNullable<OwnCertificate['key']> };
  readonly scheme: SignatureScheme;
}

/** Certificates with keys that may speak for the wanted identity; a handle that was named by the operator overrules the identity. */
function ownCandidates(keyring: Keyring, { auth, localId }: AuthenticateAsk): Choice['own'][] {
  const withKey = keyring.own.filter((each): each is Choice['own'] => each.key !== undefined);
  const named = auth.credential === undefined ? withKey : withKey.filter(({ handle }) => handle === auth.credential);
  const id = auth.id ?? localId;
  if (id === undefined) return named;
  const fitting = named.filter(({ certificate }) => identityMatchesCertificate(id, certificate, { wildcards: true }));
  return fitting.length === 0 && auth.credential !== undefined ? named : fitting;
}

function chooseOwn(keyring: Keyring, ask: AuthenticateAsk, at: number): Choice {
  const candidates = ownCandidates(keyring, ask);
  if (candidates.length === 0) throw noCertificate(keyring, ask);
  const signing = candidates.flatMap((own) => {
    const scheme = schemeFor(own.key, keyring, ask, issuersOf(keyring, own.certificate));
    return scheme === undefined ? [] : [{ own, scheme }];
  });
  if (signing.length === 0) throw noScheme(ask, candidates[0]!);
  const valid = signing.filter(({ own: { certificate } }) => at >= certificate.notBefore && at <= certificate.notAfter);
  if (valid.length === 0) throw notValid(signing[0]!.own.certificate, at);
  // RFC 7296 §3.7: a CERTREQ is a wish, not a condition.
  const wanted = new Set(ask.certificateAuthorities.map((hash) => toHex(hash)));
  return valid.find(({ own }) => issuersOf(keyring, own.certificate).some((issuer) => wanted.has(keyHash(issuer)))) ?? valid[0]!;
}

/** As CERTREQ names an authority, in hex. */
function keyHash(authority: Certificate): string {
  const known = KEY_HASHES.get(authority);
  if (known !== undefined) return known;
  const hash = toHex(sha1(authority.spki));
  KEY_HASHES.set(authority, hash);
  return hash;
}

/** @param issuers of the certificate that goes with the key: a peer may take a scheme for some of its authorities alone (RFC 9593 §3.2.2) */
function schemeFor(key: KeyObject, keyring: Keyring, ask: AuthenticateAsk, issuers: readonly Certificate[]): SignatureScheme | undefined {
  const { peerMethods, certificateAuthorities } = ask;
  const isLinked = (link: number): boolean => {
    if (link === 0 || certificateAuthorities.length === 0) return true;
    const authority = certificateAuthorities[link - 1];
    return authority !== undefined && issuers.some((issuer) => keyHash(issuer) === toHex(authority));
  };
  const accepts = (scheme: SignatureScheme): boolean =>
    peerMethods === undefined ||
    peerMethods.some(({ method, certLink = 0, algorithm }) => meansScheme(method, algorithm, scheme) && isLinked(certLink));
  const scheme = chooseScheme({ key, peerHashes: ask.peerHashes, restrict: ask.auth.schemes, accepts });
  return scheme === undefined || isUnwantedSha1(scheme, keyring, ask) ? undefined : scheme;
}

/** RFC 8247 §3.2; a connection that names SHA-1 among its schemes has asked for it. */
function isUnwantedSha1(scheme: SignatureScheme, keyring: Keyring, ask: AuthenticateAsk): boolean {
  return scheme.hash === HashAlgorithm.SHA1 && keyring.options.allowSha1 !== true && ask.auth.schemes?.includes('sha1') !== true;
}

/** RFC 4945 §3.1.5: a distinguished name goes out in the very octets of the certificate. Without any identity it is the subject. */
function identityFor(certificate: Certificate, wanted: Identification | undefined): Identification {
  if (wanted !== undefined && wanted.idType !== IdType.ID_DER_ASN1_DN) return wanted;
  if (wanted !== undefined && !identityMatchesCertificate(wanted, certificate)) return wanted;
  const [first] = certificateIdentities(certificate);
  if (first === undefined) throw noIdentityInside(certificate);
  return first;
}

/** The end entity first (RFC 7296 §3.6), then the authorities above it that are loaded; the root is the peer's own affair. */
function chainOf(keyring: Keyring, certificate: Certificate): Certificate[] {
  return [certificate, ...issuersOf(keyring, certificate).filter((issuer) => !isSelfIssued(issuer))];
}

/** The certificates above one of our own, as far as they are loaded, the root included. */
function issuersOf(keyring: Keyring, certificate: Certificate): Certificate[] {
  const pool = [...keyring.intermediates, ...keyring.authorities.map((each) => each.certificate)];
  const issuers: Certificate[] = [];
  let below = certificate;
  while (!isSelfIssued(below) && issuers.length < LONGEST_CHAIN) {
    const above = pool.filter((each) => sameName(each.subject, below.issuer) && !issuers.includes(each));
    const next = above.find((each) => hasKeyIdentifier(each, below)) ?? above[0];
    if (next === undefined) break;
    issuers.push(next);
    below = next;
  }
  return issuers;
}

function hasKeyIdentifier({ subjectKeyIdentifier }: Certificate, { authorityKeyIdentifier }: Certificate): boolean {
  const wanted = authorityKeyIdentifier?.keyIdentifier;
  return wanted !== undefined && subjectKeyIdentifier !== undefined && toHex(wanted) === toHex(subjectKeyIdentifier);
}

function noCertificate(keyring: Keyring, ask: AuthenticateAsk): AuthenticationFailure {
  const id = ask.auth.id ?? ask.localId;
  const named = ask.auth.credential === undefined ? '' : ` named "${ask.auth.credential}"`;
  const forWhom = id === undefined ? '' : ` for ${formatIdentity(id)}`;
  const keyless = keyring.own.filter(({ key }) => key === undefined);
  const loaded = keyring.own.map(({ certificate }) => certificateTitle(certificate)).join(', ');
  return new AuthenticationFailure(`there is no certificate${named} with a private key${forWhom}`, {
    code: 'NO_CERTIFICATE',
    hint:
      keyless.length > 0
        ? `Load the private key of ${certificateTitle(keyless[0]!.certificate)}.`
        : loaded === ''
          ? 'Load a certificate and its private key.'
          : `Set the local id to a name that stands in a certificate; loaded: ${loaded}.`,
  });
}

function noScheme(ask: AuthenticateAsk, own: Pick<Choice['own'], 'key'>): AuthenticationFailure {
  const kind = keyInfo(own.key)?.kind ?? 'unknown';
  const peer =
    ask.peerMethods !== undefined
      ? `takes ${ask.peerMethods.map(describeAuthAnnouncement).join(', ')} alone (RFC 9593)`
      : ask.peerHashes === undefined
        ? 'announced no hash algorithms (RFC 7427)'
        : 'announced none of its hash algorithms';
  return new AuthenticationFailure(
    `our ${kind} key cannot sign for this peer: it ${peer}${ask.auth.schemes?.length ? `, and this connection allows ${ask.auth.schemes.join(', ')} only` : ''}`,
    {
      code: 'NO_SIGNATURE_SCHEME',
      section: 'RFC 7427 §4',
      hint:
        ask.peerHashes === undefined && kind === 'rsa'
          ? 'What is left is SHA-1: use an ECDSA P-256 key, or allow legacy algorithms.'
          : 'Use an ECDSA P-256 key, or allow more schemes.',
    },
  );
}

function notValid(certificate: Certificate, at: number): AuthenticationFailure {
  const expired = at > certificate.notAfter;
  return certificateFailure(
    expired ? 'CERTIFICATE_EXPIRED' : 'NOT_YET_VALID',
    `our own certificate ${certificateTitle(certificate)} ${expired ? `expired on ${formatTime(certificate.notAfter)}` : `is not valid before ${formatTime(certificate.notBefore)}`}`,
    `${expired ? 'Renew it' : 'Wait'}; if the clock here, which says ${formatTime(at)}, is wrong, set the clock.`,
  );
}

function noIdentityInside(certificate: Certificate): AuthenticationFailure {
  return certificateFailure(
    'IDENTITY_MISMATCH',
    `our own certificate ${certificateTitle(certificate)} names nobody`,
    'Use one with a subject or a subjectAltName.',
  );
}

const KEY_HASHES = new WeakMap<Certificate, string>();

/** Ours: no peer takes longer chains (RFC 4945 §3.3.11.2 asks for as few as will do). */
const LONGEST_CHAIN = 8;
