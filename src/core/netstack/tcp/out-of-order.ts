import { seqGe, seqGt, seqLe, seqLt } from './seq.ts';

/**
 * Which ranges of the stream arrived beyond RCV.NXT, the most recent first: the order in which SACK blocks are reported (RFC 2018
 * §4). Ranges never touch one another.
 */
export class OutOfOrder {
  // Made when they are first needed: most connections never are out of order.
  #left = NONE;
  #right = NONE;
  count = 0;

  /** Where the gap begins and ends that `nextGap` found. */
  gapLeft = 0;
  gapRight = 0;

  /** @returns false when there are too many ranges already: the segment has to be dropped. */
  hasRoom(left: number, right: number): boolean {
    if (this.count < MAX_RANGES) return true;
    for (let i = 0; i < this.count; i++) if (seqLe(this.#left[i]!, right) && seqGe(this.#right[i]!, left)) return true;
    return false;
  }

  /** There has to be room. */
  add(left: number, right: number): void {
    let from = left;
    let to = right;
    for (let i = 0; i < this.count; ) {
      if (seqGt(this.#left[i]!, to) || seqLt(this.#right[i]!, from)) {
        i++;
        continue;
      }
      if (seqLt(this.#left[i]!, from)) from = this.#left[i]!;
      if (seqGt(this.#right[i]!, to)) to = this.#right[i]!;
      this.#remove(i);
      // What grew may now touch a range that was passed over.
      i = 0;
    }
    if (this.#left === NONE) {
      this.#left = new Int32Array(MAX_RANGES);
      this.#right = new Int32Array(MAX_RANGES);
    }
    this.#left.copyWithin(1, 0, this.count);
    this.#right.copyWithin(1, 0, this.count);
    this.#left[0] = from;
    this.#right[0] = to;
    this.count++;
  }

  /** The first part of `[from, to)` that did not arrive yet. @returns false when there is none */
  nextGap(from: number, to: number): boolean {
    this.gapLeft = from;
    // Ranges do not touch: behind the one that holds `from` there is a gap.
    for (let i = 0; i < this.count; i++) if (seqLe(this.#left[i]!, from) && seqGt(this.#right[i]!, from)) this.gapLeft = this.#right[i]!;
    this.gapRight = to;
    for (let i = 0; i < this.count; i++)
      if (seqGt(this.#left[i]!, this.gapLeft) && seqLt(this.#left[i]!, this.gapRight)) this.gapRight = this.#left[i]!;
    return seqLt(this.gapLeft, to);
  }

  /** How far the stream is whole from `next` on; takes out the ranges it runs over. */
  advance(next: number): number {
    let reached = next;
    for (let i = 0; i < this.count; ) {
      if (seqGt(this.#left[i]!, reached)) {
        i++;
        continue;
      }
      if (seqGt(this.#right[i]!, reached)) reached = this.#right[i]!;
      this.#remove(i);
      i = 0;
    }
    return reached;
  }

  /** True when `[left, right)` arrived already. */
  covers(left: number, right: number): boolean {
    for (let i = 0; i < this.count; i++) if (seqLe(this.#left[i]!, left) && seqGe(this.#right[i]!, right)) return true;
    return false;
  }

  left(index: number): number {
    return this.#left[index]!;
  }

  right(index: number): number {
    return this.#right[index]!;
  }

  clear(): void {
    this.count = 0;
  }

  #remove(index: number): void {
    this.#left.copyWithin(index, index + 1, this.count);
    this.#right.copyWithin(index, index + 1, this.count);
    this.count--;
  }
}

/** Holes that are kept apart at once. More means that nearly everything is lost, or that somebody plays. */
const MAX_RANGES = 128;
const NONE = new Int32Array(0);
