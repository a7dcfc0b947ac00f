import { equalBytes, fromHex, fromUtf8, printable, toHex, utf8 } from '../bytes/bytes.ts';
import { ConfigError, TunnelwrightError } from '../bytes/errors.ts';
import { formatIp, tryParseIp } from '../bytes/ip-address.ts';
import { IdType } from '../wire/iana.ts';
import type { Identification } from '../wire/payloads/types.ts';
import { formatName, type Name, parseName } from './name.ts';
import { looksLikeName, parseNameText } from './name-text.ts';

/**
 * Reads what an operator writes for one identity, by the rules of swanctl.conf:
 *
 * | text | type |
 * |---|---|
 * | `203.0.113.7`, `2001:db8::1` | ID_IPV4_ADDR, ID_IPV6_ADDR |
 * | `C=CH, O=lab, CN=left`, `/C=CH/O=lab/CN=left` | ID_DER_ASN1_DN |
 * | `alice@example.com`, `@@alice@example.com` | ID_RFC822_ADDR |
 * | `vpn.example.com`, `@vpn.example.com` | ID_FQDN |
 * | `@#0a1b2c` | ID_KEY_ID, in hex |
 * | `ipv4:` `ipv6:` `fqdn:` `dns:` `email:` `rfc822:` `userfqdn:` `dn:` `asn1dn:` `asn1gn:` `keyid:` | the type it names; `#` and hex behind it give the octets |
 * | `{12}:#0a1b` | ID type 12 |
 * | `%null` | ID_NULL: nobody (RFC 7619) |
 *
 * Throws `ConfigError` for a text that is none of these, or that matches many identities.
 */
export function parseIdentity(text: string): Identification {
  const trimmed = text.trim();
  // RFC 7296 §3.5: no terminators; octets that a peer insists on can be given in hex
  if (CONTROL.test(trimmed)) throw notAnIdentity(text, 'it has control characters inside', 'Leave them out, line ends and NUL included.');
  const prefixed = /^(?:\{(\d{1,3})\}|([A-Za-z0-9]+)):/.exec(trimmed);
  if (prefixed !== null) {
    const idType = prefixed[1] === undefined ? PREFIXES.get(prefixed[2]!.toLowerCase()) : Number(prefixed[1]);
    if (idType !== undefined && idType <= 255) return ofType(idType, trimmed.slice(prefixed[0].length), trimmed);
  }
  if (trimmed === '' || trimmed === '%any' || trimmed === '*')
    throw notAnIdentity(text, 'it stands for any identity', 'Name one identity here.');
  if (trimmed === NOBODY) return { idType: IdType.ID_NULL, data: new Uint8Array(0) };
  if (looksLikeName(trimmed)) return { idType: IdType.ID_DER_ASN1_DN, data: parseNameText(trimmed).der };
  if (trimmed.startsWith('@#')) return { idType: IdType.ID_KEY_ID, data: hexOctets(trimmed.slice(2), text) };
  if (trimmed.startsWith('@@')) return { idType: IdType.ID_RFC822_ADDR, data: utf8(trimmed.slice(2)) };
  if (trimmed.startsWith('@')) return ofType(IdType.ID_FQDN, trimmed.slice(1), text);
  return fromBareText(trimmed, text);
}

/** What `parseIdentity` reads back: the plain form where it is unambiguous, else one with the type before it. Safe for a terminal. */
export function formatIdentity(id: Identification): string {
  const plain = plainForm(id);
  if (plain === undefined) return `${typePrefix(id.idType)}:#${toHex(id.data)}`;
  if (id.idType === IdType.ID_DER_ASN1_DN) return plain;
  for (const form of [plain, `${typePrefix(id.idType)}:${plain}`]) if (readsBack(form, id)) return form;
  return `${typePrefix(id.idType)}:#${toHex(id.data)}`;
}

/** `fqdn`, `email`, `ipv4`, … or `id type 12`, for sentences. */
export function identityTypeName(idType: number): string {
  return TYPE_NAMES[idType] ?? `id type ${idType}`;
}

/** The Name of an ID_DER_ASN1_DN; undefined for other types and for octets that are not a name. */
export function identityName(id: Identification): Name | undefined {
  if (id.idType !== IdType.ID_DER_ASN1_DN) return undefined;
  try {
    return parseName(id.data);
  } catch (error) {
    if (error instanceof TunnelwrightError) return undefined;
    throw error;
  }
}

/** The prefix before an explicit type, and the ID type it names; undefined where the text has none. */
export const identityPrefix = (prefix: string): number | undefined => PREFIXES.get(prefix.toLowerCase());

