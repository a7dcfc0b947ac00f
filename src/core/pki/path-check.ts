import type { CertificateFailure } from '../bytes/errors.ts';
import { importPublicKey, type KeyObject, verifySignature } from '../crypto/index.ts';
import { type AlgorithmPolicy, keyWeakness, signatureProblem } from './algorithm-policy.ts';
import { type Certificate, certificateTitle, isSelfIssued } from './certificate.ts';
import { isUnderstood, KeyUsage } from './extensions.ts';
import { certificateFailure } from './failure.ts';
import type { KeyPurpose } from './key-purpose.ts';
import { sameName } from './name.ts';
import { NameConstraintSet } from './name-constraints.ts';
import { keyPurposeName, Oid } from './oid.ts';
import { PolicyGraph, type PolicyInputs } from './policy-graph.ts';
import { type ProfilePosition, profileFault } from './profile.ts';
import type { RevocationSource } from './revocation.ts';
import { DAY, daysBetween, formatTime } from './time.ts';

/** What one path is checked against; filled in from `PathOptions`. */
export interface PathRules {
  readonly at: number;
  readonly purpose: KeyPurpose;
  readonly algorithms: AlgorithmPolicy;
  readonly strict: boolean;
  readonly anchorIsCertificate: boolean;
  readonly authorityMayBePeer: boolean;
  readonly policies: PolicyInputs;
  readonly maxIntermediates: number;
  readonly maxNameComparisons: number;
  readonly revocation: RevocationSource | undefined;
  /** Counted down by every signature that is verified. */
  readonly budget: { signatures: number };
}

export type PathVerdict =
  | { readonly ok: true; readonly policies: ReadonlySet<string> }
  /** `reached`: certificates that were found good before, counted from the anchor. */
  | { readonly ok: false; readonly error: CertificateFailure; readonly certificate: Certificate; readonly reached: number };

/** Checks one path (RFC 5280 §6.1) from the trust anchor, which comes first, down to the end entity. */
export function checkPath(path: readonly Certificate[], rules: PathRules): PathVerdict {
  const check = new PathCheck(path.length - 1, rules);
  for (const [depth, certificate] of path.entries()) {
    const issuer = path[depth - 1];
    const final = depth === path.length - 1;
    const error = issuer === undefined ? check.anchor(certificate) : check.certificate(certificate, issuer, final);
    if (error !== undefined) return { ok: false, error, certificate, reached: depth };
  }
  const leaf = path[path.length - 1]!;
  const policies = check.finish(leaf);
  if (policies instanceof Error) return { ok: false, error: policies, certificate: leaf, reached: path.length };
  return { ok: true, policies };
}

/** Checks an end entity that is trusted itself, whoever issued it. */
export function checkTrustedPeer(certificate: Certificate, rules: PathRules): PathVerdict {
  const check = new PathCheck(0, rules);
  const error = check.trusted(certificate);
  return error === undefined ? { ok: true, policies: new Set() } : { ok: false, error, certificate, reached: 0 };
}

class PathCheck {
  readonly #rules: PathRules;
  readonly #names: NameConstraintSet;
  readonly #policies: PolicyGraph;
  /** RFC 5280 §6.1.2 (k), without its initial value: that is `maxIntermediates`. */
  #pathLength = Number.POSITIVE_INFINITY;
  #intermediates = 0;
  #purposes: readonly string[] | undefined;

  constructor(length: number, rules: PathRules) {
    this.#rules = rules;
    this.#names = new NameConstraintSet(!rules.strict, rules.maxNameComparisons);
    this.#policies = new PolicyGraph(length, rules.policies);
  }

  /** The trust anchor: name and key alone (RFC 5280 §6.1.1 (d)), or with all that its certificate says (RFC 5937). */
  anchor(certificate: Certificate): CertificateFailure | undefined {
    const { algorithms, anchorIsCertificate } = this.#rules;
    const weak = keyWeakness(certificate.publicKey, algorithms);
    if (weak !== undefined) return weakKey(certificate, weak);
    if (!anchorIsCertificate) return undefined;
    const failure =
      this.#validity(certificate) ??
      this.#profile(certificate, 'anchor') ??
      this.#criticalExtensions(certificate) ??
      this.#authority(certificate) ??
      this.#purpose(certificate, false);
    if (failure !== undefined) return failure;
    return this.#policies.anchor(certificate) ? this.#descend(certificate) : noPolicy(certificate);
  }

