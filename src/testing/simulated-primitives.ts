import { ApiMisuse } from '../core/bytes/index.ts';
import {
  type CipherKeys,
  encryption,
  encryptionKeyOctets,
  integrity,
  type PacketCipher,
  PRIMITIVES,
  type PrfTransform,
  type Primitives,
} from '../core/crypto/index.ts';

/**
 * Ciphers and PRFs with the ids, names and lengths of the real ones, and nothing of their strength: a sum of 64 bits that notices every
 * altered octet, and a stream that everybody can compute. What comes out depends on key, IV, what is authenticated and what is sealed,
 * as it does with the real ones; so a simulation that is about the order of things proves as much in a fraction of the time. For
 * `EndpointOptions.primitives`, on every end.
 */
export const simulatedPrimitives: Primitives = {
  prf(id) {
    const known = PRFS.get(id);
    if (known !== undefined) return known;
    const real = PRIMITIVES.prf(id);
    if (real === undefined) return undefined;
    const made: PrfTransform = { ...real, compute: (key, ...data) => pseudoRandom(key, data, real.outputLength) };
    PRFS.set(id, made);
    return made;
  },
  createPacketCipher(keys) {
    const shape = shapeOf(keys);
    // the real one does the few that are not simulated, and says what is wrong with keys that fit nothing
    return shape === undefined ? PRIMITIVES.createPacketCipher(keys) : new SimulatedCipher(shape, keys);
  },
};

type Shape = Pick<PacketCipher, 'ivLength' | 'icvLength' | 'blockLength' | 'ivKind'>;

/** Undefined for NULL, GMAC and implicit IVs, and for what cannot be negotiated. */
function shapeOf({ encryption: id, keyLength, encryptionKey, integrity: mac, integrityKey }: CipherKeys): Shape | undefined {
  const transform = encryption(id);
  if (transform === undefined || transform.mode === 'gmac' || !(transform.ivKind === 'counter' || transform.ivKind === 'random'))
    return undefined;
  if (encryptionKey.length !== encryptionKeyOctets(id, keyLength)) return undefined;
  const { ivLength, blockLength, ivKind } = transform;
  if (transform.aead) return mac ? undefined : { ivLength, icvLength: transform.icvLength, blockLength, ivKind };
  const beside = integrity(mac ?? 0);
  if (!beside?.forEsp || integrityKey?.length !== beside.keyLength) return undefined;
  return { ivLength, icvLength: beside.icvLength, blockLength, ivKind };
}

class SimulatedCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly ivKind: PacketCipher['ivKind'];
  /** What the keys come to, in its halves. */
  #a: number;
  #b: number;
  #destroyed = false;

  constructor({ ivLength, icvLength, blockLength, ivKind }: Shape, { encryptionKey, integrityKey }: CipherKeys) {
    this.ivLength = ivLength;
    this.icvLength = icvLength;
    this.blockLength = blockLength;
    this.ivKind = ivKind;
    SUM.begin(CIPHER, encryptionKey.length).add(encryptionKey, 0, encryptionKey.length);
    if (integrityKey !== undefined) SUM.add(integrityKey, 0, integrityKey.length);
    this.#a = SUM.a;
    this.#b = SUM.b;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    this.#encrypt(buffer, ivAt, ivAt + this.ivLength, end);
    write(this.#authenticate(buffer, start, headLength, end, esnHigh), buffer, end, end + this.icvLength);
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length || (bodyEnd - bodyAt) % this.blockLength !== 0) return -1;
    if (!isAt(this.#authenticate(buffer, start, headLength, bodyEnd, esnHigh), buffer, bodyEnd, end)) return -1;
    this.#encrypt(buffer, ivAt, bodyAt, bodyEnd);
    return bodyEnd;
  }

  destroy(): void {
    this.#a = 0;
    this.#b = 0;
    this.#destroyed = true;
  }

  /** Adds the stream of key and IV; adding it again takes it away. */
  #encrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void {
    const { a, b } = this.#begin().add(buffer, ivAt, bodyAt).end();
    let word = 0;
    for (let at = bodyAt, n = 0; at < end; at++, n++) {
      word = (n & 3) === 0 ? spread(a, b, n) : word >>> 8;
      buffer[at]! ^= word;
    }
  }

  /** What the ICV is of what stands from `start` to `end`, with the half of the sequence number that is not sent. */
  #authenticate(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh: number | undefined): Sum {
    const sum = this.#begin().word(headLength);
    if (esnHigh !== undefined) sum.word(esnHigh);
    return sum.add(buffer, start, end).end();
  }

  #begin(): Sum {
    if (this.#destroyed) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
    return SUM.begin(this.#a, this.#b);
  }
}

