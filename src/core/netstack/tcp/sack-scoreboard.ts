import type { Millis } from '../ready.ts';
import { Rack } from './rack.ts';
import { isDsack, SeenBlocks } from './sack-blocks.ts';
import { EVER_RESENT, LOST, RESENT, SACKED, SegmentMarks } from './segment-marks.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/**
 * What becomes of every segment under way: the retransmission queue and the SACK scoreboard of RFC 6675 §3 in one. It keeps segment
 * boundaries, so that the sets of that document are sums (`SegmentMarks`); and send times, by which RACK (RFC 8985) finds what sequence numbers
 * alone do not tell: lost retransmissions, losses at the end.
 */
export class SackScoreboard extends SegmentMarks {
  readonly #rack = new Rack();
  /** Octets of the largest segment that ever arrived. */
  largestArrived = 0;
  /** Every segment below that was sent only once is SACKed or marked lost. */
  #judgedTo = 0;
  /** What was sent again: where it starts, and as which transmission. */
  readonly #resends: number[] = [];
  readonly #resendOrders: number[] = [];
  readonly #blocks = new SeenBlocks();
  /** When the newest segment acknowledged by the last `acknowledge` was sent, if that is unambiguous (Karn); else -1. */
  ackedSentAt: Millis = -1;

  /** Packets overtake one another on this path: counting duplicates proves nothing (RFC 8985 §6.2). */
  get reorderingSeen(): boolean {
    return this.#rack.reorderingSeen;
  }

  /** A new segment `[start, end)` was sent, directly behind the last. */
  sent(start: number, end: number, now: Millis): void {
    if (this.count === 0) {
      this.#judgedTo = start;
      this.#blocks.clear();
    }
    this.append(start, end, now);
  }

  /** To be called before anything of an acknowledgment is taken. */
  acknowledgmentBegins(): void {
    this.#rack.acknowledgmentBegins();
    this.rate.acknowledgmentBegins();
  }

  /** Cumulative acknowledgment up to `una`. @param minRtt the smallest round trip seen. */
  acknowledge(una: number, now: Millis, minRtt: Millis): void {
    this.ackedSentAt = -1;
    // Marks must not stay behind by half the sequence space.
    this.#judgedTo = seqMax(this.#judgedTo, una);
    this.passed(una);
    this.#dropTo(una, now, minRtt);
    if (this.sacked === 0) this.#blocks.clear();
  }

