import type { Millis } from '../ready.ts';
import { seqLe } from './seq.ts';

/**
 * The segments between SND.UNA and SND.NXT in order, as columns of a ring that is used again: nothing is allocated per segment. `slot`
 * turns an index (0 is the oldest) into a place in the columns.
 */
export class SentSegments {
  /** Sequence numbers of the first octet and behind the last. */
  start = NO_INTEGERS;
  end = NO_INTEGERS;
  /** When it was sent last, and as the how manieth transmission of all: time may stand still between two, this does not. */
  sentAt = NO_NUMBERS;
  order = NO_NUMBERS;
  flags = NO_OCTETS;
  /** What `DeliveryRate` wants to know of the moment at which it was sent last. */
  delivered = NO_NUMBERS;
  deliveredAt = NO_NUMBERS;
  firstSentAt = NO_NUMBERS;
  limited = NO_OCTETS;
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
    this.start = NO_INTEGERS;
    this.end = NO_INTEGERS;
    this.sentAt = NO_NUMBERS;
    this.order = NO_NUMBERS;
    this.flags = NO_OCTETS;
    this.delivered = NO_NUMBERS;
    this.deliveredAt = NO_NUMBERS;
    this.firstSentAt = NO_NUMBERS;
    this.limited = NO_OCTETS;
    this.count = 0;
    this.#head = 0;
    this.#mask = 0;
  }

  /** One piece of memory for all columns, the widest first. */
  #grow(): void {
    const size = Math.max(FIRST_SEGMENTS, 2 * this.start.length);
    const memory = new ArrayBuffer(ROW * size);
    let at = 0;
    const take = <Column>(make: ColumnOf<Column>): Column => {
      const column = new make(memory, at, size);
      at += make.BYTES_PER_ELEMENT * size;
      return column;
    };
    this.sentAt = this.#moved(this.sentAt, take(Float64Array));
    this.order = this.#moved(this.order, take(Float64Array));
    this.delivered = this.#moved(this.delivered, take(Float64Array));
    this.deliveredAt = this.#moved(this.deliveredAt, take(Float64Array));
    this.firstSentAt = this.#moved(this.firstSentAt, take(Float64Array));
    this.start = this.#moved(this.start, take(Int32Array));
    this.end = this.#moved(this.end, take(Int32Array));
    this.flags = this.#moved(this.flags, take(Uint8Array));
    this.limited = this.#moved(this.limited, take(Uint8Array));
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

interface ColumnOf<Column> {
  readonly BYTES_PER_ELEMENT: number;
  new (memory: ArrayBuffer, at: number, length: number): Column;
}

/** Most connections that come and go never have a segment under way for long: they share these. */
const NO_INTEGERS = new Int32Array(0);
const NO_NUMBERS = new Float64Array(0);
const NO_OCTETS = new Uint8Array(0);
/** Octets of one segment in all columns. */
const ROW = 5 * Float64Array.BYTES_PER_ELEMENT + 2 * Int32Array.BYTES_PER_ELEMENT + 2;
/** Powers of two. 32768 full segments fill a window of 40 MiB. */
const FIRST_SEGMENTS = 32;
const MAX_SEGMENTS = 32768;
