import { utf8 } from '../core/bytes/index.ts';
import type { RandomSource } from '../core/crypto/random.ts';

/**
 * A small repeatable generator: xoshiro128** 1.1 (Blackman and Vigna), its state filled by SplitMix32 from a hash of seed and label. Good
 * statistics, 2^128 − 1 period, no cryptographic strength: it drives simulations, never keys that protect anything.
 */
export class SeededRandom {
  readonly seed: number | string;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Equal seeds give equal streams on every platform. `label` selects an independent stream of the same seed. */
  constructor(seed: number | string, label = '') {
    this.seed = seed;
    const start = hash(`${seed}\0${label}`);
    this.#a = splitMix(start, 1);
    this.#b = splitMix(start, 2);
    this.#c = splitMix(start, 3);
    this.#d = splitMix(start, 4);
    // xoshiro must not start from all zero.
    if ((this.#a | this.#b | this.#c | this.#d) === 0) this.#a = 1;
  }

  /** Uniform 32 bits. */
  u32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotateLeft(this.#d, 11);
    return result;
  }

  /** Uniform in [0, 1), 32 bits fine. */
  fraction(): number {
    return this.u32() / 0x1_0000_0000;
  }

  /** Uniform whole number in [low, high], both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  /** True with this probability; 0 is never, 1 always. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  bytes(length: number): Uint8Array {
    const data = new Uint8Array(length);
    for (let i = 0; i < length; i += 4) {
      const word = this.u32();
      for (let k = 0; k < 4 && i + k < length; k++) data[i + k] = word >>> (8 * k);
    }
    return data;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.between(0, items.length - 1)]!;
  }

  /** A copy of `items` in random order (Fisher and Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const k = this.between(0, i);
      [copy[i], copy[k]] = [copy[k]!, copy[i]!];
    }
    return copy;
  }

  /** An independent stream of the same seed; asking for one draws nothing from this one. */
  stream(label: string): SeededRandom {
    return new SeededRandom(this.seed, label);
  }
}

/** What a test puts in place of the seeded draws of one label: values in order, or a function; `undefined` leaves a draw as it was. */
export type Script<T, Args extends readonly unknown[]> = readonly (T | undefined)[] | ((...args: Args) => T | undefined);

export interface RandomScript {
  readonly nonces?: Script<Uint8Array, [length: number]>;
  readonly ikeSpis?: Script<Uint8Array, []>;
  readonly childSpis?: Script<number, []>;
  readonly cbcIvs?: Script<Uint8Array, [length: number]>;
  readonly keySeeds?: Script<Uint8Array, [method: number, length: number]>;
  readonly jitters?: Script<number, []>;
  readonly secrets?: Script<Uint8Array, [length: number]>;
}

/**
 * A `RandomSource` that replays. Every label draws from a stream of its own, and a scripted draw still consumes the seeded one, so scripting
 * one nonce changes that nonce and nothing else.
 */
export function scriptedRandom(seed: number | string, script: RandomScript = {}): RandomSource {
  const stream = (label: string): SeededRandom => new SeededRandom(seed, label);
  const nonces = stream('nonce');
  const ikeSpis = stream('ikeSpi');
  const childSpis = stream('childSpi');
  const cbcIvs = stream('cbcIv');
  const keySeeds = stream('keySeed');
  const jitters = stream('jitter');
  const secrets = stream('secret');
  return {
    nonce: scripted(script.nonces, (length: number) => nonces.bytes(length)),
    ikeSpi: scripted(script.ikeSpis, () => notZero(ikeSpis.bytes(8))),
    childSpi: scripted(script.childSpis, () => childSpis.between(LOWEST_CHILD_SPI, 0xffff_ffff)),
    cbcIv: scripted(script.cbcIvs, (length: number) => cbcIvs.bytes(length)),
    keySeed: scripted(script.keySeeds, (_method: number, length: number) => keySeeds.bytes(length)),
    jitter: scripted(script.jitters, () => jitters.fraction()),
    secret: scripted(script.secrets, (length: number) => secrets.bytes(length)),
  };
}

function scripted<T, Args extends readonly unknown[]>(
  script: Script<T, Args> | undefined,
  draw: (...args: Args) => T,
): (...args: Args) => T {
  if (script === undefined) return draw;
  if (typeof script === 'function') {
    return (...args) => {
      const seeded = draw(...args);
      return script(...args) ?? seeded;
    };
  }
  let next = 0;
  return (...args) => {
    const seeded = draw(...args);
    return script[next++] ?? seeded;
  };
}

function notZero(spi: Uint8Array): Uint8Array {
  if (spi.every((octet) => octet === 0)) spi[7] = 1;
  return spi;
}

/** FNV-1a over the octets of UTF-8, 32 bits. Most streams have a name in ASCII, whose letters are those octets. */
function hash(text: string): number {
  let h = FNV_START;
  for (let i = 0; i < text.length; i++) {
    const letter = text.charCodeAt(i);
    if (letter > 0x7f) return utf8(text).reduce((sum, octet) => Math.imul(sum ^ octet, FNV_PRIME) >>> 0, FNV_START);
    h = Math.imul(h ^ letter, FNV_PRIME) >>> 0;
  }
  return h;
}

/** The n-th output of SplitMix32 (Weyl sequence, then the finaliser of MurmurHash3). */
function splitMix(start: number, n: number): number {
  let z = (start + Math.imul(n, 0x9e3779b9)) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return z ^ (z >>> 16);
}

const rotateLeft = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits));

const FNV_START = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;
/** RFC 4303 §2.1: 0 to 255 are reserved. */
const LOWEST_CHILD_SPI = 256;
