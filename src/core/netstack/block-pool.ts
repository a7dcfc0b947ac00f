/** Octets of one block of buffer memory. */
export const BLOCK = 16384;

/** The memory of all TCP buffers of a stack, in blocks, with one bound over all of them. */
export class BlockPool {
  readonly #limit: number;
  readonly #free: Uint8Array[] = [];
  #used = 0;

  /** @param octets that all buffers together may hold. */
  constructor(octets: number) {
    this.#limit = Math.max(1, Math.floor(octets / BLOCK));
  }

  /** Octets in use. */
  get used(): number {
    return this.#used * BLOCK;
  }

  /** A block with whatever is in it; undefined when the bound is reached. */
  take(): Uint8Array | undefined {
    if (this.#used >= this.#limit) return undefined;
    this.#used++;
    return this.#free.pop() ?? new Uint8Array(BLOCK);
  }

  give(block: Uint8Array): void {
    this.#used--;
    if (this.#free.length < KEPT_BLOCKS) this.#free.push(block);
  }
}

/** Blocks that stay at hand instead of going back to the collector: 16 MiB, what the largest buffer of one connection holds. */
const KEPT_BLOCKS = 1024;
