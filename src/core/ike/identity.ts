import { equalBytes } from '../bytes/bytes.ts';
import { type Identification, IdType } from '../wire/index.ts';

/** RFC 7296 §3.5; names compare without regard to the case of ASCII letters (RFC 4945 §3.1.2, §3.1.3), everything else octet by octet. */
export function sameIdentity(a: Identification, b: Identification): boolean {
  if (a.idType !== b.idType) return false;
  const isName = a.idType === IdType.ID_FQDN || a.idType === IdType.ID_RFC822_ADDR;
  return isName ? equalBytes(a.data.map(lower), b.data.map(lower)) : equalBytes(a.data, b.data);
}

const lower = (octet: number): number => (octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet);
