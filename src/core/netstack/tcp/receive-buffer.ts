import { BLOCK, type BlockPool } from '../block-pool.ts';

/**
 * Text that arrived, at its place in the stream: first what is in order and waits for the application (`readable`), behind it what came
 * too early. The receive window bounds both.
 */
export class ReceiveBuffer {
  readonly #pool: BlockPool;
  /** Blocks are taken when something lands in them: a hole costs nothing. */
  readonly #blocks: (Uint8Array | undefined)[] = [];
  #head = 0;
  /** Octets in order. */
  readable = 0;

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  /**
   * Copies `data[start, end)` to `offset` octets behind the end of what is in order.
   * @param share of all memory, see `Share`
   * @returns false when memory is short: nothing was changed then that anybody can see.
   */
  place(offset: number, data: Uint8Array, start: number, end: number, share: number): boolean {
    let to = this.#head + this.readable + offset;
    let from = start;
    while (from < end) {
      const index = (to / BLOCK) | 0;
      const within = to - index * BLOCK;
      while (this.#blocks.length <= index) this.#blocks.push(undefined);
      let block = this.#blocks[index];
      if (block === undefined) {
        block = this.#pool.take(share);
        if (block === undefined) return false;
        this.#blocks[index] = block;
      }
      const size = Math.min(BLOCK - within, end - from);
      block.set(data.subarray(from, from + size), within);
      from += size;
      to += size;
    }
    return true;
  }

  /** So many octets more are in order; they were placed before. */
  advance(octets: number): void {
    this.readable += octets;
  }

  /** Moves octets in order to `into`. @returns how many. */
  read(into: Uint8Array): number {
    const length = Math.min(into.length, this.readable);
    let done = 0;
    while (done < length) {
      const block = this.#blocks[0]!;
      const size = Math.min(BLOCK - this.#head, length - done);
      into.set(block.subarray(this.#head, this.#head + size), done);
      done += size;
      this.#consume(size);
    }
    return length;
  }

  clear(): void {
    for (const block of this.#blocks) if (block !== undefined) this.#pool.give(block);
    this.#blocks.length = 0;
    this.#head = 0;
    this.readable = 0;
  }

  /** @param outOfOrder whether anything lies behind what is in order. */
  releaseWhenEmpty(outOfOrder: boolean): void {
    if (this.readable === 0 && !outOfOrder) this.clear();
  }

  #consume(octets: number): void {
    this.#head += octets;
    this.readable -= octets;
    if (this.#head < BLOCK) return;
    const block = this.#blocks.shift();
    if (block !== undefined) this.#pool.give(block);
    this.#head -= BLOCK;
  }
}
