import type { Certificate } from './certificate.ts';
import type { NameConstraints } from './extensions.ts';
import { formatGeneralName, type GeneralName, type GeneralNameKind } from './general-name.ts';
import { append } from './multimap.ts';
import { attributeTexts, isWithin } from './name.ts';
import { Oid } from './oid.ts';

/**
 * The name constraints that have gathered on the way from a trust anchor down (RFC 5280 §6.1.2 (b), (c)). Each extension stands for
 * itself: a name must be permitted by all of them and excluded by none, which is the intersection and union of the RFC.
 */
export class NameConstraintSet {
  readonly #extensions: Constraint[] = [];
  readonly #leadingDot: boolean;
  #comparisons: number;

  /** @param leadingDot whether `.example.com` in a dNSName constraint is taken as "below example.com", which RFC 5280 does not know
   *  @param comparisons of a name with a constraint, in all; `affords` counts them */
  constructor(leadingDot: boolean, comparisons: number) {
    this.#leadingDot = leadingDot;
    this.#comparisons = comparisons;
  }

  add(constraints: NameConstraints): void {
    this.#extensions.push({ permitted: byKind(constraints.permitted), excluded: byKind(constraints.excluded) });
  }

  /** Whether the comparisons that a certificate asks for are within what may be spent; they count as spent then. */
  affords(certificate: Certificate): boolean {
    for (const { kind } of namesOf(certificate)) {
      for (const { permitted, excluded } of this.#extensions)
        this.#comparisons -= (permitted.get(kind)?.length ?? 0) + (excluded.get(kind)?.length ?? 0);
      if (this.#comparisons < 0) return false;
    }
    return true;
  }

  /** Why a certificate's names are not allowed, as the rest of a sentence; undefined when they are. */
  check(certificate: Certificate): string | undefined {
    for (const name of namesOf(certificate)) {
      for (const { permitted, excluded } of this.#extensions) {
        const problem = this.#judge(name, permitted.get(name.kind), excluded.get(name.kind));
        if (problem !== undefined) return problem;
      }
    }
    return undefined;
  }

  #judge(
    name: GeneralName,
    permitted: readonly GeneralName[] | undefined,
    excluded: readonly GeneralName[] | undefined,
  ): string | undefined {
    if (permitted === undefined && excluded === undefined) return undefined;
    // RFC 5280 §4.2.1.10: a constraint on a form that we cannot process, and a name of that form, means refusal.
    const subject = parseSubject(name);
    if (subject === undefined) return `${formatGeneralName(name)} is constrained and cannot be compared`;
    const exclusion = excluded?.find((base) => relate(subject, base, this.#leadingDot) !== 'outside');
    if (exclusion !== undefined) return `${formatGeneralName(name)} is excluded by ${formatGeneralName(exclusion)}`;
    if (permitted === undefined || permitted.some((base) => relate(subject, base, this.#leadingDot) === 'inside')) return undefined;
    return `${formatGeneralName(name)} is not among the permitted names`;
  }
}

/** `unclear`: it cannot be said, so it is neither permitted nor safe from an exclusion. */
type Relation = 'inside' | 'outside' | 'unclear';

interface Constraint {
  readonly permitted: ReadonlyMap<GeneralNameKind, readonly GeneralName[]>;
  readonly excluded: ReadonlyMap<GeneralNameKind, readonly GeneralName[]>;
}

/** A name taken apart for comparison; host names in lower case. */
type Subject =
  | { readonly kind: 'dns' /** Without a leading `*.`. */; readonly host: string; readonly wildcard: boolean }
  | { readonly kind: 'email'; readonly local: string; readonly host: string }
  | { readonly kind: 'uri'; readonly host: string }
  | Extract<GeneralName, { kind: 'ip' | 'directory' }>;

function byKind(names: readonly GeneralName[]): Map<GeneralNameKind, GeneralName[]> {
  const map = new Map<GeneralNameKind, GeneralName[]>();
  for (const name of names) append(map, name.kind, name);
  return map;
}

/** RFC 5280 §4.2.1.10: the subject where it is not empty, its mail addresses, and every subjectAltName. */
function* namesOf(certificate: Certificate): Generator<GeneralName> {
  if (certificate.subject.parts.length > 0) yield { kind: 'directory', name: certificate.subject };
  for (const text of attributeTexts(certificate.subject, Oid.emailAddress)) yield { kind: 'email', text };
  yield* certificate.subjectAltNames ?? [];
}

function parseSubject(name: GeneralName): Subject | undefined {
  switch (name.kind) {
    case 'dns': {
      const text = name.text.toLowerCase();
      const wildcard = text.startsWith('*.');
      const host = wildcard ? text.slice(2) : text;
      return isHostName(host) ? { kind: 'dns', host, wildcard } : undefined;
    }
    case 'email': {
      const mailbox = splitMailbox(name.text);
      return mailbox && { kind: 'email', ...mailbox };
    }
    case 'uri': {
      const host = hostOfUri(name.text);
      return host === undefined ? undefined : { kind: 'uri', host };
    }
    case 'ip':
    case 'directory':
      return name;
    default:
      return undefined;
  }
}

function relate(subject: Subject, base: GeneralName, leadingDot: boolean): Relation {
  if (subject.kind === 'directory') return base.kind === 'directory' ? inside(isWithin(subject.name, base.name)) : 'unclear';
  if (subject.kind === 'ip') return base.kind === 'ip' ? relateAddress(subject.octets, base.octets) : 'unclear';
  if (!('text' in base)) return 'unclear';
  if (subject.kind === 'dns') return relateDns(subject, base.text.toLowerCase(), leadingDot);
  return subject.kind === 'uri' ? relateHost(subject.host, base.text.toLowerCase()) : relateMailbox(subject, base.text);
}

/** A DNS name satisfies a constraint when it has zero or more labels before it (RFC 5280 §4.2.1.10). */
function relateDns(subject: Extract<Subject, { kind: 'dns' }>, base: string, leadingDot: boolean): Relation {
  if (base === '') return 'inside';
  if (base.startsWith('.')) {
    if (!leadingDot || !isHostName(base.slice(1))) return 'unclear';
    if (subject.host.endsWith(base)) return 'inside';
    return subject.wildcard && subject.host === base.slice(1) ? 'inside' : 'outside';
  }
  if (!isHostName(base)) return 'unclear';
  if (subject.host === base || subject.host.endsWith(`.${base}`)) return 'inside';
  // `*.example.com` may be taken for `bar.example.com` (CVE-2025-61727): not inside, yet an exclusion hits it.
  const label = subject.wildcard && base.endsWith(`.${subject.host}`) ? base.slice(0, -subject.host.length - 1) : undefined;
  return label !== undefined && !label.includes('.') ? 'unclear' : 'outside';
}

/** RFC 5280 §4.2.1.10 for URIs: a host, or a domain with a leading period that stands for everything below it. */
function relateHost(host: string, base: string): Relation {
  if (base.startsWith('.')) return isHostName(base.slice(1)) ? inside(host.endsWith(base)) : 'unclear';
  return isHostName(base) ? inside(host === base) : 'unclear';
}

/** RFC 5280 §4.2.1.10 for mail: one mailbox, all mailboxes of a host, or of every host below a domain. */
function relateMailbox(subject: Extract<Subject, { kind: 'email' }>, base: string): Relation {
  if (base === '') return 'inside';
  if (!base.includes('@')) return relateHost(subject.host, base.toLowerCase());
  const wanted = splitMailbox(base);
  if (wanted === undefined) return 'unclear';
  if (wanted.host !== subject.host || wanted.local.toLowerCase() !== subject.local.toLowerCase()) return 'outside';
  // Many hosts take a mailbox in any case: that permits nothing, but an exclusion hits it.
  return wanted.local === subject.local ? 'inside' : 'unclear';
}

function relateAddress(address: Uint8Array, base: Uint8Array): Relation {
  if (base.length !== address.length * 2) return 'outside';
  return inside(address.every((octet, i) => ((octet ^ base[i]!) & base[i + address.length]!) === 0));
}

const inside = (yes: boolean): Relation => (yes ? 'inside' : 'outside');

/** RFC 1034 §3.5 with the underscore of RFC 8553; 253 octets in labels of 63. */
const isHostName = (text: string): boolean =>
  text.length <= 253 && /^(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i.test(text) && !/-(?:\.|$)|\.-/.test(text);

/**
 * RFC 5280 §4.2.1.6: `local@host`; only the host compares without regard to case. A quoted local part may be another spelling of one
 * without quotes, so it cannot be compared.
 */
function splitMailbox(text: string): { local: string; host: string } | undefined {
  const [local = '', host = '', ...rest] = text.split('@');
  return rest.length === 0 && /^[^\s"(),:;<>@[\\\]]+$/.test(local) && isHostName(host) ? { local, host: host.toLowerCase() } : undefined;
}

/** RFC 5280 §4.2.1.10: the host of a URI, which MUST be a name for a constraint to apply: without one, or with an address, undefined. */
function hostOfUri(text: string): string | undefined {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(text)?.[1];
  if (authority === undefined) return undefined;
  const host = authority
    .slice(authority.lastIndexOf('@') + 1)
    .replace(/:\d*$/, '')
    .toLowerCase();
  return isHostName(host) && !/^[\d.]+$/.test(host) ? host : undefined;
}
