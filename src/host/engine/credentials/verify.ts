import { AuthenticationFailure, type CertificateFailure, printable, TunnelwrightError } from '../../../core/bytes/index.ts';
import type { AuthVerdict, KeyObject } from '../../../core/crypto/index.ts';
import type { Ask, AskAnswers } from '../../../core/ike/effects.ts';
import type { RemoteAuth } from '../../../core/ike/policy.ts';
import {
  attributeTexts,
  type Certificate,
  certificateFailure,
  certificateIdentities,
  certificateKey,
  certificateTitle,
  findPath,
  formatIdentity,
  formatIdentityPattern,
  formatName,
  identityMatchesCertificate,
  identityMismatch,
  keyFingerprint,
  matchStrength,
  Oid,
  sameCertificate,
} from '../../../core/pki/index.ts';
import { AuthMethod, CertEncoding, nameOf } from '../../../core/wire/iana.ts';
import type { Identification } from '../../../core/wire/payloads/types.ts';
import type { SignatureSteps } from '../workers/work.ts';
import type { Keyring, TrustedCertificate } from './keyring.ts';
import { daysLeft } from './list.ts';
import { isPinned, trustsPaths, verifyPinned } from './raw.ts';
import { formatOwners, verifyShared } from './secrets.ts';
import { missingSecret, prfOf } from './sign.ts';

type VerifyAsk = Extract<Ask, { kind: 'verify' }>;
type Candidate = VerifyAsk['candidates'][number];
type Verified = Extract<AskAnswers['verify'], { ok: true }>;

/**
 * Whether a peer is who it says (RFC 7296 §2.15), and for which of the connections that may be meant: the one whose remote identity
 * fits most closely goes first (RFC 4945 §3.1.10), among equals the order of the Ask. Throws `AuthenticationFailure`.
 */
export function* verify(keyring: Keyring, ask: VerifyAsk, at: number): SignatureSteps<Verified> {
  const able = ask.candidates.filter(({ remote }) => methodFits(remote.auth, ask.method));
  if (able.length === 0) throw wrongMethod(ask);
  return ask.method === AuthMethod.SHARED_KEY_MIC ? bySecret(keyring, ask, able) : yield* bySignature(keyring, ask, able, at);
}

function methodFits(auth: Candidate['remote']['auth'], method: number): boolean {
  if (auth !== 'any' && auth !== (method === AuthMethod.SHARED_KEY_MIC ? 'psk' : 'pubkey')) return false;
  return method === AuthMethod.SHARED_KEY_MIC || SIGNATURES.has(method);
}

/** By a pinned key first, then by a path of certificates; a peer that sent its key raw hears about the key. */
function* bySignature(keyring: Keyring, ask: VerifyAsk, able: readonly Candidate[], at: number): SignatureSteps<Verified> {
  const pinned = able.filter(isPinned);
  const outcome = pinned.length === 0 ? undefined : yield* verifyPinned(keyring, ask, pinned);
  if (outcome !== undefined && !(outcome instanceof AuthenticationFailure)) return outcome;
  const paths = able.filter(trustsPaths);
  const raw = ask.certificates[0]?.encoding === CertEncoding.RAW_PUBLIC_KEY;
  if (outcome !== undefined && (raw || paths.length === 0)) throw outcome;
  return yield* new SignatureCheck(keyring, ask, at).run(paths);
}

function bySecret(keyring: Keyring, ask: VerifyAsk, able: readonly Candidate[]): Verified {
  const [candidate] = ranked(able, ({ remote }) => matchStrength(remote.id, ask.id));
  if (candidate === undefined) throw notAllowed(ask, able);
  const found = keyring.secrets.find(ask.localId, ask.id);
  if (found === undefined) throw missingSecret(ask.localId, ask.id);
  if (verifyShared(found, prfOf(keyring, ask.prf), ask.octets, ask.data))
    return { ok: true, connection: candidate.connection, description: 'psk' };
  throw new AuthenticationFailure(
    `the pre-shared key of ${formatIdentity(ask.id)} is not the one that is loaded here for ${formatOwners(found.owners)}`,
    {
      code: 'PSK_MISMATCH',
      section: 'RFC 7296 §2.15',
      hint: 'Compare the secret at both ends, blanks and quotes included, and that both ends mean the same identities.',
    },
  );
}