  /**
   * RFC 6675 §4 Update: marks what the blocks cover.
   * @param edges left and right edges, alternating; blocks outside of `[una, nxt]` are ignored (RFC 2018 §5), but for a D-SACK.
   * @returns octets that were not SACKed before.
   */
  update(edges: Int32Array, blocks: number, una: number, nxt: number, now: Millis, minRtt: Millis): number {
    if (isDsack(edges, blocks, una)) this.#rack.sawDsack(una, nxt);
    let fresh = 0;
    for (let i = 0; i < blocks; i++) {
      const left = edges[2 * i]!;
      const right = edges[2 * i + 1]!;
      if (seqLe(right, left) || seqLt(left, una) || seqGt(right, nxt)) continue;
      if (this.#blocks.isNew(left, right)) fresh += this.#mark(left, right, this.#blocks.from, this.#blocks.to, now, minRtt);
    }
    this.#blocks.turn();
    return fresh;
  }

  /** RFC 6675 §4 IsLost for every segment at once: more than DupThresh segments, or what fills more than two, are SACKed above it. */
  detectLoss(smss: number): void {
    // With less than this not even the first segment can be lost.
    if (this.sacked <= (DUP_THRESH - 1) * smss && this.sackedCount < DUP_THRESH) return;
    const { flags, start, end } = this.segments;
    let octets = 0;
    let runs = 0;
    let inRun = false;
    for (let i = this.segments.find(seqAdd(this.highSacked, -1)); i >= 0; i--) {
      const at = this.segments.slot(i);
      const sacked = (flags[at]! & SACKED) !== 0;
      if (sacked) {
        octets += seqDiff(end[at]!, start[at]!);
        if (!inRun) runs++;
      }
      inRun = sacked;
      if (runs < DUP_THRESH && octets <= (DUP_THRESH - 1) * smss) continue;
      this.#markLostBelow(i, start[at]!);
      return;
    }
  }

  /**
   * RFC 8985 §6.2 step 5: marks what is overdue.
   * @param certain in recovery.
   * @returns milliseconds after which to ask again, 0 when nothing will be overdue.
   */
  detectLate(certain: boolean, now: Millis, minRtt: Millis, srtt: Millis): Millis {
    if (this.sacked === 0 && this.#resends.length === 0) return 0;
    const allowance = this.#rack.rtt + this.#rack.window(certain || this.sackedCount >= DUP_THRESH, minRtt, srtt) - now;
    return Math.max(this.#judgeFirstSends(allowance), this.#judgeResends(allowance));
  }

  recovered(): void {
    this.#rack.recovered();
  }

  /** The oldest segment is lost: three duplicate acknowledgments, or a partial one (RFC 6582 §3.2). */
  markFirstLost(): void {
    if (this.count === 0) return;
    const at = this.segments.slot(0);
    if ((this.segments.flags[at]! & (SACKED | RESENT)) === 0) this.markLost(at);
  }

  /** The retransmission timer expired: everything that is not SACKed counts as lost, what was sent again too. */
  markAllLost(): void {
    this.#resends.length = 0;
    this.#resendOrders.length = 0;
    for (let i = 0; i < this.count; i++) {
      const at = this.segments.slot(i);
      this.#judgedTo = this.segments.end[at]!;
      if ((this.segments.flags[at]! & SACKED) !== 0) continue;
      this.unmarkResent(at);
      this.markLost(at);
    }
  }

  /** What was held for lost was not, and may be found so anew. What was sent again stays so. */
  markNothingLost(): void {
    if (this.count > 0) this.#judgedTo = this.startOf(0);
    for (let i = 0; i < this.count; i++) this.unmarkLost(this.segments.slot(i));
  }

  clearSacks(): void {
    for (let i = 0; i < this.count; i++) this.unmarkSacked(this.segments.slot(i));
    this.#blocks.clear();
  }

  /** RFC 6675 §4 NextSeg (3): the first segment below the highest SACK that was neither SACKed nor sent again, or -1. */
  nextSuspect(): number {
    if (this.sacked === 0) return -1;
    for (let i = Math.max(0, this.segments.find(this.#judgedTo)); i < this.count; i++) {
      const at = this.segments.slot(i);
      if (seqGe(this.segments.start[at]!, this.highSacked)) return -1;
      if ((this.segments.flags[at]! & (SACKED | RESENT)) === 0) return i;
    }
    return -1;
  }

  /** A segment was sent again. */
  resent(index: number, now: Millis): void {
    const at = this.segments.slot(index);
    this.markResent(at, now);
    this.#resends.push(this.segments.start[at]!);
    this.#resendOrders.push(this.segments.order[at]!);
  }

  /** The path carries less: cuts what is too long, and counts it as lost (RFC 1191 §6.4, RFC 8201 §5.4: it was dropped). */
  resegment(mss: number): void {
    const { start, end, sentAt, flags } = this.segments;
    const slots = Array.from({ length: this.count }, (_, i) => this.segments.slot(i));
    this.clear();
    for (const at of slots) {
      const tooLong = seqDiff(end[at]!, start[at]!) > mss;
      for (let from = start[at]!; seqLt(from, end[at]!); ) {
        const to = tooLong ? seqMin(seqAdd(from, mss), end[at]!) : end[at]!;
        this.#restore(from, to, sentAt[at]!, flags[at]!, tooLong);
        from = to;
      }
    }
  }

  clear(): void {
    this.forgetAll();
    this.#blocks.clear();
    this.#resends.length = 0;
    this.#resendOrders.length = 0;
  }

  #restore(start: number, end: number, sentAt: Millis, flags: number, tooLong: boolean): void {
    this.sent(start, end, sentAt);
    const at = this.segments.slot(this.count - 1);
    const length = seqDiff(end, start);
    if ((flags & SACKED) !== 0) {
      this.segments.flags[at] = flags;
      this.sacked += length;
      this.sackedCount++;
      this.highSacked = end;
      return;
    }
    this.segments.flags[at] = flags & EVER_RESENT;
    if (tooLong || (flags & (LOST | RESENT)) === LOST) this.markLost(at);
    else if ((flags & RESENT) !== 0) {
      if ((flags & LOST) !== 0) this.markLost(at);
      this.resent(this.count - 1, sentAt);
    }
  }

  #dropTo(una: number, now: Millis, minRtt: Millis): void {
    const { start, end, sentAt, flags } = this.segments;
    while (this.count > 0) {
      const at = this.segments.slot(0);
      if (seqGe(start[at]!, una)) return;
      const state = flags[at]!;
      if (seqGt(end[at]!, una)) {
        this.forget(state, seqDiff(una, start[at]!));
        start[at] = una;
        return;
      }
      this.forget(state, seqDiff(end[at]!, start[at]!));
      if ((state & SACKED) !== 0) this.sackedCount--;
      else this.#arrived(at, now, minRtt);
      // Karn's rule (RFC 6298 §3). What was SACKed earlier arrived earlier: it would be measured too long.
      if ((state & (EVER_RESENT | SACKED)) === 0) this.ackedSentAt = sentAt[at]!;
      this.segments.dropFirst();
    }
  }

  /** A segment was acknowledged or SACKed for the first time. */
  #arrived(at: number, now: Millis, minRtt: Millis): void {
    const { start, end, sentAt, order, flags } = this.segments;
    const again = (flags[at]! & EVER_RESENT) !== 0;
    this.#rack.delivered(order[at]!, end[at]!, now - sentAt[at]!, again, minRtt);
    const length = seqDiff(end[at]!, start[at]!);
    this.largestArrived = Math.max(this.largestArrived, length);
    this.rate.arrived(this.segments, at, length, now, again);
  }

  /** Marks segments within `[left, right)` that reach into `[from, to)`: one that straddles the edge of what was seen is whole only now. */
  #mark(left: number, right: number, from: number, to: number, now: Millis, minRtt: Millis): number {
    const { start, end, flags } = this.segments;
    let fresh = 0;
    let i = this.segments.find(from);
    if (i < 0 || seqLt(this.startOf(i), left)) i++;
    for (; i < this.count; i++) {
      const at = this.segments.slot(i);
      if (seqGe(start[at]!, to) || seqGt(end[at]!, right)) break;
      if ((flags[at]! & SACKED) !== 0) continue;
      const length = seqDiff(end[at]!, start[at]!);
      this.markSacked(at, length);
      fresh += length;
      this.#arrived(at, now, minRtt);
    }
    return fresh;
  }

  /** Marks everything unSACKed from a segment down to where it was done before. */
  #markLostBelow(index: number, threshold: number): void {
    for (let i = index - 1; i >= 0; i--) {
      const at = this.segments.slot(i);
      if (seqLe(this.segments.end[at]!, this.#judgedTo)) break;
      if ((this.segments.flags[at]! & (SACKED | LOST | RESENT)) === 0) this.markLost(at);
    }
    this.#judgedTo = seqMax(this.#judgedTo, threshold);
  }

  /** Segments sent once: they stand in order of time. */
  #judgeFirstSends(allowance: number): Millis {
    const { start, end, sentAt, order, flags } = this.segments;
    let wait = 0;
    let settled = true;
    for (let i = Math.max(0, this.segments.find(this.#judgedTo)); i < this.count; i++) {
      const at = this.segments.slot(i);
      if (this.sacked === 0 || seqGe(start[at]!, this.highSacked)) break;
      if ((flags[at]! & (SACKED | LOST | RESENT)) === 0) {
        if (!this.#rack.sentAfter(order[at]!)) break;
        const left = sentAt[at]! + allowance;
        if (left > EPSILON) {
          wait = Math.max(wait, left);
          settled = false;
        } else this.markLost(at);
      }
      if (settled) this.#judgedTo = seqMax(this.#judgedTo, end[at]!);
    }
    return wait;
  }

  /** Segments sent again, in the order in which that was done. */
  #judgeResends(allowance: number): Millis {
    for (; this.#resends.length > 0; this.#resends.shift(), this.#resendOrders.shift()) {
      const at = this.#oldestResend();
      if (at < 0) continue;
      if (!this.#rack.sentAfter(this.segments.order[at]!)) return 0;
      const left = this.segments.sentAt[at]! + allowance;
      if (left > EPSILON) return left;
      this.unmarkResent(at);
      this.markLost(at);
    }
    return 0;
  }

  /** Slot of the segment that was sent again first, -1 when it was delivered meanwhile, or sent once more. */
  #oldestResend(): number {
    if (this.count === 0) return -1;
    const at = this.segments.slot(Math.max(0, this.segments.find(seqMax(this.#resends[0]!, this.startOf(0)))));
    const outstanding = (this.segments.flags[at]! & (SACKED | RESENT)) === RESENT;
    return outstanding && this.segments.order[at] === this.#resendOrders[0] ? at : -1;
  }
}

/** RFC 6675 §2. */
const DUP_THRESH = 3;
/** Milliseconds that floating point may be off. */
const EPSILON: Millis = 1e-6;