  /** RFC 5280 §6.1.3, then §6.1.4 for an intermediate or what an end entity must be. */
  certificate(certificate: Certificate, issuer: Certificate, final: boolean): CertificateFailure | undefined {
    const selfIssued = isSelfIssued(certificate);
    const weak = keyWeakness(certificate.publicKey, this.#rules.algorithms);
    const failure =
      this.#signature(certificate, issuer) ??
      (weak === undefined ? undefined : weakKey(certificate, weak)) ??
      this.#validity(certificate) ??
      this.#profile(certificate, final ? 'end entity' : 'intermediate') ??
      this.#criticalExtensions(certificate) ??
      (selfIssued && !final ? undefined : this.#constrainedNames(certificate));
    if (failure !== undefined) return failure;
    if (!this.#policies.process(certificate, final, selfIssued)) return noPolicy(certificate);
    const own = final ? this.#endEntity(certificate) : this.#intermediate(certificate, selfIssued);
    return own ?? this.#rules.revocation?.check(certificate, issuer, this.#rules.at);
  }

  trusted(certificate: Certificate): CertificateFailure | undefined {
    const weak = keyWeakness(certificate.publicKey, this.#rules.algorithms);
    if (weak !== undefined) return weakKey(certificate, weak);
    return (
      this.#validity(certificate) ??
      this.#criticalExtensions(certificate) ??
      this.#keyUsage(certificate) ??
      this.#purpose(certificate, true)
    );
  }

  finish(leaf: Certificate): ReadonlySet<string> | CertificateFailure {
    return this.#policies.finish(leaf) ?? noPolicy(leaf);
  }

  #signature(certificate: Certificate, issuer: Certificate): CertificateFailure | undefined {
    const weak = signatureProblem(certificate.signatureAlgorithm, this.#rules.algorithms);
    const title = certificateTitle(certificate);
    if (weak !== undefined) {
      const hint = 'Have the certificate issued again, signed with SHA-256 or better.';
      return certificateFailure('WEAK_ALGORITHM', `the signature on the certificate ${title} does not count: ${weak}`, hint);
    }
    if (!sameName(certificate.issuer, issuer.subject)) {
      return certificateFailure(
        'UNKNOWN_CA',
        `the certificate ${title} was not issued by ${certificateTitle(issuer)}`,
        'Load the authority that issued it.',
      );
    }
    const reason = verifyEdge(certificate, issuer, this.#rules.budget);
    if (reason === undefined) return undefined;
    if (this.#rules.budget.signatures < 0) return tooComplex('more signatures to verify');
    return certificateFailure(
      'BAD_SIGNATURE',
      `the certificate ${title} was not signed with the key of ${certificateTitle(issuer)}: ${reason}`,
      'It was altered, or another authority of the same name issued it: compare the authority that is loaded here with the one that issued it.',
      'RFC 5280 §6.1.3',
    );
  }

  #validity(certificate: Certificate): CertificateFailure | undefined {
    const { at } = this.#rules;
    const title = certificateTitle(certificate);
    // RFC 5280 §4.1.2.5: both ends included, in whole seconds.
    const second = Math.floor(at / 1000) * 1000;
    if (second > certificate.notAfter) {
      const ago = daysBetween(certificate.notAfter, at);
      return certificateFailure(
        'CERTIFICATE_EXPIRED',
        `the certificate ${title} expired on ${formatTime(certificate.notAfter)}, ${ago === 0 ? 'less than a day' : `${ago} d`} ago`,
        `Renew it; if the clock here, which says ${formatTime(at)}, is wrong, set the clock.`,
        'RFC 5280 §4.1.2.5',
      );
    }
    if (second < certificate.notBefore) {
      return certificateFailure(
        'NOT_YET_VALID',
        `the certificate ${title} is not valid before ${formatTime(certificate.notBefore)}`,
        `Set the clock here, which says ${formatTime(at)}${certificate.notBefore - at < DAY ? ', or wait' : ''}.`,
        'RFC 5280 §4.1.2.5',
      );
    }
    return undefined;
  }

  #profile(certificate: Certificate, position: ProfilePosition): CertificateFailure | undefined {
    const fault = profileFault(certificate, position, this.#rules.strict);
    if (fault === undefined) return undefined;
    const hint = 'Have it issued again by a tool that keeps to RFC 5280.';
    return certificateFailure(
      'CERTIFICATE_PROFILE',
      `the certificate ${certificateTitle(certificate)} is not as it must be: ${fault.what}`,
      hint,
      fault.section,
    );
  }

  /** RFC 5280 §4.2: a critical extension that is not understood means refusal. */
  #criticalExtensions(certificate: Certificate): CertificateFailure | undefined {
    for (const { oid, critical } of certificate.extensions.values()) {
      if (!critical || (isUnderstood(oid, certificate.extensions) && !hasUnknownQualifier(certificate, oid))) continue;
      return certificateFailure(
        'CRITICAL_EXTENSION',
        `the certificate ${certificateTitle(certificate)} has a critical extension ${oid} that is not understood here`,
        'Have it issued without this extension, or not critical.',
        'RFC 5280 §4.2',
      );
    }
    return undefined;
  }

  #constrainedNames(certificate: Certificate): CertificateFailure | undefined {
    if (!this.#names.affords(certificate)) return tooComplex('more names to compare with constraints');
    const problem = this.#names.check(certificate);
    if (problem === undefined) return undefined;
    return certificateFailure(
      'NAME_CONSTRAINTS',
      `the certificate ${certificateTitle(certificate)} breaks the name constraints of an authority above it: ${problem}`,
      'Have it issued with names that its authority may certify.',
      'RFC 5280 §4.2.1.10',
    );
  }

  /** RFC 5280 §6.1.4 (k), (n); RFC 4945 §5.1.3.9: no authority without basicConstraints. */
  #authority(certificate: Certificate): CertificateFailure | undefined {
    const title = certificateTitle(certificate);
    const hint = 'Have the authority’s certificate issued as one of an authority: basicConstraints cA, keyUsage keyCertSign.';
    if (certificate.basicConstraints?.ca !== true) {
      return certificateFailure(
        'NOT_A_CA',
        `the certificate ${title} is not one of an authority (no basicConstraints with cA), yet it issued another`,
        hint,
        'RFC 5280 §4.2.1.9',
      );
    }
    if (certificate.keyUsage !== undefined && (certificate.keyUsage & KeyUsage.keyCertSign) === 0) {
      return certificateFailure(
        'KEY_USAGE',
        `the certificate ${title} may not sign certificates (keyUsage without keyCertSign), yet it issued another`,
        hint,
        'RFC 5280 §4.2.1.3',
      );
    }
    return undefined;
  }

  #intermediate(certificate: Certificate, selfIssued: boolean): CertificateFailure | undefined {
    const failure = this.#authority(certificate) ?? this.#purpose(certificate, false);
    if (failure !== undefined) return failure;
    if (!selfIssued) {
      // RFC 5280 §6.1.4 (l)
      if (this.#pathLength <= 0 || ++this.#intermediates > this.#rules.maxIntermediates) return tooLong(certificate, this.#pathLength <= 0);
      this.#pathLength--;
    }
    return this.#policies.prepare(certificate, selfIssued) ? this.#descend(certificate) : noPolicy(certificate);
  }

  /** What an authority's certificate imposes on those below it: RFC 5280 §6.1.4 (g), (m). */
  #descend({ basicConstraints, nameConstraints }: Certificate): undefined {
    this.#pathLength = Math.min(this.#pathLength, basicConstraints?.pathLength ?? this.#pathLength);
    if (nameConstraints !== undefined) this.#names.add(nameConstraints);
  }

  #endEntity(certificate: Certificate): CertificateFailure | undefined {
    const title = certificateTitle(certificate);
    if (certificate.basicConstraints?.ca === true && !this.#rules.authorityMayBePeer) {
      const hint = 'Issue a certificate of its own for the peer.';
      return certificateFailure('CERTIFICATE_PROFILE', `the certificate ${title} is one of an authority, not of a peer`, hint);
    }
    return this.#keyUsage(certificate) ?? this.#purpose(certificate, true);
  }

  #keyUsage(certificate: Certificate): CertificateFailure | undefined {
    const { purpose } = this.#rules;
    if (certificate.keyUsage === undefined || purpose.keyUsage === 0 || (certificate.keyUsage & purpose.keyUsage) !== 0) return undefined;
    return certificateFailure(
      'KEY_USAGE',
      `the certificate ${certificateTitle(certificate)} is not for ${purpose.name}: its keyUsage has none of ${usageNames(purpose.keyUsage)}`,
      'Have it issued with keyUsage digitalSignature, or without keyUsage.',
      'RFC 4945 §5.1.3.2',
    );
  }

