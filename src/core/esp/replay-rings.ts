/** Where the bitmap of one replay window stands. */
export interface Ring {
  readonly words: Uint32Array;
  /** Index of its first word. */
  readonly at: number;
}

/** Of one length: those given back, and where the next new one stands. */
interface Stock {
  readonly free: Ring[];
  words: Uint32Array;
  at: number;
}

/** The bitmaps of many replay windows side by side: memory of its own for each would take three times the room. */
export class ReplayRings {
  /** By their length. */
  readonly #stocks = new Map<number, Stock>();

  /** Zeroed. */
  take(length: number): Ring {
    const stock = this.#stockOf(length);
    const again = stock.free.pop();
    if (again !== undefined) return again;
    if (stock.at + length > stock.words.length) {
      const words = Math.min(WORDS, Math.max(FIRST_WORDS, 2 * stock.words.length));
      stock.words = new Uint32Array(length * Math.max(1, Math.floor(words / length)));
      stock.at = 0;
    }
    const { words, at } = stock;
    stock.at += length;
    return { words, at };
  }

  giveBack(ring: Ring, length: number): void {
    ring.words.fill(0, ring.at, ring.at + length);
    this.#stockOf(length).free.push(ring);
  }

  #stockOf(length: number): Stock {
    let stock = this.#stocks.get(length);
    if (stock === undefined) {
      stock = { free: [], words: NO_WORDS, at: 0 };
      this.#stocks.set(length, stock);
    }
    return stock;
  }
}

const NO_WORDS = new Uint32Array(0);
/** That are made at once, for the first few windows and for many. */
const FIRST_WORDS = 256;
const WORDS = 4096;
