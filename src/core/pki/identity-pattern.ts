import { compareBytes, equalBytes } from '../bytes/bytes.ts';
import { tryParseIp } from '../bytes/ip-address.ts';
import { IdType } from '../wire/iana.ts';
import type { Identification } from '../wire/payloads/types.ts';
import { DerReader, DerTag } from './der.ts';
import { element, oid, sequence, setOf } from './der-writer.ts';
import { formatIdentity, identityName, identityPrefix, notAnIdentity, parseIdentity } from './identity.ts';
import { type Attribute, formatName, type Name, parseName, type RelativeName, sameName } from './name.ts';
import { looksLikeName, parseNameText, splitName } from './name-text.ts';
import { decodeString, decodeUtf8, foldAscii, foldString, matchesGlob } from './strings.ts';

/** Whom a policy accepts: the shape that `core/ike` works with. */
export type IdentityPattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly id: Identification }
  | { readonly kind: 'wildcard'; readonly idType: number; readonly pattern: string }
  /** Addresses from `start` to `end`, both included. */
  | { readonly kind: 'subnet'; readonly idType: number; readonly start: Uint8Array; readonly end: Uint8Array }
  /** A Name in DER, in whose values `*` stands for any text; an empty SET as its last part lets it hold whatever other parts. */
  | { readonly kind: 'dn'; readonly pattern: Uint8Array };

/**
 * Reads what an operator writes for the peers that a policy accepts: everything `parseIdentity` reads, and besides
 *
 * | text | accepts |
 * |---|---|
 * | `%any`, `*` | everybody |
 * | `*.example.com`, `*@example.com`, `keyid:branch-*` | `*` stands for any text |
 * | `192.0.2.0/24`, `192.0.2.1-192.0.2.9` | addresses |
 * | `C=CH, O=lab, CN=*` | names with exactly these parts, in this order |
 * | `O=lab, OU=research, *` | names that hold these parts, among others (RFC 4945 §3.1.5) |
 *
 * Throws `ConfigError`.
 */
