import { DataPlaneError } from '../../../core/bytes/index.ts';

/** Who works with a context. */
export interface Borrower {
  /** Its address; 0 while the borrower has none. */
  context: number;
}

/**
 * Contexts of one kind, of which there are few: whoever asks for one more takes that of the borrower who has had its own for the longest
 * time. A context takes as much memory as everything else that an SA needs, and to give it another key costs little beside a packet.
 */
export class LentContexts {
  readonly #make: () => number;
  readonly #free: (context: number) => void;
  readonly #most: number;
  readonly #borrowers: Borrower[] = [];
  /** Whose turn it is. */
  #next = 0;

  /** @param free wipes it, too */
  constructor(make: () => number, free: (context: number) => void, most: number) {
    this.#make = make;
    this.#free = free;
    this.#most = most;
  }

  /** Gives a context to one that has none. It may hold another's key. @throws DataPlaneError `OUT_OF_MEMORY` */
  lend(to: Borrower): void {
    if (this.#borrowers.length < this.#most) {
      to.context = this.#make();
      if (to.context === 0) throw new DataPlaneError('OpenSSL has no memory left for a cipher', { code: 'OUT_OF_MEMORY' });
      this.#borrowers.push(to);
      return;
    }
    const from = this.#borrowers[this.#next]!;
    this.#borrowers[this.#next] = to;
    this.#next = (this.#next + 1) % this.#most;
    to.context = from.context;
    from.context = 0;
  }

  /** Takes the context back, for good. */
  end(from: Borrower): void {
    if (from.context === 0) return;
    this.#free(from.context);
    from.context = 0;
    this.#borrowers.splice(this.#borrowers.indexOf(from), 1);
    if (this.#next >= this.#borrowers.length) this.#next = 0;
  }
}
