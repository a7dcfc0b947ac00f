/** Where the bitmap of one replay window stands. */
export interface Ring {
  readonly words: Uint32Array;
  /** Index of its first word. */
  readonly at: number;
}

/** The bitmaps of many replay windows side by side: memory of its own for each would take three times the room. */
export class ReplayRings {
  /** Given back, by their length. */
  readonly #free = new Map<number, Ring[]>();

  /** Zeroed. */
  take(length: number): Ring {
    const free = this.#free.get(length) ?? [];
    this.#free.set(length, free);
    if (free.length === 0) {
      const words = new Uint32Array(length * Math.max(1, Math.floor(WORDS / length)));
      for (let at = words.length - length; at >= 0; at -= length) free.push({ words, at });
    }
    return free.pop()!;
  }

  giveBack(ring: Ring, length: number): void {
    ring.words.fill(0, ring.at, ring.at + length);
    this.#free.get(length)?.push(ring);
  }
}

/** That are made at once. */
const WORDS = 4096;