class SignatureCheck {
  readonly #keyring: Keyring;
  readonly #ask: VerifyAsk;
  readonly #at: number;
  readonly #sent: readonly Uint8Array[];
  /** What was found out once, by what was trusted and by the schemes allowed: candidates often differ in neither. */
  readonly #paths = new Map<string, readonly Certificate[] | CertificateFailure>();
  readonly #signatures = new Map<string, string | undefined>();

  constructor(keyring: Keyring, ask: VerifyAsk, at: number) {
    this.#keyring = keyring;
    this.#ask = ask;
    this.#at = at;
    this.#sent = ask.certificates.filter(({ encoding }) => encoding === CertEncoding.X509_SIGNATURE).map(({ data }) => data);
  }

  *run(able: readonly Candidate[]): SignatureSteps<Verified> {
    const { id } = this.#ask;
    let failure: TunnelwrightError | undefined;
    for (const leaf of this.#endEntities()) {
      const identities = certificateIdentities(leaf);
      // RFC 4945 §3.1.10: where no policy is found by ID, those for the other identities in the certificate may do.
      const candidates = ranked(
        able,
        ({ remote }) => matchStrength(remote.id, id) || Math.max(0, ...identities.map((other) => matchStrength(remote.id, other))) / 10,
      );
      if (candidates.length === 0) failure ??= notAllowed(this.#ask, able);
      for (const candidate of candidates) {
        const outcome = yield* this.#try(leaf, candidate);
        if (!(outcome instanceof TunnelwrightError)) return outcome;
        failure ??= outcome;
      }
    }
    throw failure ?? this.#noCertificate();
  }

  /** RFC 7296 §3.6: the first certificate holds the key that signs. If none was sent, one that is loaded for this identity may serve. */
  #endEntities(): readonly Certificate[] {
    const [first] = this.#sent;
    if (first !== undefined) return [this.#parse(first)];
    const loaded = this.#keyring.peers
      .map(({ certificate }) => certificate)
      .filter((each) => identityMatchesCertificate(this.#ask.id, each));
    return loaded.slice(0, MOST_LOADED);
  }

  #parse(der: Uint8Array): Certificate {
    try {
      return this.#keyring.cache.certificate(der);
    } catch (cause) {
      if (!(cause instanceof TunnelwrightError)) throw cause;
      const message = `the certificate that ${formatIdentity(this.#ask.id)} sent cannot be read: ${cause.message}`;
      throw certificateFailure('CERTIFICATE_UNREADABLE', message, 'Have it issued again: it is not X.509 in DER.', undefined, cause);
    }
  }

  *#try(leaf: Certificate, { connection, remote }: Candidate): SignatureSteps<Verified | TunnelwrightError> {
    const { id } = this.#ask;
    const path = this.#path(leaf, connection, remote.authorities ?? []);
    if (path instanceof TunnelwrightError) return path;
    const own = identityMatchesCertificate(id, leaf) ? id : identityInside(leaf, remote);
    if (own === undefined) return identityMismatch(id, leaf);
    const reason = yield* this.#signature(leaf, remote.schemes ?? []);
    if (reason === undefined) {
      const verified = { ok: true, connection, description: describe(path, this.#at) } as const;
      return own === id ? verified : { ...verified, id: own, description: `${verified.description}, calls itself ${formatIdentity(id)}` };
    }
    return new AuthenticationFailure(
      `the signature of ${formatIdentity(id)} does not prove the certificate ${certificateTitle(leaf)}: ${reason}`,
      {
        code: 'AUTH_SIGNATURE',
        section: 'RFC 7296 §2.15',
        hint: 'See that the peer signs with the private key of the certificate it sends, in a scheme that is allowed here.',
      },
    );
  }

  #path(leaf: Certificate, connection: string, authorities: readonly string[]): readonly Certificate[] | CertificateFailure {
    const trust = [...authorities].sort().join('\n');
    const cached = this.#paths.get(trust) ?? this.#knownPath(leaf, trust);
    const path = cached ?? this.#findPath(leaf, connection, authorities, trust);
    this.#paths.set(trust, path);
    return path;
  }

  #knownPath(leaf: Certificate, trust: string): readonly Certificate[] | CertificateFailure | undefined {
    const path = this.#keyring.cache.path(leaf, trust, this.#at);
    const { revocation } = this.#keyring.options;
    if (path === undefined || revocation === undefined) return path;
    for (const [i, certificate] of path.slice(0, -1).entries()) {
      const revoked = revocation.check(certificate, path[i + 1]!, this.#at);
      if (revoked !== undefined) return revoked;
    }
    return path;
  }

  #findPath(
    leaf: Certificate,
    connection: string,
    authorities: readonly string[],
    trust: string,
  ): readonly Certificate[] | CertificateFailure {
    const { options, intermediates, cache, ...keyring } = this.#keyring;
    const accepted = ({ handle }: TrustedCertificate) => authorities.length === 0 || authorities.includes(handle);
    const anchors = keyring.authorities.filter(accepted).map(({ certificate }) => certificate);
    const result = findPath(leaf, {
      anchors,
      trustedPeers: keyring.peers.filter(accepted).map(({ certificate }) => certificate),
      intermediates: [...this.#sentAuthorities(), ...intermediates, ...keyring.authorities.map(({ certificate }) => certificate)],
      at: this.#at,
      algorithms: options.algorithms,
      strict: options.strict,
      revocation: options.revocation,
    });
    if (result.ok) {
      cache.keep(trust, result);
      return result.path;
    }
    const known =
      result.error.code === 'UNKNOWN_CA'
        ? keyring.authorities.find(({ certificate }) => issued(certificate, result.certificate))
        : undefined;
    return known === undefined || anchors.includes(known.certificate) ? result.error : notAccepted(leaf, known, connection, authorities);
  }

  /** What the peer sent behind its own certificate; RFC 4945 §3.3.10.2: what cannot be read is left out. */
  #sentAuthorities(): Certificate[] {
    return this.#sent.slice(1, 1 + MOST_SENT).flatMap((der) => {
      try {
        return [this.#keyring.cache.certificate(der)];
      } catch (error) {
        if (error instanceof TunnelwrightError) return [];
        throw error;
      }
    });
  }

