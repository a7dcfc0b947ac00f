import { createCipheriv } from 'node:crypto';
import { ApiMisuse } from '../../bytes/errors.ts';
import { equalSecrets } from '../constant-time.ts';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform } from '../transforms.ts';
import { CipherKey, ESN_HEAD, esnHead } from './keyed.ts';

/** CCM (RFC 3610) over a block cipher of which OpenSSL has CTR and CBC alone; Camellia is the one (RFC 5528, RFC 5529). */
export class BlockCcmPacketCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind = 'counter';
  readonly #ctr: string;
  readonly #cbc: string;
  readonly #key: CipherKey;
  /** A_0: flags | salt | IV | block counter, zero (RFC 3610 §2.3). */
  readonly #counter = new Uint8Array(BLOCK);
  readonly #saltLength: number;
  readonly #esnAad = new Uint8Array(ESN_HEAD);
  /** What the CBC-MAC runs over: B_0, the AAD with its length in front, the plaintext; each padded with zeros. */
  #blocks = new Uint8Array(2048);

  /** @param names OpenSSL's, of CTR and CBC */
  constructor(transform: EncryptionTransform, names: readonly string[], key: Uint8Array, salt: Uint8Array) {
    const [ctr, cbc] = names;
    if (ctr === undefined || cbc === undefined)
      throw new ApiMisuse(`CCM is made of two modes of ${transform.name}, both of which must be named`);
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.#ctr = ctr;
    this.#cbc = cbc;
    this.#key = new CipherKey(key);
    this.#saltLength = salt.length;
    this.#counter[0] = COUNTER_OCTETS - 1;
    this.#counter.set(salt, 1);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const body = buffer.subarray(ivAt + this.ivLength, end);
    this.#takeIv(buffer, ivAt);
    const tag = this.#mac(this.#aad(buffer, start, ivAt, esnHigh), body);
    // RFC 3610 §2.3: S_0 hides the tag, S_1 and on the body.
    const stream = createCipheriv(this.#ctr, this.#key.octets, this.#counter);
    const sealed = stream.update(tag);
    buffer.set(stream.update(body), ivAt + this.ivLength);
    for (let i = 0; i < this.icvLength; i++) buffer[end + i] = sealed[i]!;
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length) return -1;
    this.#takeIv(buffer, ivAt);
    const stream = createCipheriv(this.#ctr, this.#key.octets, this.#counter);
    const mask = stream.update(ZEROS);
    const plaintext = stream.update(buffer.subarray(bodyAt, bodyEnd));
    const tag = this.#mac(this.#aad(buffer, start, ivAt, esnHigh), plaintext);
    for (let i = 0; i < this.icvLength; i++) tag[i]! ^= mask[i]!;
    if (!equalSecrets(tag.subarray(0, this.icvLength), buffer.subarray(bodyEnd, end))) {
      plaintext.fill(0);
      return -1;
    }
    buffer.set(plaintext, bodyAt);
    return bodyEnd;
  }

  destroy(): void {
    this.#key.destroy();
    this.#counter.fill(0);
    this.#blocks.fill(0);
  }

  #takeIv(buffer: Uint8Array, ivAt: number): void {
    for (let i = 0; i < this.ivLength; i++) this.#counter[1 + this.#saltLength + i] = buffer[ivAt + i]!;
  }

  #aad(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): Uint8Array {
    return esnHigh === undefined ? buffer.subarray(start, ivAt) : esnHead(this.#esnAad, buffer, start, esnHigh);
  }

  /** RFC 3610 §2.2: the whole last block of the CBC-MAC. */
  #mac(aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const prefix = aad.length === 0 ? 0 : aad.length < LONG_AAD ? 2 : 6;
    const bodyAt = BLOCK + wholeBlocks(prefix + aad.length);
    const length = bodyAt + wholeBlocks(plaintext.length);
    if (length > this.#blocks.length) this.#blocks = new Uint8Array(2 * length);
    const blocks = this.#blocks.subarray(0, length).fill(0);
    blocks.set(this.#counter);
    blocks[0] = (aad.length > 0 ? 0x40 : 0) | (((this.icvLength - 2) / 2) << 3) | (COUNTER_OCTETS - 1);
    writeNumber(blocks, BLOCK - COUNTER_OCTETS, COUNTER_OCTETS, plaintext.length);
    if (prefix === 6) blocks.set([0xff, 0xfe], BLOCK);
    if (prefix > 0) writeNumber(blocks, BLOCK + (prefix === 6 ? 2 : 0), prefix === 6 ? 4 : 2, aad.length);
    blocks.set(aad, BLOCK + prefix);
    blocks.set(plaintext, bodyAt);
    const chain = createCipheriv(this.#cbc, this.#key.octets, ZEROS).setAutoPadding(false).update(blocks);
    return chain.subarray(length - BLOCK);
  }
}

const wholeBlocks = (length: number): number => Math.ceil(length / BLOCK) * BLOCK;

function writeNumber(target: Uint8Array, at: number, octets: number, value: number): void {
  for (let i = 0; i < octets; i++) target[at + i] = value >>> (8 * (octets - 1 - i));
}

const BLOCK = 16;
/** L of RFC 3610: 15 less the 11 octets of the nonce (RFC 4309 §4, RFC 5529 §2). */
const COUNTER_OCTETS = 4;
/** RFC 3610 §2.2: from here on the length of the AAD takes six octets. */
const LONG_AAD = 0xff00;
const ZEROS = new Uint8Array(BLOCK);
