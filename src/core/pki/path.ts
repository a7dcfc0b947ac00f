import { equalBytes } from '../bytes/bytes.ts';
import type { CertificateFailure } from '../bytes/errors.ts';
import { type AlgorithmPolicy, DEFAULT_ALGORITHMS } from './algorithm-policy.ts';
import { type Certificate, certificateTitle, isSelfIssued, issuerKey, sameCertificate, subjectKey } from './certificate.ts';
import { certificateFailure } from './failure.ts';
import { IKE_PURPOSE, type KeyPurpose } from './key-purpose.ts';
import { append } from './multimap.ts';
import { formatName } from './name.ts';
import { checkPath, checkTrustedPeer, type PathRules, type PathVerdict, tooComplex } from './path-check.ts';
import type { PolicyInputs } from './policy-graph.ts';
import type { RevocationSource } from './revocation.ts';

export interface PathOptions {
  /** Authorities whose word counts. */
  readonly anchors: readonly Certificate[];
  /** Milliseconds since 1970-01-01T00:00Z. */
  readonly at: number;
  /** Whatever else may help to build a path: what the peer sent, what is loaded. Not trusted. */
  readonly intermediates?: readonly Certificate[] | undefined;
  /** End entities that are trusted themselves, whoever issued them. */
  readonly trustedPeers?: readonly Certificate[] | undefined;
  /** `IKE_PURPOSE` unless said otherwise. */
  readonly purpose?: KeyPurpose | undefined;
  readonly algorithms?: AlgorithmPolicy | undefined;
  /** Demand the whole profile of RFC 5280 §4, also where breaking it does no harm: key identifiers, critical flags, serial numbers. */
  readonly strict?: boolean | undefined;
  /**
   * `certificate`, the default: an anchor must itself be valid, an authority, and its constraints hold (RFC 5937).
   * `name and key`: nothing but these two counts (RFC 5280 §6.1.1 (d)).
   */
  readonly anchorAs?: 'certificate' | 'name and key' | undefined;
  /** Whether an authority's certificate may stand at the end of a path; yes unless said otherwise, RFC 5280 has nothing against it. */
  readonly authorityMayBePeer?: boolean | undefined;
  readonly policies?: PolicyInputs | undefined;
  readonly revocation?: RevocationSource | undefined;
  readonly limits?: Partial<PathLimits> | undefined;
}

/** What one search may cost, whatever a peer sends. */
export interface PathLimits {
  /** Authorities between the anchor and the end entity, those that issued themselves not counted. */
  readonly intermediates: number;
  /** Certificates in a path, anchor and end entity included. */
  readonly certificates: number;
  /** Paths that are tried. */
  readonly paths: number;
  /** Certificates that are looked at as issuers. */
  readonly steps: number;
  readonly signatures: number;
  readonly nameComparisons: number;
}

export type PathResult =
  | {
      readonly ok: true;
      /** The end entity first, the anchor last; the end entity alone where it is trusted itself. */
      readonly path: readonly Certificate[];
      /** While all certificates of the path are valid; both ends included. */
      readonly notBefore: number;
      readonly notAfter: number;
      /** Certificate policies under which the path holds; `2.5.29.32.0` stands for any. */
      readonly policies: ReadonlySet<string>;
    }
  | { readonly ok: false; readonly error: CertificateFailure /** The certificate at fault. */; readonly certificate: Certificate };

/**
 * Builds and validates a path from an end entity to a trust anchor (RFC 5280 §6, RFC 4158). Pure: the time is an argument, and the work
 * is bounded by `limits`. Tries one path after the other; if none holds, the failure is that of the path which held longest.
 */
export function findPath(endEntity: Certificate, options: PathOptions): PathResult {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const rules = rulesOf(options, limits);
  if (options.trustedPeers?.some((trusted) => sameCertificate(trusted, endEntity))) {
    const verdict = checkTrustedPeer(endEntity, rules);
    return verdict.ok ? succeeded([endEntity], verdict.policies) : verdict;
  }
  const search = new Search(options, limits);
  let best: Extract<PathVerdict, { ok: false }> | undefined;
  for (const path of search.paths([endEntity])) {
    const verdict = checkPath(path.toReversed(), rules);
    if (verdict.ok) return succeeded(path, verdict.policies);
    if (best === undefined || verdict.reached > best.reached) best = verdict;
    if (rules.budget.signatures < 0) break;
  }
  if (best !== undefined) return best;
  return search.exhausted
    ? { ok: false, error: tooComplex('a longer search for a path'), certificate: endEntity }
    : unknownAuthority(search.furthest, options);
}

function rulesOf(options: PathOptions, limits: PathLimits): PathRules {
  return {
    at: options.at,
    purpose: options.purpose ?? IKE_PURPOSE,
    algorithms: options.algorithms ?? DEFAULT_ALGORITHMS,
    strict: options.strict ?? false,
    anchorIsCertificate: options.anchorAs !== 'name and key',
    authorityMayBePeer: options.authorityMayBePeer ?? true,
    policies: options.policies ?? {},
    maxIntermediates: limits.intermediates,
    maxNameComparisons: limits.nameComparisons,
    revocation: options.revocation,
    budget: { signatures: limits.signatures },
  };
}

