import type { Millis } from '../ready.ts';
import { seqLe } from './seq.ts';

/**
 * The segments between SND.UNA and SND.NXT in order, as columns of a ring that is used again: nothing is allocated per segment. `slot`
 * turns an index (0 is the oldest) into a place in the columns.
 */
export class SentSegments {
  /** Sequence numbers of the first octet and behind the last. */
  start = new Int32Array(0);
  end = new Int32Array(0);
  /** When it was sent last, and as the how manieth transmission of all: time may stand still between two, this does not. */
  sentAt = new Float64Array(0);
  order = new Float64Array(0);
  flags = new Uint8Array(0);
  /** What `DeliveryRate` wants to know of the moment at which it was sent last. */
  delivered = new Float64Array(0);
  deliveredAt = new Float64Array(0);
  firstSentAt = new Float64Array(0);
  limited = new Uint8Array(0);
  count = 0;
  #head = 0;
  #mask = 0;
  #transmissions = 0;

  get room(): number {
    return Math.max(0, MAX_SEGMENTS - this.count);
  }

  slot(index: number): number {
    return (this.#head + index) & this.#mask;
  }

  /** Adds one behind the last. @returns its slot. */
  append(start: number, end: number, sentAt: Millis, flags: number): number {
    if (this.count === this.start.length) this.#grow();
    const at = (this.#head + this.count) & this.#mask;
    this.start[at] = start;
    this.end[at] = end;
    this.sentAt[at] = sentAt;
    this.order[at] = ++this.#transmissions;
    this.flags[at] = flags;
    this.count++;
    return at;
  }

  /** It was sent again. */
  sentAgain(at: number, sentAt: Millis): void {
    this.sentAt[at] = sentAt;
    this.order[at] = ++this.#transmissions;
  }

  dropFirst(): void {
    this.#head = (this.#head + 1) & this.#mask;
    this.count--;
  }

  /** Index of the segment that holds `seq`; -1 below the first, the last index above the last. */
  find(seq: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (seqLe(this.start[(this.#head + middle) & this.#mask]!, seq)) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  clear(): void {
    this.start = new Int32Array(0);
    this.end = new Int32Array(0);
    this.sentAt = new Float64Array(0);
    this.order = new Float64Array(0);
    this.flags = new Uint8Array(0);
    this.delivered = new Float64Array(0);
    this.deliveredAt = new Float64Array(0);
    this.firstSentAt = new Float64Array(0);
    this.limited = new Uint8Array(0);
    this.count = 0;
    this.#head = 0;
    this.#mask = 0;
  }

  #grow(): void {
    const size = Math.max(FIRST_SEGMENTS, 2 * this.start.length);
    this.start = this.#moved(this.start, new Int32Array(size));
    this.end = this.#moved(this.end, new Int32Array(size));
    this.sentAt = this.#moved(this.sentAt, new Float64Array(size));
    this.order = this.#moved(this.order, new Float64Array(size));
    this.flags = this.#moved(this.flags, new Uint8Array(size));
    this.delivered = this.#moved(this.delivered, new Float64Array(size));
    this.deliveredAt = this.#moved(this.deliveredAt, new Float64Array(size));
    this.firstSentAt = this.#moved(this.firstSentAt, new Float64Array(size));
    this.limited = this.#moved(this.limited, new Uint8Array(size));
    this.#head = 0;
    this.#mask = size - 1;
  }

  /** A full column, unrolled: the oldest segment comes first. */
  #moved<Column extends Int32Array | Float64Array | Uint8Array>(from: Column, to: Column): Column {
    to.set(from.subarray(this.#head));
    to.set(from.subarray(0, this.#head), from.length - this.#head);
    return to;
  }
}

/** Powers of two. 32768 full segments fill a window of 40 MiB. */
const FIRST_SEGMENTS = 32;
const MAX_SEGMENTS = 32768;
