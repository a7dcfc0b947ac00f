import { ApiMisuse } from '../../../core/bytes/index.ts';
import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { getI32, putU32 } from '../../../core/packet/index.ts';
import { EvpAead, writeIv } from './evp-aead.ts';
import { destroyed, requireRoom } from './evp-context.ts';
import { addressOf, type Native, type NativeBuffer } from './ffi.ts';
import type { KeyStore } from './key-store.ts';
import type { Evp } from './openssl.ts';
import { isDefaultProviders, sealsAs } from './provider.ts';

/**
 * ChaCha20-Poly1305 (RFC 8439 §2.8, RFC 7634) by the two functions that OpenSSL's default provider makes it of: no context, no look-up of
 * parameters, and a packet that is not authentic is never decrypted. As with AES-GCM they are called where `isDefaultProviders` allows it,
 * and after they have sealed and opened the same as EVP.
 */
export class ProviderChacha {
  readonly #shared: Shared;
  readonly #evp: Evp;
  /** Undefined until the first cipher is asked for. */
  #proven: boolean | undefined;

  /** Undefined where there is no such provider. */
  static find(native: Native, evp: Evp, keys: KeyStore): ProviderChacha | undefined {
    try {
      if (!isDefaultProviders(native, evp, 'ChaCha20-Poly1305')) return undefined;
      const functions = native.functions<ChachaFunctions>(PROTOTYPES);
      if (functions.Poly1305_ctx_size() > SCRATCH.block - SCRATCH.poly1305) return undefined;
      const scratch = native.allocate(SCRATCH.length);
      return new ProviderChacha(evp, { functions, keys, scratch, head: scratch.octets.subarray(SCRATCH.head, SCRATCH.body) });
    } catch {
      // A function of the list is missing: linked against a library that keeps them to itself.
      return undefined;
    }
  }

  private constructor(evp: Evp, shared: Shared) {
    this.#evp = evp;
    this.#shared = shared;
  }

  /** Undefined for other modes, and where it did not pass. @param cipher EVP's, for the comparison */
  create(transform: EncryptionTransform, cipher: number, key: Uint8Array, salt: Uint8Array): PacketCipher | undefined {
    if (transform.mode !== 'chacha20-poly1305') return undefined;
    this.#proven ??= sealsAs(
      new BareChacha(this.#shared, transform, TRIAL_KEY, TRIAL_SALT),
      new EvpAead(this.#evp, transform, cipher, TRIAL_KEY, TRIAL_SALT),
    );
    return this.#proven ? new BareChacha(this.#shared, transform, key, salt) : undefined;
  }
}

interface Shared {
  readonly functions: ChachaFunctions;
  readonly keys: KeyStore;
  /** Laid out as `SCRATCH`. Nothing in it outlives the call that it was written for. */
  readonly scratch: NativeBuffer;
  /** `SCRATCH.head` of it. */
  readonly head: Uint8Array;
}

/** What is authenticated is put together in the scratch, and gone through at once: in pieces it would take half as long again. */
class BareChacha implements PacketCipher {
  readonly ivLength: number;
  readonly ivKind: 'counter' | 'implicit';
  readonly #shared: Shared;
  readonly #salt: number;
  /** Of the key; -1 once it is wiped. */
  #place: number;

  constructor(shared: Shared, transform: EncryptionTransform, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.ivKind = transform.ivKind === 'implicit' ? 'implicit' : 'counter';
    this.#shared = shared;
    this.#salt = getI32(salt, 0);
    this.#place = shared.keys.put(key);
  }

  get icvLength(): number {
    return TAG;
  }

  get blockLength(): number {
    return 1;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    requireRoom(buffer, start, headLength, bodyAt, end, TAG);
    const { functions, scratch } = this.#shared;
    const length = end - bodyAt;
    if (length > LARGEST_BODY)
      throw new ApiMisuse(`a body of ${length} octets is more than a datagram holds`, { code: 'BUFFER_TOO_SHORT' });
    const packet = addressOf(buffer);
    const body = scratch.address + SCRATCH.body;
    const key = this.#begin(buffer, start, ivAt, esnHigh);
    functions.memcpy(body, packet + bodyAt, length);
    // the block of the one-time key and the body behind it in one go
    scratch.octets.fill(0, SCRATCH.block, SCRATCH.body);
    functions.ChaCha20_ctr32(body - BLOCK, body - BLOCK, BLOCK + length, key, scratch.address + SCRATCH.counter);
    this.#authenticate(buffer, packet, start, headLength, length, esnHigh, packet + end);
    functions.memcpy(packet + bodyAt, body, length);
    return end + TAG;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const { functions, scratch } = this.#shared;
    const { octets, u32, address } = scratch;
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - TAG;
    const length = bodyEnd - bodyAt;
    if (!(start >= 0 && headLength >= 0 && length >= 0 && end <= buffer.length && length <= LARGEST_BODY)) return -1;
    const packet = addressOf(buffer);
    const body = address + SCRATCH.body;
    const key = this.#begin(buffer, start, ivAt, esnHigh);
    octets.fill(0, SCRATCH.block, SCRATCH.body);
    functions.ChaCha20_ctr32(body - BLOCK, body - BLOCK, BLOCK, key, address + SCRATCH.counter);
    functions.memcpy(body, packet + bodyAt, length);
    this.#authenticate(buffer, packet, start, headLength, length, esnHigh, address + SCRATCH.tag);
    let difference = 0;
    for (let i = 0; i < TAG; i++) difference |= octets[SCRATCH.tag + i]! ^ buffer[bodyEnd + i]!;
    if (difference !== 0) return -1;
    u32[SCRATCH.counter >> 2] = 1;
    functions.ChaCha20_ctr32(packet + bodyAt, body, length, key, address + SCRATCH.counter);
    return bodyEnd;
  }

