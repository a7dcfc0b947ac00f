import { ApiMisuse } from '../../../core/bytes/index.ts';
import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { openEach, type PacketBurst, sealEach } from '../../../core/crypto/packet-burst.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { getI32, putU32 } from '../../../core/packet/index.ts';
import type { RunCalls } from './call-list.ts';
import { CHACHA_AT_ONCE, CHACHA_NAMES, CHACHA_PLACE, type ChachaAddresses, ChachaCalls } from './chacha-calls.ts';
import { EvpAead, writeIv } from './evp-aead.ts';
import { destroyed, requireRoom } from './evp-context.ts';
import { addressOf, type Native, type NativeBuffer } from './ffi.ts';
import type { KeyStore } from './key-store.ts';
import type { Evp } from './openssl.ts';
import { isDefaultProviders, sealsAs, worksOnBursts } from './provider.ts';

/**
 * ChaCha20-Poly1305 (RFC 8439 §2.8, RFC 7634) by the two functions that OpenSSL's default provider makes it of: no context, no look-up of
 * parameters, and a packet that is not authentic is never decrypted. As with AES-GCM they are called where `isDefaultProviders` allows it,
 * and after they have sealed and opened the same as EVP. Those of a burst are called from a list, as with AES-GCM.
 */
export class ProviderChacha {
  #shared: Shared;
  readonly #evp: Evp;
  /** Undefined until the first cipher is asked for. */
  #proven: boolean | undefined;

