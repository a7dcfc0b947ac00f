import type { ReplayRings, Ring } from './replay-rings.ts';

/**
 * Anti-replay window (RFC 4303 §3.4.3) as a ring of bitmap blocks (RFC 6479): moving it forward clears whole blocks instead of
 * shifting bits. Sequence numbers are 64 bits in two halves, so that all arithmetic stays exact; without ESN the high half is 0.
 */
export class ReplayWindow {
  /** Sequence numbers that may lie behind the newest one, itself included; 0 turns the check off. */
  readonly size: number;
  /** Made with the first packet: until then nothing lies behind the newest number. */
  #words: Uint32Array = NO_WORDS;
  /** Index of its first one. */
  #first = 0;
  readonly #rings: ReplayRings | undefined;
  readonly #mask: number;
  #high = 0;
  #low = 0;

  /**
   * @param size a number of packets; any, up to 2^20
   * @param rings what gives it its memory, which goes back by `release`; its own unless given
   */
  constructor(size = DEFAULT_REPLAY_WINDOW, rings?: ReplayRings) {
    this.#rings = rings;
    this.size = Math.max(0, Math.min(Math.floor(size), LARGEST_REPLAY_WINDOW));
    // RFC 6479 §3: one block more than the window needs, so that the oldest block can be cleared while it is still partly inside.
    let blocks = 1;
    while (blocks * BITS < this.size + BITS) blocks *= 2;
    this.#mask = blocks - 1;
  }

  /** Newest sequence number that was accepted. */
  get topHigh(): number {
    return this.#high;
  }

  get topLow(): number {
    return this.#low;
  }

  /** Whether this sequence number would be accepted: neither too old nor seen. Changes nothing. */
  check(high: number, low: number): boolean {
    // RFC 4303 §3.3.3: the first packet carries 1; a zero never stands on the wire but as the low half of an extended number.
    if (high === 0 && low === 0) return false;
    if (this.size === 0) return true;
    const ahead = this.#ahead(high, low);
    if (ahead > 0) return true;
    if (-ahead >= this.size) return false;
    return (this.#words[this.#at(low >>> SHIFT)]! & (1 << (low & 31))) === 0;
  }

  /**
   * Which 2^32 the low half of an extended sequence number belongs to, seen from the window (RFC 4303 appendix A2.2, RFC 4302 appendix B2.2); -1
   * for one before the first. Without a check the default width decides.
   */
  inferHigh(low: number): number {
    const bottom = this.#low - (this.size || DEFAULT_REPLAY_WINDOW) + 1;
    if (bottom >= 0) return low >= bottom ? this.#high : this.#high + 1;
    return low >= bottom + 2 ** 32 ? this.#high - 1 : this.#high;
  }

  /** Marks a sequence number as seen; only after its packet proved authentic, and only one that `check` let through. */
  update(high: number, low: number): void {
    if (this.#words === NO_WORDS) this.#takeRing();
    const ahead = this.#ahead(high, low);
    if (ahead > 0) {
      this.#advance(ahead, low);
      this.#high = high;
      this.#low = low;
    }
    if (this.size > 0) this.#words[this.#at(low >>> SHIFT)]! |= 1 << (low & 31);
  }

  /** Puts the right edge to this number with everything up to it counted as seen: after a restart, which must not accept old packets. */
  restore(high: number, low: number): void {
    this.#high = high;
    this.#low = low;
    if (this.#words === NO_WORDS) this.#takeRing();
    const words = this.#words;
    words.fill(0xffffffff, this.#first, this.#first + this.#mask + 1);
    // The blocks ahead of the edge are cleared when the window reaches them; of the edge's own block, the numbers beyond it are new.
    words[this.#at(low >>> SHIFT)] = 0xffffffff >>> (31 - (low & 31));
  }

  /** Takes nothing any more up to this number, as `restore`; unless the right edge is beyond it already. */
  closeUpTo(high: number, low: number): void {
    if (this.#ahead(high, low) > 0) this.restore(high, low);
  }

  /** Done with: its memory serves another one. */
  release(): void {
    if (this.#words !== NO_WORDS) this.#rings?.giveBack({ words: this.#words, at: this.#first }, this.#mask + 1);
    this.#words = NO_WORDS;
  }

  #takeRing(): void {
    const length = this.#mask + 1;
    const { words, at }: Ring = this.#rings?.take(length) ?? { words: new Uint32Array(length), at: 0 };
    this.#words = words;
    this.#first = at;
  }

  /** Index of a block by its number. */
  #at(block: number): number {
    return this.#first + (block & this.#mask);
  }

  /** How far beyond the newest number; exact where it matters, and of the right sign everywhere. */
  #ahead(high: number, low: number): number {
    return (high - this.#high) * 2 ** 32 + (low - this.#low);
  }

  #advance(ahead: number, low: number): void {
    const from = this.#low >>> SHIFT;
    // Blocks entered; across a wrap of the low half too, since the ring's length divides 2^27.
    const blocks = this.#mask + 1;
    const entered = ahead >= blocks * BITS + BITS ? blocks : Math.min(blocks, ((low >>> SHIFT) - from) & BLOCK_NUMBER_MASK);
    for (let i = 1; i <= entered; i++) this.#words[this.#at(from + i)] = 0;
  }
}

/** RFC 4303 §3.4.3 asks for 32 and suggests 64; fast links reorder more. */
export const DEFAULT_REPLAY_WINDOW = 1024;
export const LARGEST_REPLAY_WINDOW = 2 ** 20;
const NO_WORDS = new Uint32Array(0);
const BITS = 32;
const SHIFT = 5;
const BLOCK_NUMBER_MASK = 2 ** 27 - 1;
