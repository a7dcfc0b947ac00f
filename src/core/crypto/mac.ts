import { type Cipher, type CipherGCMTypes, createCipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { writeU32 } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { plain } from './octets.ts';

/** A keyed MAC that lives as long as its SA. */
export interface Mac {
  /**
   * The whole, untruncated MAC of `data` and, where given, the 32 bits behind it (the unsent half of an extended sequence number).
   * The result may be overwritten by the next call.
   * @param iv what GMAC takes besides, and nothing else does; never twice the same under one key
   */
  compute(data: Uint8Array, trailer?: number, iv?: Uint8Array): Uint8Array;
  destroy(): void;
}

export type HmacHash = 'md5' | 'sha1' | 'sha256' | 'sha384' | 'sha512';

export function createHmacMac(hash: HmacHash, key: Uint8Array): Mac {
  return new HmacMac(hash, key);
}

/** AES-CMAC (RFC 4493); `key` has 16 octets. */
export function createCmac(key: Uint8Array): Mac {
  const { k1, k2 } = cmacSubkeys(key);
  return new CbcMac(key, k1, k2);
}

/** AES-XCBC-MAC (RFC 3566 §4); `key` has 16 octets. */
export function createXcbc(key: Uint8Array): Mac {
  const derived = encryptBlocks(key, XCBC_CONSTANTS);
  const mac = new CbcMac(derived.subarray(0, 16), derived.slice(16, 32), derived.slice(32, 48));
  derived.fill(0);
  return mac;
}

/** AES-GMAC (RFC 4543); `key` has `saltLength` octets of salt at its end, the IV of each call 12 octets less those. */
export function createGmac(key: Uint8Array, saltLength: number): Mac {
  return new GmacMac(key.subarray(0, key.length - saltLength), key.subarray(key.length - saltLength));
}

class GmacMac implements Mac {
  readonly #name: CipherGCMTypes;
  #key: Uint8Array | undefined;
  /** Salt and IV (RFC 4543 §3.2). */
  readonly #nonce = new Uint8Array(12);
  readonly #saltLength: number;
  readonly #trailer = new Uint8Array(4);

  constructor(key: Uint8Array, salt: Uint8Array) {
    this.#name = `aes-${8 * key.length}-gcm` as CipherGCMTypes;
    this.#key = key.slice();
    this.#nonce.set(salt);
    this.#saltLength = salt.length;
  }

  compute(data: Uint8Array, trailer?: number, iv?: Uint8Array): Uint8Array {
    if (this.#key === undefined) throw new ApiMisuse('this MAC was destroyed', { code: 'CIPHER_DESTROYED' });
    if (iv?.length !== this.#nonce.length - this.#saltLength)
      throw new ApiMisuse(`GMAC takes an IV of ${this.#nonce.length - this.#saltLength} octets, not ${iv?.length ?? 'none'}`, {
        code: 'IV_LENGTH',
        section: 'RFC 4543 §3.1',
      });
    this.#nonce.set(iv, this.#saltLength);
    const cipher = createCipheriv(this.#name, this.#key, this.#nonce).setAAD(data);
    if (trailer !== undefined) {
      writeU32(this.#trailer, 0, trailer);
      cipher.setAAD(this.#trailer);
    }
    cipher.final();
    return cipher.getAuthTag();
  }

  destroy(): void {
    this.#key?.fill(0);
    this.#key = undefined;
    this.#nonce.fill(0);
  }
}

class HmacMac implements Mac {
  readonly #hash: HmacHash;
  #key: KeyObject;
  readonly #trailer = new Uint8Array(4);

  constructor(hash: HmacHash, key: Uint8Array) {
    this.#hash = hash;
    this.#key = createSecretKey(key);
  }

  compute(data: Uint8Array, trailer?: number): Uint8Array {
    const hmac = createHmac(this.#hash, this.#key).update(data);
    if (trailer !== undefined) {
      writeU32(this.#trailer, 0, trailer);
      hmac.update(this.#trailer);
    }
    return hmac.digest();
  }

  destroy(): void {
    this.#key = NO_KEY;
  }
}

/**
 * CMAC and XCBC are one construction: a CBC-MAC whose last block is masked with one of two subkeys, after 10* padding when it is not
 * whole. The CBC context is kept for the life of the key instead of being made anew per message: CBC adds the previous ciphertext
 * block to the next plaintext block, so adding that block once more to the first block of a message starts a fresh chain.
 */
class CbcMac implements Mac {
  readonly #cipher: Cipher;
  readonly #maskWhole: Uint8Array;
  readonly #maskPadded: Uint8Array;
  readonly #chain = new Uint8Array(16);
  #scratch = new Uint8Array(2048);

  constructor(key: Uint8Array, maskWhole: Uint8Array, maskPadded: Uint8Array) {
    if (key.length !== 16) throw new ApiMisuse(`AES-CMAC and AES-XCBC-MAC take a key of 16 octets, not ${key.length}`);
    this.#cipher = createCipheriv('aes-128-cbc', key, this.#chain).setAutoPadding(false);
    this.#maskWhole = maskWhole;
    this.#maskPadded = maskPadded;
  }

  compute(data: Uint8Array, trailer?: number): Uint8Array {
    const length = data.length + (trailer === undefined ? 0 : 4);
    const padded = Math.max(16, (length + 15) & ~15);
    if (padded > this.#scratch.length) this.#scratch = new Uint8Array(padded * 2);
    const scratch = this.#scratch;
    scratch.set(data);
    if (trailer !== undefined) writeU32(scratch, data.length, trailer);
    let mask = this.#maskWhole;
    if (length !== padded) {
      scratch[length] = 0x80;
      scratch.fill(0, length + 1, padded);
      mask = this.#maskPadded;
    }
    for (let i = 0; i < 16; i++) scratch[padded - 16 + i]! ^= mask[i]!;
    for (let i = 0; i < 16; i++) scratch[i]! ^= this.#chain[i]!;
    const blocks = this.#cipher.update(scratch.subarray(0, padded));
    for (let i = 0; i < 16; i++) this.#chain[i] = blocks[padded - 16 + i]!;
    return blocks.subarray(padded - 16);
  }

  destroy(): void {
    this.#maskWhole.fill(0);
    this.#maskPadded.fill(0);
    this.#scratch.fill(0);
  }
}

/** RFC 4493 §2.3. */
function cmacSubkeys(key: Uint8Array): { k1: Uint8Array; k2: Uint8Array } {
  const k1 = double(encryptBlocks(key, new Uint8Array(16)));
  return { k1, k2: double(k1) };
}

/** Multiplication by x in GF(2^128). */
function double(block: Uint8Array): Uint8Array {
  const doubled = new Uint8Array(16);
  for (let i = 0; i < 16; i++) doubled[i] = (block[i]! << 1) | ((block[i + 1] ?? 0) >>> 7);
  doubled[15]! ^= 0x87 & -(block[0]! >>> 7);
  return doubled;
}

function encryptBlocks(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  if (key.length !== 16) throw new ApiMisuse(`AES-CMAC and AES-XCBC-MAC take a key of 16 octets, not ${key.length}`);
  return plain(createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(blocks));
}

/** RFC 3566 §4: three constant blocks, from which K1, K2 and K3 are encrypted. */
const XCBC_CONSTANTS = new Uint8Array(48).map((_, i) => 1 + (i >> 4));
const NO_KEY = createSecretKey(new Uint8Array(32));
