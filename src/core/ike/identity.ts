import { equalBytes } from '../bytes/bytes.ts';
import { type Identification, IdType } from '../wire/index.ts';

/** RFC 7296 §3.5; names compare without regard to the case of ASCII letters (RFC 4945 §3.1.2, §3.1.3), everything else octet by octet. */
export function sameIdentity(a: Identification, b: Identification): boolean {
  return a.idType === b.idType && (equalBytes(a.data, b.data) || equalBytes(canonicalOctets(a), canonicalOctets(b)));
}

/** One that has many encodings: whether two are the same (RFC 5280 §7.1) is not known here. */
export const isDistinguishedName = ({ idType }: Identification): boolean => idType === IdType.ID_DER_ASN1_DN;

interface Ends {
  readonly localId: Identification | undefined;
  readonly remoteId: Identification | undefined;
}

/** Between the same two identities (RFC 7296 §2.4). */
export const sameEnds = (a: Ends, b: Ends): boolean =>
  a.localId !== undefined &&
  b.localId !== undefined &&
  a.remoteId !== undefined &&
  b.remoteId !== undefined &&
  sameIdentity(a.remoteId, b.remoteId) &&
  sameIdentity(a.localId, b.localId);

/** Equal for equal identities of one type. */
export function canonicalOctets({ idType, data }: Identification): Uint8Array {
  if (idType !== IdType.ID_FQDN && idType !== IdType.ID_RFC822_ADDR) return data;
  if (!data.some(isUpper)) return data;
  return data.map((octet) => (isUpper(octet) ? octet + 0x20 : octet));
}

const isUpper = (octet: number): boolean => octet >= 0x41 && octet <= 0x5a;