function fromBareText(trimmed: string, text: string): Identification {
  const address = tryParseIp(trimmed);
  if (address !== undefined) return { idType: address.length === 4 ? IdType.ID_IPV4_ADDR : IdType.ID_IPV6_ADDR, data: address };
  const range = trimmed.split(/[-/]/)[0]!.trim();
  if (/[-/]/.test(trimmed) && tryParseIp(range) !== undefined) {
    throw notAnIdentity(text, 'it is a range of addresses', 'Name one address, or use it where a pattern is expected.');
  }
  if (/\s/.test(trimmed))
    throw notAnIdentity(
      text,
      'it has blanks inside',
      'Write a distinguished name like "C=CH, O=lab, CN=left", anything else as "keyid:…".',
    );
  if (trimmed.includes('@')) return { idType: IdType.ID_RFC822_ADDR, data: utf8(trimmed) };
  // As swanctl has it: a colon makes it an opaque identifier, since no host name has one.
  if (trimmed.includes(':')) return { idType: IdType.ID_KEY_ID, data: utf8(trimmed) };
  if (trimmed.includes('='))
    throw notAnIdentity(text, 'its first word is not an attribute type', 'Use C, ST, L, O, OU, CN, E, DC, UID, or write "keyid:…".');
  return { idType: IdType.ID_FQDN, data: utf8(trimmed) };
}

function ofType(idType: number, value: string, text: string): Identification {
  const hex = value.startsWith('#');
  const octets = hex ? hexOctets(value.slice(1), text) : undefined;
  switch (idType) {
    case IdType.ID_IPV4_ADDR:
    case IdType.ID_IPV6_ADDR: {
      const data = octets ?? tryParseIp(value.trim());
      if (data?.length !== (idType === IdType.ID_IPV4_ADDR ? 4 : 16)) {
        throw notAnIdentity(text, `"${value.slice(0, 64)}" is not an address of that family`, 'Write it like "ipv4:203.0.113.7".');
      }
      return { idType, data };
    }
    case IdType.ID_DER_ASN1_DN:
      return { idType, data: octets ?? parseNameText(value).der };
    case IdType.ID_DER_ASN1_GN:
      if (octets === undefined) throw notAnIdentity(text, 'a GeneralName is written in hex', 'Write it like "asn1gn:#8203…".');
      return { idType, data: octets };
    default:
      return { idType, data: octets ?? utf8(value) };
  }
}

function plainForm({ idType, data }: Identification): string | undefined {
  switch (idType) {
    case IdType.ID_IPV4_ADDR:
      return data.length === 4 ? formatIp(data) : undefined;
    case IdType.ID_IPV6_ADDR:
      return data.length === 16 ? formatIp(data) : undefined;
    case IdType.ID_DER_ASN1_DN: {
      const name = identityName({ idType, data });
      return name === undefined || name.parts.length === 0 ? undefined : formatName(name);
    }
    case IdType.ID_DER_ASN1_GN:
      return undefined;
    case IdType.ID_NULL:
      return data.length === 0 ? NOBODY : undefined;
    default: {
      const text = fromUtf8(data);
      return /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text) ? text : undefined;
    }
  }
}

function readsBack(form: string, id: Identification): boolean {
  try {
    const parsed = parseIdentity(form);
    return parsed.idType === id.idType && equalBytes(parsed.data, id.data);
  } catch (error) {
    if (error instanceof TunnelwrightError) return false;
    throw error;
  }
}

const typePrefix = (idType: number): string => TYPE_NAMES[idType] ?? `{${idType}}`;

function hexOctets(hex: string, text: string): Uint8Array {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(hex)) throw notAnIdentity(text, 'what follows "#" is not hex', 'Give two hex digits for every octet.');
  return fromHex(hex);
}

export function notAnIdentity(text: string, reason: string, hint: string): ConfigError {
  return new ConfigError(`"${printable(text.trim().slice(0, 80))}" is not an identity: ${reason}`, { code: 'NOT_AN_IDENTITY', hint });
}

const NOBODY = '%null';
const CONTROL = /\p{Cc}/u;

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [IdType.ID_IPV4_ADDR]: 'ipv4',
  [IdType.ID_FQDN]: 'fqdn',
  [IdType.ID_RFC822_ADDR]: 'email',
  [IdType.ID_IPV6_ADDR]: 'ipv6',
  [IdType.ID_DER_ASN1_DN]: 'dn',
  [IdType.ID_DER_ASN1_GN]: 'asn1gn',
  [IdType.ID_KEY_ID]: 'keyid',
};

const PREFIXES: ReadonlyMap<string, number> = new Map([
  ['ipv4', IdType.ID_IPV4_ADDR],
  ['ipv6', IdType.ID_IPV6_ADDR],
  ['fqdn', IdType.ID_FQDN],
  ['dns', IdType.ID_FQDN],
  ['email', IdType.ID_RFC822_ADDR],
  ['rfc822', IdType.ID_RFC822_ADDR],
  ['userfqdn', IdType.ID_RFC822_ADDR],
  ['dn', IdType.ID_DER_ASN1_DN],
  ['asn1dn', IdType.ID_DER_ASN1_DN],
  ['asn1gn', IdType.ID_DER_ASN1_GN],
  ['keyid', IdType.ID_KEY_ID],
]);
