import { type PrfTransform, prf } from '../../../core/crypto/index.ts';
import { EvpContext } from './evp-context.ts';
import type { NativeBuffer } from './ffi.ts';
import { type Evp, opensslFailed, SCRATCH, writeTextParameter } from './openssl.ts';

/**
 * The PRF of an id as `core/crypto` has it, to the octet; those over HMAC by one context that lives as long as the thread, three calls each and
 * no object but the result. Of keys and data nothing stays behind.
 * @returns undefined for an id that nobody knows
 */
export function createEvpPrf(evp: Evp, place: NativeBuffer, id: number): PrfTransform | undefined {
  const plain = prf(id);
  const digest = DIGESTS[id];
  const mac = digest === undefined ? undefined : evp.mac('HMAC');
  if (plain === undefined || digest === undefined || mac === undefined) return plain;
  const { openssl, scratch } = evp;
  const context = new EvpContext(openssl.EVP_MAC_CTX_new(mac), openssl.EVP_MAC_CTX_free);
  if (openssl.EVP_MAC_CTX_set_params(context.address, writeTextParameter(evp, 'digest', digest)) !== 1) {
    context.destroy();
    openssl.ERR_clear_error();
    return plain;
  }
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
    const done =
      openssl.EVP_MAC_init(context.address, address, key.length, 0) === 1 &&
      openssl.EVP_MAC_update(context.address, address + key.length, end - key.length) === 1 &&
      openssl.EVP_MAC_final(context.address, scratch.address + SCRATCH.mac, scratch.address + SCRATCH.written, LARGEST) === 1;
    octets.fill(0, 0, end);
    if (!done) throw opensslFailed(evp, 'to compute a PRF');
    const output = scratch.octets.slice(SCRATCH.mac, SCRATCH.mac + outputLength);
    scratch.octets.fill(0, SCRATCH.mac, SCRATCH.mac + outputLength);
    return output;
  };
  return { ...plain, compute };
}

const LARGEST = 64;

/** What OpenSSL calls the digests of Transform Type 2. */
const DIGESTS: Readonly<Record<number, string | undefined>> = { 2: 'SHA1', 5: 'SHA2-256', 6: 'SHA2-384', 7: 'SHA2-512' };
