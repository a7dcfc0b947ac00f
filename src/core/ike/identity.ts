import { equalBytes } from '../bytes/bytes.ts';
import { type Identification, IdType } from '../wire/index.ts';

/** RFC 7296 §3.5; names compare without regard to the case of ASCII letters (RFC 4945 §3.1.2, §3.1.3), everything else octet by octet. */
export function sameIdentity(a: Identification, b: Identification): boolean {
  return a.idType === b.idType && equalBytes(canonicalOctets(a), canonicalOctets(b));
}

/** Equal for equal identities of one type. */
export function canonicalOctets({ idType, data }: Identification): Uint8Array {
  return idType === IdType.ID_FQDN || idType === IdType.ID_RFC822_ADDR ? data.map(lower) : data;
}

const lower = (octet: number): number => (octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet);
