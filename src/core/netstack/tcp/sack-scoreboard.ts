import type { Millis } from '../ready.ts';
import { DeliveryRate } from './delivery-rate.ts';
import { Rack } from './rack.ts';
import { isDsack, SeenBlocks } from './sack-blocks.ts';
import { SentSegments } from './sent-segments.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/**
 * What is known of every segment under way: the retransmission queue and the SACK scoreboard of RFC 6675 §3 in one. It keeps segment
 * boundaries, so the sets of that document are sums that are kept, not walks over octets; and send times, by which RACK (RFC 8985) finds
 * what sequence numbers alone do not tell: lost retransmissions, losses at the end.
 */
export class SackScoreboard {
  readonly #sent = new SentSegments();
  readonly #rack = new Rack();
  readonly rate = new DeliveryRate();
  /** Octets of the largest segment that ever arrived. */
  largestArrived = 0;
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
  #highSacked = 0;
  /** Every segment below that was sent only once is SACKed or marked lost. */
  #judgedTo = 0;
  /** No segment below waits to be sent again. */
  #searchFrom = 0;
  /** What was sent again: where it starts, and as which transmission. */
  readonly #resends: number[] = [];
  readonly #resendOrders: number[] = [];
  readonly #blocks = new SeenBlocks();
  /** When the newest segment acknowledged by the last `acknowledge` was sent, if that is unambiguous (Karn); else -1. */
  ackedSentAt: Millis = -1;

  get count(): number {
    return this.#sent.count;
  }

  /** How many segments more it can keep. */
  get room(): number {
    return this.#sent.room;
  }

  /** RFC 6675 §4 SetPipe: octets thought to be in the network. */
  get pipe(): number {
    return this.flight - this.sacked - this.lost + this.#resent;
  }

  /** Whether something that was lost waits to be sent again. */
  get hasWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Packets overtake one another on this path: counting duplicates proves nothing (RFC 8985 §6.2). */
  get reorderingSeen(): boolean {
    return this.#rack.reorderingSeen;
  }

