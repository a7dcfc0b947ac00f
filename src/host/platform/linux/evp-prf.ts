import { type PrfTransform, prf } from '../../../core/crypto/index.ts';
import { EvpHmac } from './evp-hmac.ts';
import type { NativeBuffer } from './ffi.ts';
import { type Evp, opensslFailed, SCRATCH } from './openssl.ts';

/**
 * The PRF of an id as `core/crypto` has it, to the octet; those over HMAC by one context that lives as long as the thread, three calls each and
 * no object but the result. The context knows its last key until it is given another one.
 * @returns undefined for an id that nobody knows
 */
export function createEvpPrf(evp: Evp, place: NativeBuffer, id: number): PrfTransform | undefined {
  const plain = prf(id);
  const digest = DIGESTS[id];
  const hmac = plain === undefined || digest === undefined ? undefined : EvpHmac.open(evp, digest);
  if (plain === undefined || hmac === undefined) return plain;
  const { scratch } = evp;
  const { outputLength } = plain;
  const compute = (key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array => {
    let end = key.length;
    for (const part of data) end += part.length;
    // A key of no octets is none to OpenSSL, and what does not fit the place is rare.
    if (key.length === 0 || end > place.octets.length) return plain.compute(key, ...data);
    const { octets, address } = place;
    octets.set(key);
    let at = key.length;
    for (const part of data) {
      octets.set(part, at);
      at += part.length;
    }
    const done = hmac.compute(address, key.length, address + key.length, end - key.length);
    octets.fill(0, 0, end);
    if (!done) throw opensslFailed(evp, 'to compute a PRF');
    const output = scratch.octets.slice(SCRATCH.mac, SCRATCH.mac + outputLength);
    scratch.octets.fill(0, SCRATCH.mac, SCRATCH.mac + outputLength);
    return output;
  };
  return { ...plain, compute };
}

/** What OpenSSL calls the digests of Transform Type 2. */
const DIGESTS: Readonly<Record<number, string | undefined>> = { 2: 'SHA1', 5: 'SHA2-256', 6: 'SHA2-384', 7: 'SHA2-512' };
