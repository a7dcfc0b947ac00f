/**
 * Memory that many short octet strings share. One by itself takes some 190 octets besides what is in it, and 400 where V8 keeps it outside of
 * its heap; a view of what others share takes half of the former. For what lives as long as an SA: a block goes when nothing in it is used
 * any more. None of it may be posted to a thread without a copy, which would take the whole block along.
 */
export class OctetPool {
  #block = new Uint8Array(0);
  #used = 0;

  /** A copy, one behind the other. */
  keep(...parts: readonly Uint8Array[]): Uint8Array {
    let length = 0;
    for (const part of parts) length += part.length;
    if (length > this.#block.length - this.#used) {
      this.#block = new Uint8Array(Math.max(BLOCK, length));
      this.#used = 0;
    }
    const start = this.#used;
    for (const part of parts) {
      this.#block.set(part, this.#used);
      this.#used += part.length;
    }
    return this.#block.subarray(start, this.#used);
  }
}

/** Octets: of a few dozen SAs, so that what one that stays long keeps of others that went is not worth much. */
const BLOCK = 4096;
