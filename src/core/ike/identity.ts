import { compareBytes, equalBytes, fromUtf8 } from '../bytes/bytes.ts';
import { type Identification, IdType } from '../wire/index.ts';

/**
 * Whom a policy accepts. `any` accepts everybody (authenticated, of course). `exact` compares type and octets; `wildcard` holds for
 * FQDN, RFC822 and KEY_ID (`*.example.com`, `*@example.com`); `dn` is compared by a matcher that the endpoint is handed, since
 * distinguished names need ASN.1.
 */
export type IdentityPattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly id: Identification }
  | { readonly kind: 'wildcard'; readonly idType: number; readonly pattern: string }
  | { readonly kind: 'subnet'; readonly idType: number; readonly start: Uint8Array; readonly end: Uint8Array }
  | { readonly kind: 'dn'; readonly pattern: Uint8Array };

/** Everything but distinguished names, which need ASN.1: those match only octet by octet here. */
export function matchIdentity(pattern: IdentityPattern, id: Identification): boolean {
  switch (pattern.kind) {
    case 'any':
      return true;
    case 'exact':
      return sameIdentity(pattern.id, id);
    case 'wildcard':
      return pattern.idType === id.idType && matchWildcard(pattern.pattern.toLowerCase(), fromUtf8(id.data).toLowerCase());
    case 'subnet':
      return pattern.idType === id.idType && compareBytes(pattern.start, id.data) <= 0 && compareBytes(id.data, pattern.end) <= 0;
    case 'dn':
      return id.idType === IdType.ID_DER_ASN1_DN && equalBytes(pattern.pattern, id.data);
  }
}

/** RFC 7296 §3.5; names compare without regard to case (RFC 4945 §3.1.2, §3.1.3). */
export function sameIdentity(a: Identification, b: Identification): boolean {
  if (a.idType !== b.idType) return false;
  const isName = a.idType === IdType.ID_FQDN || a.idType === IdType.ID_RFC822_ADDR;
  return isName ? fromUtf8(a.data).toLowerCase() === fromUtf8(b.data).toLowerCase() : equalBytes(a.data, b.data);
}

/** Linear: each `*` takes the earliest match of the piece behind it, so no pattern can make the search explode. */
function matchWildcard(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  if (pieces.length === 1) return pattern === text;
  const head = pieces[0]!;
  const tail = pieces[pieces.length - 1]!;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  let at = head.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > text.length - tail.length) return false;
    at = found + piece.length;
  }
  return true;
}
