import { equalBytes, writeU32 } from '../bytes/bytes.ts';
import type { PrfTransform } from './transforms.ts';

/** Keys that a solution consists of (RFC 8019 §7.1.3). */
const KEYS = 4;

/** Looks for keys under which the PRF of `octets` ends in so many zero bits (RFC 8019 §7.1.3), a part of the way at a time. */
export class PuzzleSearch {
  readonly #prf: PrfTransform;
  readonly #difficulty: number;
  readonly #octets: Uint8Array;
  readonly #key: Uint8Array;
  readonly #solution: Uint8Array;
  #next = 0;
  #found = 0;

  constructor(prf: PrfTransform, difficulty: number, octets: Uint8Array) {
    this.#prf = prf;
    this.#difficulty = difficulty;
    this.#octets = octets;
    this.#key = new Uint8Array(prf.fixedKeyLength ? prf.keyLength : COUNTER);
    this.#solution = new Uint8Array(KEYS * this.#key.length);
  }

  /** @returns the solution as soon as it is whole; undefined when `tries` keys were not enough */
  run(tries: number): Uint8Array | undefined {
    const key = this.#key;
    for (let left = tries; left > 0 && this.#next < MOST_TRIED; left--) {
      writeU32(key, key.length - COUNTER, this.#next++);
      if (trailingZeros(this.#prf.compute(key, this.#octets)) < this.#difficulty) continue;
      this.#solution.set(key, this.#found * key.length);
      if (++this.#found === KEYS) return this.#solution;
    }
    return undefined;
  }

  /** No key of this length is left: there is no solution. */
  get exhausted(): boolean {
    return this.#next >= MOST_TRIED;
  }
}

/** Four different keys of one size that the PRF takes, each of which solves it (RFC 8019 §7.1.4, §8.2): four times the PRF at most. */
export function isPuzzleSolution(solution: Uint8Array, prf: PrfTransform, difficulty: number, octets: Uint8Array): boolean {
  const length = solution.length / KEYS;
  const fits = prf.fixedKeyLength ? length === prf.keyLength : Number.isInteger(length) && length >= 1 && length <= prf.keyLength;
  if (!fits) return false;
  const keys = Array.from({ length: KEYS }, (_, i) => solution.subarray(i * length, (i + 1) * length));
  if (keys.some((key, i) => keys.slice(0, i).some((other) => equalBytes(key, other)))) return false;
  return keys.every((key) => trailingZeros(prf.compute(key, octets)) >= difficulty);
}

function trailingZeros(octets: Uint8Array): number {
  let at = octets.length - 1;
  while (at >= 0 && octets[at] === 0) at--;
  if (at < 0) return 8 * octets.length;
  const last = octets[at]!;
  return 8 * (octets.length - 1 - at) + (31 - Math.clz32(last & -last));
}

/** Octets of a key that are counted up. */
const COUNTER = 4;
const MOST_TRIED = 2 ** 32;
