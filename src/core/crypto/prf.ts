import { createHmac } from 'node:crypto';
import { concat, EMPTY } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { createCmac, createXcbc, type HmacHash } from './mac.ts';
import { plain } from './octets.ts';
import type { PrfTransform } from './transforms.ts';

/**
 * prf+ (RFC 7296 §2.13): T1 | T2 | …, cut to `length` octets. The counter is one octet, so at most 255 blocks of the PRF's output
 * can be had; asking for more throws `ApiMisuse`.
 */
export function prfPlus(prf: PrfTransform, key: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const blocks = Math.ceil(length / prf.outputLength);
  if (blocks > 255) {
    throw new ApiMisuse(`prf+ over ${prf.name} yields at most ${255 * prf.outputLength} octets, ${length} were asked for`, {
      code: 'PRF_PLUS_EXHAUSTED',
      section: 'RFC 7296 §2.13',
    });
  }
  const output = new Uint8Array(length);
  const counter = new Uint8Array(1);
  let block = EMPTY;
  for (let i = 0; i < blocks; i++) {
    counter[0] = i + 1;
    const next = prf.compute(key, block, seed, counter);
    block.fill(0);
    block = next;
    // octet by octet, since a view costs more than the copy
    const at = i * prf.outputLength;
    const end = Math.min(block.length, length - at);
    for (let j = 0; j < end; j++) output[at + j] = block[j]!;
  }
  block.fill(0);
  return output;
}

export function hmacPrf(hash: HmacHash): PrfTransform['compute'] {
  return (key, ...data) => {
    const hmac = createHmac(hash, key);
    for (const part of data) hmac.update(part);
    return plain(hmac.digest());
  };
}

/** RFC 4434 §2: a key that is not 16 octets long is padded with zeros or shortened by the MAC itself. */
export function xcbcPrf(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array {
  let fitted = key;
  if (key.length < 16) fitted = concat(key, new Uint8Array(16 - key.length));
  else if (key.length > 16) fitted = once(createXcbc(new Uint8Array(16)), key);
  return once(createXcbc(fitted), ...data);
}

/** RFC 4615 §3: any key that is not 16 octets long goes through the MAC under the zero key. */
export function cmacPrf(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array {
  const fitted = key.length === 16 ? key : once(createCmac(new Uint8Array(16)), key);
  return once(createCmac(fitted), ...data);
}

function once(mac: ReturnType<typeof createCmac>, ...data: readonly Uint8Array[]): Uint8Array {
  const output = new Uint8Array(mac.compute(data.length === 1 ? data[0]! : concat(...data)));
  mac.destroy();
  return output;
}
