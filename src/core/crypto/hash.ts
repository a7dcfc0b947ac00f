import { createHash, hash as hashAtOnce } from 'node:crypto';
import { concat } from '../bytes/bytes.ts';
import { fromLatin1, plain } from './octets.ts';

export type DigestName = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';

/** The digest of the parts in a row. */
export function digest(name: DigestName, ...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash(name);
  for (const part of parts) hash.update(part);
  return plain(hash.digest());
}

/** NAT detection (RFC 7296 §2.23), key identifiers in CERTREQ (§3.7) and hash-and-URL (§3.6): no security rests on it there. */
export const sha1 = (...parts: readonly Uint8Array[]): Uint8Array =>
  // Four times for each IKE_SA_INIT: without an object of its own, and as text, which node:crypto makes faster than a Buffer.
  fromLatin1(hashAtOnce('sha1', parts.length === 1 ? parts[0]! : concat(...parts), 'binary'));
/** SHA-256 whose digest everybody may see, such as a cookie: four times as quick, since it comes as text. */
export const publicSha256 = (data: Uint8Array): Uint8Array => fromLatin1(hashAtOnce('sha256', data, 'binary'));
export const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => digest('sha256', ...parts);
export const sha384 = (...parts: readonly Uint8Array[]): Uint8Array => digest('sha384', ...parts);
export const sha512 = (...parts: readonly Uint8Array[]): Uint8Array => digest('sha512', ...parts);
