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

  /** A block with whatever is in it; undefined when the bound is reached. @param share of all memory that this use may fill, see `Share` */
  take(share: number): Uint8Array | undefined {
    if (this.#used >= Math.max(1, this.#limit * share)) return undefined;
    this.#used++;
    return this.#free.pop() ?? new Uint8Array(BLOCK);
  }

  give(block: Uint8Array): void {
    this.#used--;
    if (this.#free.length < KEPT_BLOCKS) this.#free.push(block);
  }
}

/**
 * Ours: up to where of all memory a buffer may take more. A peer that leaves holes, or never reads what it asked for, fills what is meant for
 * that, and text of others that is in order still finds room.
 */
export const Share = {
  /** Text beyond a hole: whoever sent it keeps it until it is acknowledged (RFC 2018 §8). */
  OUT_OF_ORDER: 1 / 2,
  WRITTEN: 3 / 4,
  /** The first block that a connection writes. */
  FIRST_WRITTEN: 7 / 8,
  IN_ORDER: 1,
} as const;

/** Blocks that stay at hand instead of going back to the collector: 16 MiB, what the largest buffer of one connection holds. */
const KEPT_BLOCKS = 1024;