  /** Why AUTH does not hold; undefined where it does. */
  *#signature(leaf: Certificate, schemes: readonly string[]): SignatureSteps<string | undefined> {
    const restrict = schemes.join();
    if (this.#signatures.has(restrict)) return this.#signatures.get(restrict);
    const publicKey: KeyObject | undefined = certificateKey(leaf);
    const { method, data, octets } = this.#ask;
    const allowSha1 = this.#keyring.options.allowSha1 === true || schemes.includes('sha1');
    const check = publicKey && ({ kind: 'verify', method, data, publicKey, octets, restrict: schemes, allowSha1 } as const);
    const verdict = check && ((yield check) as AuthVerdict);
    const reason = verdict === undefined ? 'its key cannot be read' : verdict.ok ? undefined : verdict.reason;
    this.#signatures.set(restrict, reason);
    return reason;
  }

  #noCertificate(): CertificateFailure {
    const encodings = this.#ask.certificates.map(({ encoding }) => nameOf(CertEncoding, encoding));
    const who = formatIdentity(this.#ask.id);
    const raw = this.#ask.certificates.find(({ encoding }) => encoding === CertEncoding.RAW_PUBLIC_KEY);
    if (raw !== undefined)
      return certificateFailure(
        'CERTIFICATE_MISSING',
        `${who} sent a raw public key, ${keyFingerprint(raw.data)}, where a certificate is expected`,
        'Compare the fingerprint with that which the peer shows of its own key; if they are the same, add it to pubkeys of the remote section.',
        'RFC 7670 §4',
      );
    return encodings.length > 0
      ? certificateFailure(
          'CERTIFICATE_MISSING',
          `${who} sent its certificate in a form that is not taken here (${encodings.join(', ')})`,
          'Have the peer send plain X.509 certificates.',
        )
      : certificateFailure(
          'CERTIFICATE_MISSING',
          `${who} signs, but sent no certificate, and none is loaded for it`,
          'Have the peer send its certificate (send_cert: always), or load it here as the certificate of a peer.',
          'RFC 7296 §3.6',
        );
  }
}