function succeeded(path: readonly Certificate[], policies: ReadonlySet<string>): PathResult {
  return {
    ok: true,
    path,
    notBefore: Math.max(...path.map(({ notBefore }) => notBefore)),
    notAfter: Math.min(...path.map(({ notAfter }) => notAfter)),
    policies,
  };
}

/** Depth first through everybody who has the issuer's name, the likeliest first; signatures are for the check to verify. */
class Search {
  /** The last certificate of the longest chain that led nowhere. */
  furthest!: Certificate;
  exhausted = false;
  readonly #anchors: ReadonlyMap<string, readonly Certificate[]>;
  readonly #intermediates: ReadonlyMap<string, readonly Certificate[]>;
  readonly #limits: PathLimits;
  readonly #at: number;
  #depth = 0;
  #steps = 0;
  #paths = 0;

  constructor({ anchors, intermediates, at }: PathOptions, limits: PathLimits) {
    this.#anchors = bySubject(anchors);
    this.#intermediates = bySubject(intermediates ?? []);
    this.#limits = limits;
    this.#at = at;
  }

  *paths(chain: readonly Certificate[]): Generator<readonly Certificate[]> {
    const last = chain[chain.length - 1]!;
    if (chain.length > this.#depth) {
      this.#depth = chain.length;
      this.furthest = last;
    }
    const issuer = issuerKey(last);
    for (const anchor of this.#ranked(this.#anchors.get(issuer), last)) {
      if (this.#spent(++this.#paths > this.#limits.paths)) return;
      yield [...chain, anchor];
    }
    if (chain.length + 1 >= this.#limits.certificates) return;
    for (const next of this.#ranked(this.#intermediates.get(issuer), last)) {
      if (this.#spent(++this.#steps > this.#limits.steps)) return;
      // RFC 4158 §2.4.1: the same name and key twice in a path is a loop.
      if (chain.some((each) => equalBytes(each.spki, next.spki) && subjectKey(each) === subjectKey(next))) continue;
      yield* this.paths([...chain, next]);
      if (this.exhausted) return;
    }
  }

  #spent(over: boolean): boolean {
    this.exhausted ||= over;
    return over;
  }

  /** RFC 4158 §3.5: key identifiers that match, then certificates that are valid now; a mismatch is a hint, not a verdict. */
  #ranked(candidates: readonly Certificate[] | undefined, child: Certificate): readonly Certificate[] {
    if (candidates === undefined || candidates.length < 2) return candidates ?? [];
    const wanted = child.authorityKeyIdentifier?.keyIdentifier;
    const rank = ({ subjectKeyIdentifier: own, notBefore, notAfter }: Certificate) => {
      const identifier = wanted === undefined || own === undefined ? 1 : equalBytes(wanted, own) ? 0 : 2;
      return identifier * 2 + (this.#at < notBefore || this.#at > notAfter ? 1 : 0);
    };
    return candidates
      .map((candidate) => ({ candidate, rank: rank(candidate) }))
      .sort((a, b) => a.rank - b.rank || b.candidate.notAfter - a.candidate.notAfter)
      .map(({ candidate }) => candidate);
  }
}

function bySubject(certificates: readonly Certificate[]): Map<string, Certificate[]> {
  const map = new Map<string, Certificate[]>();
  for (const certificate of certificates) {
    const key = subjectKey(certificate);
    if (map.get(key)?.some((each) => sameCertificate(each, certificate)) !== true) append(map, key, certificate);
  }
  return map;
}

function unknownAuthority(certificate: Certificate, { anchors }: PathOptions): PathResult {
  const issuer = formatName(certificate.issuer);
  const title = certificateTitle(certificate);
  const error = isSelfIssued(certificate)
    ? certificateFailure(
        'UNKNOWN_CA',
        `the certificate ${title} is signed by itself and not among the trusted ones`,
        'If it is the right one, load it as a trusted authority.',
      )
    : certificateFailure(
        'UNKNOWN_CA',
        `the certificate ${title} was issued by "${issuer}", which is not among the trusted authorities`,
        anchors.length === 0
          ? 'No authority is loaded: add the certificate of the authority that issued it.'
          : `Load the certificate of "${issuer}"; if that is an intermediate authority, the peer has to send its certificate along.`,
        'RFC 5280 §6.1',
      );
  return { ok: false, error, certificate };
}

/** Ours. Chains of real peers have three or four certificates; a path beyond these limits is an attack or a mistake. */
const DEFAULT_LIMITS: PathLimits = { intermediates: 8, certificates: 12, paths: 32, steps: 512, signatures: 64, nameComparisons: 1 << 20 };
