import { equalBytes, fromHex, fromUtf8, toHex, utf8 } from '../bytes/bytes.ts';
import { tryParseIp } from '../bytes/ip-address.ts';

/** The fields of a DS record (RFC 4034 §5.1), as INTERNAL_DNSSEC_TA carries them. */
export interface TrustAnchor {
  readonly keyTag: number;
  readonly algorithm: number;
  readonly digestType: number;
  readonly digest: Uint8Array;
}

/**
 * RFC 8598 §4.1: a name in presentation format, in A-labels, in lower case and without the dot at its end. Undefined for what is no name of a
 * domain: the root, addresses, octets that are no letters, digits or hyphens, labels of 64 octets.
 */
export function parseDomain(value: Uint8Array): string | undefined {
  if (value.length === 0 || value.length > LONGEST_NAME + 1 || value.some((octet) => octet < 0x2d || octet > 0x7a)) return undefined;
  const name = fromUtf8(value).toLowerCase().replace(/\.$/, '');
  if (name.length > LONGEST_NAME || tryParseIp(name) !== undefined) return undefined;
  return name.split('.').every((label) => LABEL.test(label)) ? name : undefined;
}

/** Whether a name is the domain or lies in it: `otherexample.com` does not lie in `example.com` (RFC 8598 §5). */
export const isInDomain = (name: string, domain: string): boolean => name === domain || name.endsWith(`.${domain}`);

/**
 * RFC 8598 §4.2. The digest is in presentation format, that is in hex digits; octets as they are in a DS record are taken too.
 * Undefined for a digest that is not as long as its type says, or of a type that nobody knows.
 */
export function parseTrustAnchor(value: Uint8Array): TrustAnchor | undefined {
  const octets = DIGEST_OCTETS.get(value[3] ?? 0);
  if (octets === undefined) return undefined;
  const data = value.subarray(4);
  const digest = data.length === octets ? data.slice() : data.length === 2 * octets ? hexOctets(data) : undefined;
  return digest && { keyTag: (value[0]! << 8) | value[1]!, algorithm: value[2]!, digestType: value[3]!, digest };
}

export function writeTrustAnchor({ keyTag, algorithm, digestType, digest }: TrustAnchor): Uint8Array {
  return Uint8Array.of(keyTag >>> 8, keyTag & 0xff, algorithm, digestType, ...utf8(toHex(digest).toUpperCase()));
}

/** `43547 8 2 F78CF334…`, as in a zone file. */
export const formatTrustAnchor = ({ keyTag, algorithm, digestType, digest }: TrustAnchor): string =>
  `${keyTag} ${algorithm} ${digestType} ${toHex(digest).toUpperCase()}`;

/** What `formatTrustAnchor` writes; blanks inside the digest are let pass. */
export function readTrustAnchor(text: string): TrustAnchor | undefined {
  const match = /^(\d{1,5})\s+(\d{1,3})\s+(\d{1,3})\s+([0-9A-Fa-f\s]+)$/.exec(text.trim());
  if (match === null) return undefined;
  const [keyTag, algorithm, digestType] = match.slice(1, 4).map(Number) as [number, number, number];
  const digest = match[4]!.replaceAll(/\s/g, '');
  if (keyTag > 0xffff || algorithm > 0xff || digest.length !== 2 * (DIGEST_OCTETS.get(digestType) ?? -1)) return undefined;
  return { keyTag, algorithm, digestType, digest: fromHex(digest) };
}

export const sameTrustAnchor = (a: TrustAnchor, b: TrustAnchor): boolean => equalBytes(writeTrustAnchor(a), writeTrustAnchor(b));

function hexOctets(data: Uint8Array): Uint8Array | undefined {
  const text = fromUtf8(data);
  return /^[0-9A-Fa-f]+$/.test(text) ? fromHex(text) : undefined;
}

/** RFC 1035 §2.3.4, without the root's octet. */
const LONGEST_NAME = 253;
/** RFC 1123 §2.1; the underscore stands in names of services. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** IANA DS digest algorithms: SHA-1, SHA-256, GOST R 34.11-94, SHA-384. */
const DIGEST_OCTETS: ReadonlyMap<number, number> = new Map([
  [1, 20],
  [2, 32],
  [3, 32],
  [4, 48],
]);