  /** A key purpose must be among those of every certificate that names any, down to the end entity. */
  #purpose(certificate: Certificate, final: boolean): CertificateFailure | undefined {
    const { purpose } = this.#rules;
    const own = certificate.extendedKeyUsage;
    if (purpose.extendedKeyUsages.length === 0) return undefined;
    const unlimited = own === undefined ? !(final && purpose.mustBePresent) : purpose.acceptsAny && own.includes(Oid.anyExtendedKeyUsage);
    if (unlimited) return undefined;
    this.#purposes = (this.#purposes ?? purpose.extendedKeyUsages).filter((usage) => own?.includes(usage));
    if (this.#purposes.length > 0) return undefined;
    const says = own === undefined ? 'has no extended key usage' : `is for ${own.map(keyPurposeName).join(', ')} only`;
    return certificateFailure(
      'EXTENDED_KEY_USAGE',
      `the certificate ${certificateTitle(certificate)} is not for ${purpose.name}: it ${says}`,
      `Have it issued with extended key usage ${purpose.extendedKeyUsages.slice(0, 2).map(keyPurposeName).join(' or ')}, or without any.`,
      'RFC 4945 §5.1.3.12',
    );
  }
}

/** Why a signature does not hold; undefined where it does. Good ones are remembered with the certificates, so that a chain costs once. */
function verifyEdge(certificate: Certificate, issuer: Certificate, budget: { signatures: number }): string | undefined {
  if (verified.get(certificate)?.has(issuer)) return undefined;
  if (--budget.signatures < 0) return 'there was no time to verify it';
  const publicKey = certificateKey(issuer);
  if (publicKey === undefined) return 'its key cannot be read';
  const verdict = verifySignature({
    algorithm: certificate.signatureAlgorithm,
    publicKey,
    data: certificate.tbs,
    signature: certificate.signature,
  });
  if (!verdict.ok) return verdict.reason;
  const issuers = verified.get(certificate) ?? new WeakSet();
  verified.set(certificate, issuers.add(issuer));
  return undefined;
}