  /** Undefined where there is no such provider. */
  static find(native: Native, evp: Evp, keys: KeyStore, runner?: RunCalls): ProviderChacha | undefined {
    try {
      if (!isDefaultProviders(native, evp, 'ChaCha20-Poly1305')) return undefined;
      const functions = native.functions<ChachaFunctions>(PROTOTYPES);
      if (functions.Poly1305_ctx_size() > SCRATCH.block - SCRATCH.poly1305) return undefined;
      const scratch = native.allocate(SCRATCH.length);
      const calls = runner && callsOf(native, runner, scratch);
      return new ProviderChacha(evp, { functions, keys, scratch, head: scratch.octets.subarray(SCRATCH.head, SCRATCH.body), calls });
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
    this.#proven ??= this.#prove(transform, cipher);
    return this.#proven ? new BareChacha(this.#shared, transform, key, salt) : undefined;
  }

  #prove(transform: EncryptionTransform, cipher: number): boolean {
    const ours = (shared: Shared): PacketCipher => new BareChacha(shared, transform, TRIAL_KEY, TRIAL_SALT);
    const singly = { ...this.#shared, calls: undefined };
    if (!sealsAs(ours(singly), new EvpAead(this.#evp, transform, cipher, TRIAL_KEY, TRIAL_SALT))) return false;
    if (!worksOnBursts(ours(this.#shared), ours(singly))) this.#shared = singly;
    return true;
  }
}

function callsOf(native: Native, runner: RunCalls, { address }: NativeBuffer): ChachaCalls | undefined {
  const { dlsym } = native.functions<{ dlsym(everywhere: 0, name: string): number }>({
    dlsym: 'uintptr_t dlsym(uintptr_t everywhere, const char *name)',
  });
  const addresses = Object.fromEntries(CHACHA_NAMES.map((name) => [name, dlsym(0, name)])) as ChachaAddresses;
  if (CHACHA_NAMES.some((name) => addresses[name] === 0)) return undefined;
  const [poly1305, block, body, tag] = [SCRATCH.poly1305, SCRATCH.block, SCRATCH.body, SCRATCH.tag].map((at) => address + at);
  return new ChachaCalls(native, runner, addresses, { poly1305: poly1305!, block: block!, body: body!, tag: tag! });
}

interface Shared {
  readonly functions: ChachaFunctions;
  readonly keys: KeyStore;
  /** Laid out as `SCRATCH`. Nothing in it outlives the call that it was written for. */
  readonly scratch: NativeBuffer;
  /** `SCRATCH.head` of it. */
  readonly head: Uint8Array;
  /** Undefined where packets of a burst are sealed and opened one by one. */
  readonly calls: ChachaCalls | undefined;
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

  sealBurst(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
    const { calls, scratch } = this.#shared;
    const { starts, ends, count } = burst;
    const inFront = headLength + this.ivLength;
    let fit = isOneChunk(headLength, esn);
    for (let i = 0; i < count; i++) {
      requireRoom(buffer, starts[i]!, headLength, starts[i]! + inFront, ends[i]!, TAG);
      fit &&= ends[i]! - starts[i]! <= LARGEST_BODY;
    }
    if (calls === undefined || !fit) return sealEach(this, buffer, burst, headLength, esn);
    for (let from = 0; from < count; from += CHACHA_AT_ONCE) {
      const some = Math.min(CHACHA_AT_ONCE, count - from);
      for (let i = 0; i < some; i++) {
        const length = ends[from + i]! - starts[from + i]! - inFront;
        const key = this.#write(calls, i, buffer, burst, from + i, headLength, length, esn);
        calls.addToSeal(i, key, addressOf(buffer) + starts[from + i]! + inFront, length);
      }
      calls.seal(some);
    }
    // the last one-time key
    scratch.octets.fill(0, SCRATCH.block, SCRATCH.body);
  }

  openBurst(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
    const { calls, scratch } = this.#shared;
    const { starts, ends, opened, count } = burst;
    const inFront = headLength + this.ivLength;
    let fit = isOneChunk(headLength, esn);
    for (let i = 0; i < count; i++) {
      const length = ends[i]! - starts[i]!;
      fit &&= starts[i]! >= 0 && length >= inFront + TAG && length <= LARGEST_BODY && ends[i]! <= buffer.length;
    }
    if (calls === undefined || !fit) return openEach(this, buffer, burst, headLength, esn);
    for (let from = 0; from < count; from += CHACHA_AT_ONCE) {
      const some = Math.min(CHACHA_AT_ONCE, count - from);
      for (let i = 0; i < some; i++) {
        const length = ends[from + i]! - starts[from + i]! - inFront - TAG;
        const key = this.#write(calls, i, buffer, burst, from + i, headLength, length, esn);
        calls.addToOpen(i, key, addressOf(buffer) + starts[from + i]! + inFront, length);
        opened[from + i] = ends[from + i]! - TAG;
      }
      for (let i = calls.open(0, some); i < some; i = calls.open(i + 1, some)) opened[from + i] = -1;
    }
    scratch.octets.fill(0, SCRATCH.block, SCRATCH.body);
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

  /** Counters, head and lengths (RFC 8439 §2.8) of a packet of a burst, to place `i`. @returns the address of the key */
  #write(
    { places }: ChachaCalls,
    i: number,
    buffer: Uint8Array,
    { starts, highs }: PacketBurst,
    packet: number,
    headLength: number,
    length: number,
    esn: boolean,
  ): number {
    if (this.#place < 0) throw destroyed();
    const { octets, u32 } = places;
    const start = starts[packet]!;
    const high = esn ? highs[packet]! : undefined;
    const at = i * CHACHA_PLACE.size;
    const word = at >> 2;
    u32[word] = 0;
    putU32(octets, at + CHACHA_PLACE.counter + 4, this.#salt);
    writeIv(octets, at + CHACHA_PLACE.counter + 8, this.ivKind, buffer, start, start + headLength, high);
    u32[word + (CHACHA_PLACE.counterOfBody >> 2)] = 1;
    for (let k = 1; k < 4; k++) u32[word + (CHACHA_PLACE.counterOfBody >> 2) + k] = u32[word + k]!;
    const head = at + CHACHA_PLACE.head;
    octets.fill(0, head, head + CHUNK);
    if (high !== undefined) esnHead(octets, buffer, start, high, head);
    else for (let k = 0; k < headLength; k++) octets[head + k] = buffer[start + k]!;
    u32[word + (CHACHA_PLACE.lengths >> 2)] = esn ? ESN_HEAD : headLength;
    u32[word + (CHACHA_PLACE.lengths >> 2) + 2] = length;
    return this.#shared.keys.address(this.#place);
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

/** What is authenticated only, as lists have it. */
const isOneChunk = (headLength: number, esn: boolean): boolean => headLength > 0 && (esn || headLength <= CHUNK);

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
