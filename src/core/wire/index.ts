/** The wire format of IKEv2: RFC 7296 chapter 3, RFC 7383, and the registries of IANA. No IO, no state, no cryptography. */
export {
  type AuthAnnouncement,
  describeAuthAnnouncement,
  parseAuthAnnouncements,
  writeAuthAnnouncements,
} from './auth-announcements.ts';
export * from './describe.ts';
export * from './encrypted-dns.ts';
export * from './first-request.ts';
export * from './forms.ts';
export * from './grammar.ts';
export * from './header.ts';
export * from './iana.ts';
export * from './message.ts';
export * from './payload.ts';
export { type HashAndUrl, isHashAndUrl, parseHashAndUrl } from './payloads/cert.ts';
export { PAYLOADS } from './payloads/index.ts';
export { NONCE_MAX, NONCE_MIN } from './payloads/nonce.ts';
export { isAddressRange } from './payloads/ts.ts';
export * from './payloads/types.ts';
export * from './protected.ts';
export * from './split-dns.ts';
