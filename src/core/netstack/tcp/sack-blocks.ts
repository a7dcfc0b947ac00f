import { seqGe, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/** SACK blocks of the last acknowledgment, so that only what is new in the next one is walked. */
export class SeenBlocks {
  /** What `isNew` found of a block. */
  from = 0;
  to = 0;
  #seen = new Int32Array(2 * BLOCKS);
  #coming = new Int32Array(2 * BLOCKS);
  #seenCount = 0;
  #comingCount = 0;

  /** A block that counts. @returns whether some of it was not there before: `from` to `to` */
  isNew(left: number, right: number): boolean {
    let [from, to] = [left, right];
    for (let i = 0; i < this.#seenCount; i++) {
      const seenLeft = this.#seen[2 * i]!;
      const seenRight = this.#seen[2 * i + 1]!;
      if (seqLe(seenLeft, from) && seqLt(from, seenRight)) from = seqMin(seenRight, to);
      if (seqGe(seenRight, to) && seqLt(seenLeft, to)) to = seqMax(seenLeft, from);
    }
    this.from = from;
    this.to = to;
    this.#coming[2 * this.#comingCount] = left;
    this.#coming[2 * this.#comingCount++ + 1] = right;
    return seqLt(from, to);
  }

  /** These were all of this acknowledgment. */
  turn(): void {
    [this.#seen, this.#coming] = [this.#coming, this.#seen];
    this.#seenCount = this.#comingCount;
    this.#comingCount = 0;
  }

  clear(): void {
    this.#seenCount = 0;
  }
}

/** RFC 2883 §4: the first block lies below the cumulative acknowledgment, or within the second. */
export function isDsack(edges: Int32Array, blocks: number, una: number): boolean {
  if (blocks === 0) return false;
  if (seqLt(edges[0]!, una)) return true;
  return blocks > 1 && seqGe(edges[0]!, edges[2]!) && seqLe(edges[1]!, edges[3]!);
}

/** RFC 2018 §3: an option has room for no more. */
const BLOCKS = 4;