/** The public key of a certificate, imported once; undefined where node cannot read it. */
export function certificateKey(certificate: Certificate): KeyObject | undefined {
  const known = keys.get(certificate);
  if (known !== undefined) return known;
  try {
    const key = importPublicKey(certificate.spki);
    keys.set(certificate, key);
    return key;
  } catch {
    return undefined;
  }
}

const verified = new WeakMap<Certificate, WeakSet<Certificate>>();
const keys = new WeakMap<Certificate, KeyObject>();

/** RFC 5280 §4.2.1.4: in a critical extension the qualifiers must be understood as well. */
function hasUnknownQualifier({ policies }: Certificate, oid: string): boolean {
  if (oid !== Oid.certificatePolicies) return false;
  return (policies ?? []).some(({ qualifiers }) =>
    qualifiers.some((each) => each !== Oid.cpsQualifier && each !== Oid.userNoticeQualifier),
  );
}

const usageNames = (bits: number): string =>
  Object.entries(KeyUsage)
    .filter(([, bit]) => (bits & bit) !== 0)
    .map(([name]) => name)
    .join(', ');

const weakKey = (certificate: Certificate, weak: string): CertificateFailure =>
  certificateFailure(
    'WEAK_KEY',
    `the certificate ${certificateTitle(certificate)} has ${weak}`,
    'Have it issued again for a key of ECDSA P-256, Ed25519 or RSA 3072.',
  );

const noPolicy = (certificate: Certificate): CertificateFailure =>
  certificateFailure(
    'POLICY',
    `no certificate policy that is demanded holds for the certificate ${certificateTitle(certificate)}`,
    'Have it issued under a policy that its authorities and this connection accept.',
    'RFC 5280 §6.1',
  );

const tooLong = (certificate: Certificate, constrained: boolean): CertificateFailure =>
  certificateFailure(
    'PATH_TOO_LONG',
    `the certificate ${certificateTitle(certificate)} is one authority too many: ${constrained ? 'an authority above it forbids it by pathLenConstraint' : 'the path is longer than is allowed here'}`,
    'Have the certificate issued by an authority further up.',
    'RFC 5280 §4.2.1.9',
  );

export const tooComplex = (what: string): CertificateFailure =>
  certificateFailure(
    'PATH_TOO_COMPLEX',
    `the certificates ask for ${what} than is worth it`,
    'Send only the certificates that lead from the peer to its authority.',
  );