/** Of the identities in a certificate the one that the policy means, where that takes them in place of what the peer calls itself. */
function identityInside(leaf: Certificate, { id, idFromCertificate }: RemoteAuth): Identification | undefined {
  const identities = idFromCertificate === true ? certificateIdentities(leaf) : [];
  const strength = (one: Identification) => matchStrength(id, one);
  return identities.filter((one) => strength(one) > 0).sort((a, b) => strength(b) - strength(a))[0];
}

/** `C=CH, O=lab, CN=gw (CA "lab CA", 301 d left)`. */
function describe(path: readonly Certificate[], at: number): string {
  const leaf = path[0]!;
  const subject = formatName(leaf.subject) || certificateTitle(leaf);
  const left = `${daysLeft(leaf, at)} d left`;
  const anchor = path.length > 1 ? path[path.length - 1]! : undefined;
  return anchor === undefined ? `${subject} (trusted itself, ${left})` : `${subject} (CA "${shortName(anchor)}", ${left})`;
}

const shortName = ({ subject }: Certificate): string => printable(attributeTexts(subject, Oid.commonName).at(-1) ?? formatName(subject));

function issued(authority: Certificate, certificate: Certificate): boolean {
  return sameCertificate(authority, certificate) || formatName(authority.subject) === formatName(certificate.issuer);
}

/** Candidates that score at all, the highest first; equals stay in order. */
function ranked(candidates: readonly Candidate[], score: (candidate: Candidate) => number): Candidate[] {
  return candidates
    .map((candidate) => ({ candidate, score: score(candidate) }))
    .filter((each) => each.score > 0)
    .sort((a, b) => b.score - a.score)
    .map((each) => each.candidate);
}

function wrongMethod({ id, method, candidates }: VerifyAsk): AuthenticationFailure {
  const wanted = [...new Set(candidates.map(({ remote }) => remote.auth))].join(' or ');
  const names = candidates
    .map(({ connection }) => connection)
    .slice(0, MOST_NAMES)
    .join(', ');
  return new AuthenticationFailure(
    `${formatIdentity(id)} authenticates by ${nameOf(AuthMethod, method)}, while ${names || 'no connection'} wants ${wanted || 'nobody'}`,
    {
      code: 'AUTH_METHOD',
      hint: 'Set auth of the remote section to what the peer does, or the other way round.',
    },
  );
}

function notAllowed({ id }: VerifyAsk, candidates: readonly Candidate[]): AuthenticationFailure {
  const wanted = candidates.slice(0, MOST_NAMES).map(({ connection, remote }) => `${connection}: ${formatIdentityPattern(remote.id)}`);
  return new AuthenticationFailure(`the peer calls itself ${formatIdentity(id)}, which no connection accepts (${wanted.join('; ')})`, {
    code: 'IDENTITY_NOT_ALLOWED',
    section: 'RFC 4945 §3.1.10',
    hint: `Set id of the remote section to ${formatIdentity(id)} if that is the right peer.`,
  });
}

function notAccepted(
  certificate: Certificate,
  known: TrustedCertificate,
  connection: string,
  authorities: readonly string[],
): CertificateFailure {
  return certificateFailure(
    'UNKNOWN_CA',
    `the certificate ${certificateTitle(certificate)} leads to ${certificateTitle(known.certificate)}, an authority that is loaded, but none of those of connection ${connection} (${authorities.join(', ')})`,
    `Add "${known.handle}" to the cacerts of the remote section if this authority may vouch for the peer.`,
  );
}

const SIGNATURES: ReadonlySet<number> = new Set([
  AuthMethod.RSA_DIGITAL_SIGNATURE,
  AuthMethod.ECDSA_SHA256_P256,
  AuthMethod.ECDSA_SHA384_P384,
  AuthMethod.ECDSA_SHA512_P521,
  AuthMethod.DIGITAL_SIGNATURE,
]);

/** Ours: certificates that are read of what a peer sends, that are tried for a peer which sends none, and names in a sentence. */
const MOST_SENT = 15;
const MOST_LOADED = 4;
const MOST_NAMES = 4;