  /** Whether the oldest segment was ever sent more than once. */
  get oldestWasResent(): boolean {
    return this.count > 0 && (this.#sent.flags[this.#sent.slot(0)]! & EVER_RESENT) !== 0;
  }

  startOf(index: number): number {
    return this.#sent.start[this.#sent.slot(index)]!;
  }

  endOf(index: number): number {
    return this.#sent.end[this.#sent.slot(index)]!;
  }

  /** A new segment `[start, end)` was sent, directly behind the last. */
  sent(start: number, end: number, now: Millis): void {
    if (this.count === 0) {
      this.#judgedTo = start;
      this.#searchFrom = start;
      this.#blocks.clear();
    }
    const quiet = this.pipe === 0;
    this.rate.sent(this.#sent, this.#sent.append(start, end, now, 0), now, quiet);
    this.flight += seqDiff(end, start);
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
    this.#searchFrom = seqMax(this.#searchFrom, una);
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
    const { flags, start, end } = this.#sent;
    let octets = 0;
    let runs = 0;
    let inRun = false;
    for (let i = this.#sent.find(seqAdd(this.#highSacked, -1)); i >= 0; i--) {
      const at = this.#sent.slot(i);
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

  isSacked(seq: number): boolean {
    return (this.#stateOf(seq) & SACKED) !== 0;
  }

  isLost(seq: number): boolean {
    return (this.#stateOf(seq) & LOST) !== 0;
  }

  recovered(): void {
    this.#rack.recovered();
  }

  /** The oldest segment is lost: three duplicate acknowledgments, or a partial one (RFC 6582 §3.2). */
  markFirstLost(): void {
    if (this.count === 0) return;
    const at = this.#sent.slot(0);
    if ((this.#sent.flags[at]! & (SACKED | RESENT)) === 0) this.#markLost(at);
  }

  /** The retransmission timer expired: everything that is not SACKed counts as lost, what was sent again too. */
  markAllLost(): void {
    this.#resends.length = 0;
    this.#resendOrders.length = 0;
    for (let i = 0; i < this.count; i++) {
      const at = this.#sent.slot(i);
      this.#judgedTo = this.#sent.end[at]!;
      if ((this.#sent.flags[at]! & SACKED) !== 0) continue;
      this.#unmarkResent(at);
      this.#markLost(at);
    }
  }

  /** What was held for lost was not, and may be found so anew. What was sent again stays so. */
  markNothingLost(): void {
    const { flags, start, end } = this.#sent;
    if (this.count > 0) this.#judgedTo = this.startOf(0);
    for (let i = 0; i < this.count; i++) {
      const at = this.#sent.slot(i);
      const state = flags[at]!;
      if ((state & LOST) === 0) continue;
      const length = seqDiff(end[at]!, start[at]!);
      flags[at] = state & ~LOST;
      if ((state & SACKED) !== 0) continue;
      this.lost -= length;
      this.rate.lost -= length;
      if ((state & RESENT) === 0) this.#waiting -= length;
    }
  }

  /** RFC 2018 §8: the receiver threw away what it had SACKed. That the oldest segment is SACKed and not acknowledged proves it. */
  get reneged(): boolean {
    return this.count > 0 && (this.#sent.flags[this.#sent.slot(0)]! & SACKED) !== 0;
  }

  clearSacks(): void {
    const { flags, start, end } = this.#sent;
    for (let i = 0; i < this.count; i++) {
      const at = this.#sent.slot(i);
      if ((flags[at]! & SACKED) === 0) continue;
      flags[at] = flags[at]! & ~(SACKED | LOST | RESENT);
      this.sacked -= seqDiff(end[at]!, start[at]!);
      this.sackedCount--;
    }
    this.#blocks.clear();
  }

  /** RFC 6675 §4 NextSeg (1): the first lost segment that waits to be sent again, or -1. */
  nextLost(): number {
    if (this.#waiting === 0) return -1;
    for (let i = Math.max(0, this.#sent.find(this.#searchFrom)); i < this.count; i++) {
      const at = this.#sent.slot(i);
      if ((this.#sent.flags[at]! & (SACKED | LOST | RESENT)) !== LOST) continue;
      this.#searchFrom = this.#sent.start[at]!;
      return i;
    }
    return -1;
  }

  /** NextSeg (3): the first segment below the highest SACK that was neither SACKed nor sent again, or -1. */
  nextSuspect(): number {
    if (this.sacked === 0) return -1;
    for (let i = Math.max(0, this.#sent.find(this.#judgedTo)); i < this.count; i++) {
      const at = this.#sent.slot(i);
      if (seqGe(this.#sent.start[at]!, this.#highSacked)) return -1;
      if ((this.#sent.flags[at]! & (SACKED | RESENT)) === 0) return i;
    }
    return -1;
  }

  /** NextSeg (4): the last segment that is not SACKed, or -1. */
  lastUnsacked(): number {
    for (let i = this.count - 1; i >= 0; i--) if ((this.#sent.flags[this.#sent.slot(i)]! & SACKED) === 0) return i;
    return -1;
  }

  /** A segment was sent again. */
  resent(index: number, now: Millis): void {
    const { flags, start, end, order } = this.#sent;
    const at = this.#sent.slot(index);
    const before = flags[at]!;
    const length = seqDiff(end[at]!, start[at]!);
    if ((before & RESENT) === 0) {
      this.#resent += length;
      if ((before & LOST) !== 0) this.#waiting -= length;
    }
    this.rate.sent(this.#sent, at, now, this.pipe === length);
    flags[at] = before | RESENT | EVER_RESENT;
    this.#sent.sentAgain(at, now);
    this.#resends.push(start[at]!);
    this.#resendOrders.push(order[at]!);
  }

  /** The path carries less: cuts what is too long, and counts it as lost (RFC 1191 §6.4, RFC 8201 §5.4: it was dropped). */
  resegment(mss: number): void {
    const { start, end, sentAt, flags } = this.#sent;
    const slots = Array.from({ length: this.count }, (_, i) => this.#sent.slot(i));
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
    this.#sent.clear();
    this.flight = 0;
    this.sacked = 0;
    this.sackedCount = 0;
    this.lost = 0;
    this.#resent = 0;
    this.#waiting = 0;
    this.#blocks.clear();
    this.#resends.length = 0;
    this.#resendOrders.length = 0;
  }

  #stateOf(seq: number): number {
    const index = this.#sent.find(seq);
    return index < 0 ? 0 : this.#sent.flags[this.#sent.slot(index)]!;
  }

  #restore(start: number, end: number, sentAt: Millis, flags: number, tooLong: boolean): void {
    this.sent(start, end, sentAt);
    const at = this.#sent.slot(this.count - 1);
    const length = seqDiff(end, start);
    if ((flags & SACKED) !== 0) {
      this.#sent.flags[at] = flags;
      this.sacked += length;
      this.sackedCount++;
      this.#highSacked = end;
      return;
    }
    this.#sent.flags[at] = flags & EVER_RESENT;
    if (tooLong || (flags & (LOST | RESENT)) === LOST) this.#markLost(at);
    else if ((flags & RESENT) !== 0) {
      if ((flags & LOST) !== 0) this.#markLost(at);
      this.resent(this.count - 1, sentAt);
    }
  }

  #dropTo(una: number, now: Millis, minRtt: Millis): void {
    const { start, end, sentAt, flags } = this.#sent;
    while (this.count > 0) {
      const at = this.#sent.slot(0);
      if (seqGe(start[at]!, una)) return;
      const state = flags[at]!;
      if (seqGt(end[at]!, una)) {
        this.#forget(state, seqDiff(una, start[at]!));
        start[at] = una;
        return;
      }
      this.#forget(state, seqDiff(end[at]!, start[at]!));
      if ((state & SACKED) !== 0) this.sackedCount--;
      else this.#arrived(at, now, minRtt);
      // Karn's rule (RFC 6298 §3). What was SACKed earlier arrived earlier: it would be measured too long.
      if ((state & (EVER_RESENT | SACKED)) === 0) this.ackedSentAt = sentAt[at]!;
      this.#sent.dropFirst();
    }
  }

  /** A segment was acknowledged or SACKed for the first time. */
  #arrived(at: number, now: Millis, minRtt: Millis): void {
    const { start, end, sentAt, order, flags } = this.#sent;
    const again = (flags[at]! & EVER_RESENT) !== 0;
    this.#rack.delivered(order[at]!, end[at]!, now - sentAt[at]!, again, minRtt);
    const length = seqDiff(end[at]!, start[at]!);
    this.largestArrived = Math.max(this.largestArrived, length);
    this.rate.arrived(this.#sent, at, length, now, again);
  }

  /** Marks segments within `[left, right)` that reach into `[from, to)`: one that straddles the edge of what was seen is whole only now. */
  #mark(left: number, right: number, from: number, to: number, now: Millis, minRtt: Millis): number {
    const { start, end, flags } = this.#sent;
    let fresh = 0;
    let i = this.#sent.find(from);
    if (i < 0 || seqLt(this.startOf(i), left)) i++;
    for (; i < this.count; i++) {
      const at = this.#sent.slot(i);
      if (seqGe(start[at]!, to) || seqGt(end[at]!, right)) break;
      const state = flags[at]!;
      if ((state & SACKED) !== 0) continue;
      const length = seqDiff(end[at]!, start[at]!);
      this.#forget(state, length);
      this.flight += length;
      flags[at] = state | SACKED;
      this.#highSacked = this.sacked === 0 ? end[at]! : seqMax(this.#highSacked, end[at]!);
      this.sacked += length;
      this.sackedCount++;
      fresh += length;
      this.#arrived(at, now, minRtt);
    }
    return fresh;
  }

  /** Marks everything unSACKed from a segment down to where it was done before. */
  #markLostBelow(index: number, threshold: number): void {
    for (let i = index - 1; i >= 0; i--) {
      const at = this.#sent.slot(i);
      if (seqLe(this.#sent.end[at]!, this.#judgedTo)) break;
      if ((this.#sent.flags[at]! & (SACKED | LOST | RESENT)) === 0) this.#markLost(at);
    }
    this.#judgedTo = seqMax(this.#judgedTo, threshold);
  }

  /** Segments sent once: they stand in order of time. */
  #judgeFirstSends(allowance: number): Millis {
    const { start, end, sentAt, order, flags } = this.#sent;
    let wait = 0;
    let settled = true;
    for (let i = Math.max(0, this.#sent.find(this.#judgedTo)); i < this.count; i++) {
      const at = this.#sent.slot(i);
      if (this.sacked === 0 || seqGe(start[at]!, this.#highSacked)) break;
      if ((flags[at]! & (SACKED | LOST | RESENT)) === 0) {
        if (!this.#rack.sentAfter(order[at]!)) break;
        const left = sentAt[at]! + allowance;
        if (left > EPSILON) {
          wait = Math.max(wait, left);
          settled = false;
        } else this.#markLost(at);
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
      if (!this.#rack.sentAfter(this.#sent.order[at]!)) return 0;
      const left = this.#sent.sentAt[at]! + allowance;
      if (left > EPSILON) return left;
      this.#unmarkResent(at);
      this.#markLost(at);
    }
    return 0;
  }

  /** Slot of the segment that was sent again first, -1 when it was delivered meanwhile, or sent once more. */
  #oldestResend(): number {
    if (this.count === 0) return -1;
    const at = this.#sent.slot(Math.max(0, this.#sent.find(seqMax(this.#resends[0]!, this.startOf(0)))));
    const outstanding = (this.#sent.flags[at]! & (SACKED | RESENT)) === RESENT;
    return outstanding && this.#sent.order[at] === this.#resendOrders[0] ? at : -1;
  }

  #markLost(at: number): void {
    const state = this.#sent.flags[at]!;
    if ((state & LOST) !== 0) return;
    const length = seqDiff(this.#sent.end[at]!, this.#sent.start[at]!);
    this.lost += length;
    this.rate.lost += length;
    this.#sent.flags[at] = state | LOST;
    if ((state & RESENT) !== 0) return;
    this.#waiting += length;
    this.#searchFrom = seqMin(this.#searchFrom, this.#sent.start[at]!);
  }

  #unmarkResent(at: number): void {
    const state = this.#sent.flags[at]!;
    if ((state & RESENT) === 0) return;
    const length = seqDiff(this.#sent.end[at]!, this.#sent.start[at]!);
    this.#resent -= length;
    this.#sent.flags[at] = state & ~RESENT;
    if ((state & LOST) === 0) return;
    this.#waiting += length;
    this.#searchFrom = seqMin(this.#searchFrom, this.#sent.start[at]!);
  }

  /** Takes octets with these flags out of all sums. */
  #forget(state: number, length: number): void {
    this.flight -= length;
    if ((state & SACKED) !== 0) {
      this.sacked -= length;
      return;
    }
    if ((state & LOST) !== 0) this.lost -= length;
    if ((state & RESENT) !== 0) this.#resent -= length;
    else if ((state & LOST) !== 0) this.#waiting -= length;
  }
}

const SACKED = 1;
const LOST = 2;
const RESENT = 4;
const EVER_RESENT = 8;

/** RFC 6675 §2. */
const DUP_THRESH = 3;
/** Milliseconds that floating point may be off. */
const EPSILON: Millis = 1e-6;
