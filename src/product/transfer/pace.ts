import { sleep, type Timing } from './timing.ts';

/** Lets so many octets a second pass, over all connections that share it, in the order in which they ask. */
export class Pace {
  readonly #timing: Timing;
  /** Octets in a millisecond. */
  readonly #rate: number;
  readonly #slice: number;
  /** When all that was let pass has taken its time. */
  #due = Number.NEGATIVE_INFINITY;

  /** @param rate octets a second, `SLOWEST` at least */
  constructor(rate: number, timing: Timing) {
    this.#timing = timing;
    this.#rate = rate / 1000;
    this.#slice = Math.ceil(this.#rate * SLICE);
  }

  /** Hands the octets on in slices, each when it may pass: even a slow connection is never silent for long. */
  async *pieces(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < chunk.length; at += this.#slice) {
      const piece = chunk.subarray(at, at + this.#slice);
      const now = this.#timing.now();
      const turn = Math.max(this.#due, now - CATCH_UP);
      this.#due = turn + piece.length / this.#rate;
      if (turn - now > SHORTEST_WAIT) await sleep(this.#timing, turn - now);
      yield piece;
    }
  }

  /** The same for all that comes from a source, which is read no faster. */
  async *paced(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) yield* this.pieces(chunk);
  }

  /** Connections that each move often enough at this rate to be told from lost ones. */
  connections(wanted: number): number {
    return Math.max(1, Math.min(wanted, Math.floor((this.#rate * 1000) / SLOWEST)));
  }
}

/** Octets a second; at less the other end takes a connection for lost. */
export const SLOWEST = 16 * 1024;
/** Milliseconds that a slice takes. */
const SLICE = 50;
/** Milliseconds of the rate that a busy machine has missed and may make up for. */
const CATCH_UP = 100;
/** Milliseconds; timers are no finer. */
const SHORTEST_WAIT = 2;