  destroy(): void {
    if (this.#place >= 0) this.#shared.keys.wipe(this.#place);
    this.#place = -1;
  }

  /** Counts from block 0. @returns the address of the key */
  #begin(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): number {
    if (this.#place < 0) throw destroyed();
    const { keys, scratch } = this.#shared;
    scratch.u32[SCRATCH.counter >> 2] = 0;
    putU32(scratch.octets, SCRATCH.salt, this.#salt);
    writeIv(scratch.octets, SCRATCH.iv, this.ivKind, buffer, start, ivAt, esnHigh);
    return keys.address(this.#place);
  }

  /**
   * RFC 8439 §2.8, over the ciphertext in the scratch: head | zeros to a multiple of 16 | ciphertext | zeros to a multiple of 16 | both
   * lengths, under the one-time key that block 0 begins with (§2.6). Writes the tag to `tagAt`.
   */
  #authenticate(
    buffer: Uint8Array,
    packet: number,
    start: number,
    headLength: number,
    length: number,
    esnHigh: number | undefined,
    tagAt: number,
  ): void {
    const { functions, scratch, head } = this.#shared;
    const { octets, view, address } = scratch;
    const poly1305 = address + SCRATCH.poly1305;
    functions.Poly1305_Init(poly1305, address + SCRATCH.block);
    // behind the one-time key nobody needs the block
    octets.fill(0, SCRATCH.block, SCRATCH.body);
    let whole = 0;
    let covered = ESN_HEAD;
    if (esnHigh !== undefined) esnHead(head, buffer, start, esnHigh);
    else {
      covered = headLength;
      whole = headLength <= CHUNK ? 0 : headLength - (headLength % CHUNK);
      if (whole > 0) functions.Poly1305_Update(poly1305, packet + start, whole);
      for (let i = whole; i < headLength; i++) head[i - whole] = buffer[start + i]!;
    }
    const from = covered > whole ? SCRATCH.head : SCRATCH.body;
    const behind = SCRATCH.body + length + ((CHUNK - (length % CHUNK)) % CHUNK);
    octets.fill(0, SCRATCH.body + length, behind + CHUNK);
    view.setUint32(behind, covered, true);
    view.setUint32(behind + 8, length, true);
    functions.Poly1305_Update(poly1305, address + from, behind + CHUNK - from);
    functions.Poly1305_Final(poly1305, tagAt);
  }
}

interface ChachaFunctions {
  memcpy(to: number, from: number, length: number): number;
  /** @param key, counter words in the order of this machine, which is that of RFC 8439 §2.3 */
  ChaCha20_ctr32(to: number, from: number, length: number, key: number, counter: number): void;
  Poly1305_ctx_size(): number;
  Poly1305_Init(context: number, key: number): void;
  Poly1305_Update(context: number, from: number, length: number): void;
  /** Wipes the context, too. */
  Poly1305_Final(context: number, tag: number): void;
}

const PROTOTYPES: { readonly [Name in keyof ChachaFunctions]: string } = {
  memcpy: 'uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t length)',
  ChaCha20_ctr32: 'void ChaCha20_ctr32(uintptr_t to, uintptr_t from, size_t length, uintptr_t key, uintptr_t counter)',
  Poly1305_ctx_size: 'size_t Poly1305_ctx_size()',
  Poly1305_Init: 'void Poly1305_Init(uintptr_t context, uintptr_t key)',
  Poly1305_Update: 'void Poly1305_Update(uintptr_t context, uintptr_t from, size_t length)',
  Poly1305_Final: 'void Poly1305_Final(uintptr_t context, uintptr_t tag)',
};

const TAG = 16;
/** Octets of a block of ChaCha20, and of one of Poly1305. */
const BLOCK = 64;
const CHUNK = 16;
/** More than any datagram holds. */
const LARGEST_BODY = 65_536;
/** Of a body: zeros to a multiple of 16, and the two lengths. */
const BEHIND = 2 * CHUNK;
const SCRATCH = {
  /** Counter | salt | IV: one structure of 16 octets. */
  counter: 0,
  salt: 4,
  iv: 8,
  tag: 16,
  /** What `Poly1305_ctx_size` says is not more than 256. */
  poly1305: 64,
  block: 320,
  head: 320 + BLOCK - CHUNK,
  body: 320 + BLOCK,
  length: 320 + BLOCK + LARGEST_BODY + BEHIND,
} as const;
const TRIAL_KEY = new Uint8Array(32).fill(0x5a);
const TRIAL_SALT = new Uint8Array(4).fill(0xa5);