/** Of the parts in a row, wherever one ends and the next begins. */
function pseudoRandom(key: Uint8Array, data: readonly Uint8Array[], length: number): Uint8Array {
  SUM.begin(PRF, key.length).add(key, 0, key.length);
  for (let i = 0; i < data.length; i++) SUM.add(data[i]!, 0, data[i]!.length);
  return write(SUM.end(), new Uint8Array(length), 0, length);
}

/** 64 bits in two halves. Every octet changes them in a way that can be undone, so one that differs makes another sum. */
class Sum {
  a = 0;
  b = 0;
  #length = 0;

  begin(a: number, b: number): this {
    this.a = a;
    this.b = b;
    this.#length = 0;
    return this;
  }

  word(value: number): this {
    this.#step(value);
    return this;
  }

  add(data: Uint8Array, from: number, to: number): this {
    let { a, b } = this;
    for (let at = from; at < to; at++) {
      a = Math.imul(a ^ data[at]!, 0x9e37_79b1);
      a = (((a << 13) | (a >>> 19)) + b) | 0;
      b = (Math.imul(((b << 17) | (b >>> 15)) ^ a, 0x85eb_ca6b) + 1) | 0;
    }
    this.a = a;
    this.b = b;
    this.#length += to - from;
    return this;
  }

  /** The length goes in at the end, and what went in last reaches every bit. */
  end(): this {
    this.#step(this.#length);
    this.#step(0);
    return this;
  }

  #step(value: number): void {
    this.a = Math.imul(this.a ^ value, 0x9e37_79b1);
    this.a = (((this.a << 13) | (this.a >>> 19)) + this.b) | 0;
    this.b = (Math.imul(((this.b << 17) | (this.b >>> 15)) ^ this.a, 0x85eb_ca6b) + 1) | 0;
  }
}

/** Fills `data` from `from` to `to` with what both halves come to. */
function write({ a, b }: Sum, data: Uint8Array, from: number, to: number): Uint8Array {
  let word = 0;
  for (let at = from, n = 0; at < to; at++, n++) {
    word = (n & 3) === 0 ? spread(a, b, n) : word >>> 8;
    data[at] = word;
  }
  return data;
}

/** Whether that is what stands there. */
function isAt({ a, b }: Sum, data: Uint8Array, from: number, to: number): boolean {
  let word = 0;
  for (let at = from, n = 0; at < to; at++, n++) {
    word = (n & 3) === 0 ? spread(a, b, n) : word >>> 8;
    if (data[at] !== (word & 0xff)) return false;
  }
  return true;
}

/** The `n`-th 32 bits of an endless row: a Weyl sequence over one half, the other and the finaliser of MurmurHash3 on top. */
function spread(a: number, b: number, n: number): number {
  let z = (a + Math.imul(n + 1, 0x9e37_79b9)) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85eb_ca6b) + ((n & 4) === 0 ? b : ~b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2_ae35);
  return z ^ (z >>> 16);
}

/** Every sum is used up before the next one begins. */
const SUM = new Sum();
const PRFS = new Map<number, PrfTransform>();
const CIPHER = 0x243f_6a88;
const PRF = 0x1319_8a2e;
