import type { Millis } from '../ready.ts';
import { DeliveryRate } from './delivery-rate.ts';
import { SentSegments } from './sent-segments.ts';
import { seqDiff, seqMax, seqMin } from './seq.ts';

/**
 * The segments under way, what each is marked as, and the sums over them, which change with every mark: what RFC 6675 §4 walks over octets for
 * is a subtraction here. Who marks what, and why, is the scoreboard's.
 */
export class SegmentMarks {
  protected readonly segments = new SentSegments();
  readonly rate = new DeliveryRate();
  /** Octets of sequence space in all segments: FlightSize. */
  flight = 0;
  /** SACKed octets, and segments. */
  sacked = 0;
  sackedCount = 0;
  /** Lost, not SACKed. */
  lost = 0;
  /** Sent again and not SACKed, lost or not. */
  #resent = 0;
  /** Lost, and still to be sent again. */
  #waiting = 0;
  /** End of the highest SACKed segment; valid while something is SACKed. */
  protected highSacked = 0;
  /** No segment below waits to be sent again. */
  #searchFrom = 0;

  get count(): number {
    return this.segments.count;
  }

  /** How many segments more it can keep. */
  get room(): number {
    return this.segments.room;
  }

  /** RFC 6675 §4 SetPipe: octets thought to be in the network. */
  get pipe(): number {
    return this.flight - this.sacked - this.lost + this.#resent;
  }

  /** Whether something that was lost waits to be sent again. */
  get hasWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Whether the oldest segment was ever sent more than once. */
  get oldestWasResent(): boolean {
    return this.count > 0 && (this.segments.flags[this.segments.slot(0)]! & EVER_RESENT) !== 0;
  }

  /** RFC 2018 §8: the receiver threw away what it had SACKed. That the oldest segment is SACKed and not acknowledged proves it. */
  get reneged(): boolean {
    return this.count > 0 && (this.segments.flags[this.segments.slot(0)]! & SACKED) !== 0;
  }

  startOf(index: number): number {
    return this.segments.start[this.segments.slot(index)]!;
  }

  endOf(index: number): number {
    return this.segments.end[this.segments.slot(index)]!;
  }

  isSacked(seq: number): boolean {
    return (this.#stateOf(seq) & SACKED) !== 0;
  }

  isLost(seq: number): boolean {
    return (this.#stateOf(seq) & LOST) !== 0;
  }

  /** RFC 6675 §4 NextSeg (1): the first lost segment that waits to be sent again, or -1. */
  nextLost(): number {
    if (this.#waiting === 0) return -1;
    for (let i = Math.max(0, this.segments.find(this.#searchFrom)); i < this.count; i++) {
      const at = this.segments.slot(i);
      if ((this.segments.flags[at]! & (SACKED | LOST | RESENT)) !== LOST) continue;
      this.#searchFrom = this.segments.start[at]!;
      return i;
    }
    return -1;
  }

  /** NextSeg (4): the last segment that is not SACKed, or -1. */
  lastUnsacked(): number {
    for (let i = this.count - 1; i >= 0; i--) if ((this.segments.flags[this.segments.slot(i)]! & SACKED) === 0) return i;
    return -1;
  }

  /** A segment is under way, behind all others. @returns its slot */
  protected append(start: number, end: number, now: Millis): number {
    if (this.count === 0) this.#searchFrom = start;
    const quiet = this.pipe === 0;
    const at = this.segments.append(start, end, now, 0);
    this.rate.sent(this.segments, at, now, quiet);
    this.flight += seqDiff(end, start);
    return at;
  }

  /** Nothing below is asked for any more. */
  protected passed(una: number): void {
    this.#searchFrom = seqMax(this.#searchFrom, una);
  }

  protected markSacked(at: number, length: number): void {
    const { end, flags } = this.segments;
    const state = flags[at]!;
    this.forget(state, length);
    this.flight += length;
    flags[at] = state | SACKED;
    this.highSacked = this.sacked === 0 ? end[at]! : seqMax(this.highSacked, end[at]!);
    this.sacked += length;
    this.sackedCount++;
  }

  protected markLost(at: number): void {
    const state = this.segments.flags[at]!;
    if ((state & LOST) !== 0) return;
    const length = this.#lengthOf(at);
    this.lost += length;
    this.rate.lost += length;
    this.segments.flags[at] = state | LOST;
    if ((state & RESENT) === 0) this.#waits(at, length);
  }

  /** It was not lost. */
  protected unmarkLost(at: number): void {
    const state = this.segments.flags[at]!;
    if ((state & LOST) === 0) return;
    this.segments.flags[at] = state & ~LOST;
    if ((state & SACKED) !== 0) return;
    const length = this.#lengthOf(at);
    this.lost -= length;
    this.rate.lost -= length;
    if ((state & RESENT) === 0) this.#waiting -= length;
  }

  /** It leaves once more. */
  protected markResent(at: number, now: Millis): void {
    const { flags } = this.segments;
    const before = flags[at]!;
    const length = this.#lengthOf(at);
    if ((before & RESENT) === 0) {
      this.#resent += length;
      if ((before & LOST) !== 0) this.#waiting -= length;
    }
    this.rate.sent(this.segments, at, now, this.pipe === length);
    flags[at] = before | RESENT | EVER_RESENT;
    this.segments.sentAgain(at, now);
  }

  /** What was sent again is lost as well. */
  protected unmarkResent(at: number): void {
    const state = this.segments.flags[at]!;
    if ((state & RESENT) === 0) return;
    const length = this.#lengthOf(at);
    this.#resent -= length;
    this.segments.flags[at] = state & ~RESENT;
    if ((state & LOST) !== 0) this.#waits(at, length);
  }

  /** As if the receiver had never SACKed it. */
  protected unmarkSacked(at: number): void {
    const { flags } = this.segments;
    if ((flags[at]! & SACKED) === 0) return;
    flags[at] = flags[at]! & ~(SACKED | LOST | RESENT);
    this.sacked -= this.#lengthOf(at);
    this.sackedCount--;
  }

  /** Takes octets with these flags out of all sums. */
  protected forget(state: number, length: number): void {
    this.flight -= length;
    if ((state & SACKED) !== 0) {
      this.sacked -= length;
      return;
    }
    if ((state & LOST) !== 0) this.lost -= length;
    if ((state & RESENT) !== 0) this.#resent -= length;
    else if ((state & LOST) !== 0) this.#waiting -= length;
  }

  protected forgetAll(): void {
    this.segments.clear();
    this.flight = 0;
    this.sacked = 0;
    this.sackedCount = 0;
    this.lost = 0;
    this.#resent = 0;
    this.#waiting = 0;
  }

  #waits(at: number, length: number): void {
    this.#waiting += length;
    this.#searchFrom = seqMin(this.#searchFrom, this.segments.start[at]!);
  }

  #lengthOf(at: number): number {
    return seqDiff(this.segments.end[at]!, this.segments.start[at]!);
  }

  #stateOf(seq: number): number {
    const index = this.segments.find(seq);
    return index < 0 ? 0 : this.segments.flags[this.segments.slot(index)]!;
  }
}

/** What a segment is marked as, in its flags. */
export const SACKED = 1;
export const LOST = 2;
export const RESENT = 4;
export const EVER_RESENT = 8;
