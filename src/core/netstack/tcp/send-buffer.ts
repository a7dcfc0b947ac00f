import { BLOCK, type BlockPool, Share } from '../block-pool.ts';

/**
 * What the application wrote and the peer has not acknowledged, in blocks. Octets are copied in once, and out once per segment that
 * carries them. Offsets count from the oldest octet.
 */
export class SendBuffer {
  readonly #pool: BlockPool;
  readonly #blocks: Uint8Array[] = [];
  /** Offset of the oldest octet in the first block. */
  #head = 0;
  length = 0;

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  /** Copies up to `limit` octets from the front of `data`. @returns how many; fewer when memory is short. */
  append(data: Uint8Array, limit: number): number {
    const wanted = Math.min(data.length, limit);
    let taken = 0;
    while (taken < wanted) {
      const at = this.#head + this.length;
      const index = (at / BLOCK) | 0;
      const within = at - index * BLOCK;
      let block = this.#blocks[index];
      if (block === undefined) {
        block = this.#pool.take(index === 0 ? Share.FIRST_WRITTEN : Share.WRITTEN);
        if (block === undefined) break;
        this.#blocks.push(block);
      }
      const size = Math.min(BLOCK - within, wanted - taken);
      block.set(size === data.length ? data : data.subarray(taken, taken + size), within);
      taken += size;
      this.length += size;
    }
    return taken;
  }

  /** Copies `[offset, offset + length)`, which must be there, to `into` at `at`. */
  copy(offset: number, length: number, into: Uint8Array, at: number): void {
    let from = this.#head + offset;
    let to = at;
    const end = at + length;
    while (to < end) {
      const index = (from / BLOCK) | 0;
      const within = from - index * BLOCK;
      const size = Math.min(BLOCK - within, end - to);
      into.set(this.#blocks[index]!.subarray(within, within + size), to);
      from += size;
      to += size;
    }
  }

  /** Forgets the oldest octets. */
  drop(octets: number): void {
    this.#head += octets;
    this.length -= octets;
    while (this.#head >= BLOCK) {
      this.#pool.give(this.#blocks.shift()!);
      this.#head -= BLOCK;
    }
    if (this.length === 0) this.clear();
  }

  clear(): void {
    for (const block of this.#blocks) this.#pool.give(block);
    this.#blocks.length = 0;
    this.#head = 0;
    this.length = 0;
  }
}
