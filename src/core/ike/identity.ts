import type { Identification } from '../wire/payloads/types.ts';

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