export function parseIdentityPattern(text: string): IdentityPattern {
  const trimmed = text.trim();
  if (trimmed === '%any' || trimmed === '*') return { kind: 'any' };
  const range = addressRange(trimmed.replace(/^(?:ipv4|ipv6):/i, ''));
  if (range !== undefined) return range;
  const name = /^(?:dn|asn1dn):(?!#)/i.exec(trimmed)?.[0];
  if (name !== undefined || looksLikeName(trimmed)) return namePattern(trimmed.slice(name?.length ?? 0));
  if (trimmed.includes('*')) return wildcardPattern(trimmed);
  return exactly(parseIdentity(trimmed));
}

/** What `parseIdentityPattern` reads back. */
export function formatIdentityPattern(pattern: IdentityPattern): string {
  switch (pattern.kind) {
    case 'any':
      return '%any';
    case 'exact':
      return formatIdentity(pattern.id);
    case 'wildcard':
      return pattern.idType === IdType.ID_KEY_ID ? `keyid:${pattern.pattern}` : pattern.pattern;
    case 'subnet':
      return [pattern.start, pattern.end].map((data) => formatIdentity({ idType: pattern.idType, data })).join('-');
    case 'dn': {
      const { name, open } = splitPattern(pattern.pattern);
      return [formatName(name), ...(open ? ['*'] : [])].join(', ');
    }
  }
}

export const matchIdentity = (pattern: IdentityPattern, id: Identification): boolean => matchStrength(pattern, id) > 0;

/**
 * How closely a pattern fits an identity: 0 not at all, 1 because it takes anybody, 2 by a wildcard or range, 3 exactly. Among overlapping
 * policies the most specific one counts (RFC 4945 §3.1.10).
 */
export function matchStrength(pattern: IdentityPattern, id: Identification): 0 | 1 | 2 | 3 {
  switch (pattern.kind) {
    case 'any':
      return 1;
    case 'exact':
      return sameIdentity(pattern.id, id) ? 3 : 0;
    case 'wildcard':
      return pattern.idType === id.idType && fitsWildcard(id.idType, pattern.pattern, id.data) ? 2 : 0;
    case 'subnet':
      return pattern.idType === id.idType && isBetween(id.data, pattern.start, pattern.end) ? 2 : 0;
    case 'dn': {
      const name = identityName(id);
      return name === undefined ? 0 : matchName(pattern.pattern, name);
    }
  }
}

/** Host names and mail addresses compare without regard to case (RFC 4945 §3.1.2, §3.1.3), names by RFC 5280 §7.1, the rest octet by octet. */
export function sameIdentity(a: Identification, b: Identification): boolean {
  if (a.idType !== b.idType) return false;
  if (equalBytes(a.data, b.data)) return true;
  if (isNameType(a.idType)) {
    const [textA, textB] = [decodeUtf8(a.data), decodeUtf8(b.data)];
    return textA !== undefined && textB !== undefined && foldAscii(textA) === foldAscii(textB);
  }
  const [nameA, nameB] = [identityName(a), identityName(b)];
  return nameA !== undefined && nameB !== undefined && sameName(nameA, nameB);
}

function fitsWildcard(idType: number, pattern: string, data: Uint8Array): boolean {
  const text = decodeUtf8(data);
  if (text === undefined) return false;
  if (!isNameType(idType)) return matchesGlob(pattern, text);
  // neither a host name nor a mail address holds blanks or control characters: what does was made to look like another in some log
  return !data.some(isBlankOrControl) && matchesGlob(foldAscii(pattern), foldAscii(text));
}

const isBlankOrControl = (octet: number): boolean => octet <= 0x20 || octet === 0x7f;

const isNameType = (idType: number): boolean => idType === IdType.ID_FQDN || idType === IdType.ID_RFC822_ADDR;

const isBetween = (data: Uint8Array, start: Uint8Array, end: Uint8Array): boolean =>
  data.length === start.length && compareBytes(start, data) <= 0 && compareBytes(data, end) <= 0;

function matchName(patternDer: Uint8Array, name: Name): 0 | 2 | 3 {
  const { name: pattern, open } = splitPattern(patternDer);
  if (!open && pattern.keys.length === name.keys.length && pattern.keys.every((key, i) => key === name.keys[i])) return 3;
  if (!open) return pattern.parts.length === name.parts.length && pattern.parts.every((part, i) => partFits(part, name.parts[i]!)) ? 2 : 0;
  return takesAll(pattern.parts, name.parts, partFits) ? 2 : 0;
}

const partFits = (pattern: RelativeName, part: RelativeName): boolean =>
  pattern.length === part.length && takesAll(pattern.map(single), part.map(single), (a, b) => attributeFits(a[0]!, b[0]!));

const single = (attribute: Attribute): RelativeName => [attribute];

/** Every part of a pattern takes one of its own, in any order; those that leave less to choose take first. */
function takesAll(
  patterns: readonly RelativeName[],
  parts: readonly RelativeName[],
  fits: (pattern: RelativeName, part: RelativeName) => boolean,
): boolean {
  const free = [...parts];
  return [...patterns]
    .sort((a, b) => wildness(a) - wildness(b))
    .every((pattern) => {
      const found = free.findIndex((part) => fits(pattern, part));
      if (found >= 0) free.splice(found, 1);
      return found >= 0;
    });
}

/** 0 for text without `*`, 2 for nothing but `*`. */
function wildness(pattern: RelativeName): number {
  const texts = pattern.map(({ tag, content }) => decodeString(tag, content) ?? '');
  return texts.includes('*') ? 2 : texts.some((text) => text.includes('*')) ? 1 : 0;
}

function attributeFits(wanted: Attribute, attribute: Attribute): boolean {
  if (wanted.type !== attribute.type) return false;
  const pattern = decodeString(wanted.tag, wanted.content);
  const text = decodeString(attribute.tag, attribute.content);
  if (pattern === '*') return true;
  if (pattern === undefined || text === undefined) return wanted.tag === attribute.tag && equalBytes(wanted.content, attribute.content);
  return matchesGlob(foldString(pattern), foldString(text));
}

function namePattern(text: string): IdentityPattern {
  const open = /,\s*\*\s*$/.exec(text);
  if (open === null) return exactly({ idType: IdType.ID_DER_ASN1_DN, data: parseNameText(text).der });
  const parts = splitName(text.slice(0, open.index)).map((part) => setOf(...part.map(({ type, value }) => sequence(oid(type), value))));
  return { kind: 'dn', pattern: sequence(...parts, element(DerTag.SET)) };
}

/** One identity, unless it is a name with `*` in it. */
function exactly(id: Identification): IdentityPattern {
  const wild = identityName(id)?.parts.some((part) => wildness(part) > 0) ?? false;
  return wild ? { kind: 'dn', pattern: id.data } : { kind: 'exact', id };
}

interface NamePattern {
  readonly name: Name;
  readonly open: boolean;
}

/** Patterns are compiled once and matched often. */
const compiled = new WeakMap<Uint8Array, NamePattern>();

function splitPattern(der: Uint8Array): NamePattern {
  const known = compiled.get(der);
  if (known !== undefined) return known;
  const parts: Uint8Array[] = [];
  const list = new DerReader(der).sequence('name pattern');
  let open = false;
  while (!list.done) {
    const part = list.any('part');
    open = part.tag === DerTag.SET && part.content.length === 0;
    if (!open) parts.push(part.whole);
  }
  const pattern = { name: parseName(sequence(...parts)), open };
  compiled.set(der, pattern);
  return pattern;
}

function wildcardPattern(trimmed: string): IdentityPattern {
  const prefix = /^([A-Za-z0-9]+):/.exec(trimmed);
  const named = prefix === null ? undefined : identityPrefix(prefix[1]!);
  const value = named === undefined ? trimmed.replace(/^@@?/, '') : trimmed.slice(prefix![0].length);
  const idType = named ?? (/[^@]@|^@@/.test(trimmed) ? IdType.ID_RFC822_ADDR : IdType.ID_FQDN);
  if (idType !== IdType.ID_FQDN && idType !== IdType.ID_RFC822_ADDR && idType !== IdType.ID_KEY_ID) {
    throw notAnIdentity(
      trimmed,
      '"*" has no meaning in this type of identity',
      'Use a prefix or a range for addresses, e.g. "192.0.2.0/24".',
    );
  }
  if (/\s/.test(value) && idType !== IdType.ID_KEY_ID)
    throw notAnIdentity(trimmed, 'it has blanks inside', 'Write "keyid:…" for an opaque identifier.');
  return { kind: 'wildcard', idType, pattern: value };
}

function addressRange(text: string): IdentityPattern | undefined {
  const [first = '', second, ...rest] = text.split(/[-/]/).map((part) => part.trim());
  const start = tryParseIp(first);
  if (start === undefined || second === undefined) return undefined;
  const idType = start.length === 4 ? IdType.ID_IPV4_ADDR : IdType.ID_IPV6_ADDR;
  const bits = /^\d{1,3}$/.test(second) ? Number(second) : undefined;
  if (rest.length === 0 && text.includes('/') && bits !== undefined && bits <= start.length * 8) {
    return { kind: 'subnet', idType, start: masked(start, bits, 0), end: masked(start, bits, 0xff) };
  }
  const end = tryParseIp(second);
  if (rest.length === 0 && text.includes('-') && end?.length === start.length && compareBytes(start, end) <= 0)
    return { kind: 'subnet', idType, start, end };
  throw notAnIdentity(text, 'it is not a range of addresses', 'Write "192.0.2.0/24" or "192.0.2.1-192.0.2.9".');
}

/** The first `bits` bits of an address, all others taken from `fill`. */
function masked(address: Uint8Array, bits: number, fill: number): Uint8Array {
  return address.map((octet, i) => {
    const keep = Math.min(8, Math.max(0, bits - 8 * i));
    const mask = (0xff00 >> keep) & 0xff;
    return (octet & mask) | (fill & ~mask & 0xff);
  });
}
