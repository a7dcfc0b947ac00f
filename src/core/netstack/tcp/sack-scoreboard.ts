import type { Millis } from '../ready.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/**
 * Every segment between SND.UNA and SND.NXT, in order, and what is known of it: the retransmission queue and the SACK scoreboard of RFC
 * 6675 §3 in one. It keeps segment boundaries, which makes the sets of that document exact without walking octets. Records are columns of
 * a ring that is used again: nothing is allocated per segment.
 */
export class SackScoreboard {
  #start = new Int32Array(0);
  #end = new Int32Array(0);
  #sentAt = new Float64Array(0);
  /** SND.NXT when the segment was last retransmitted: what was sent later lies beyond. */
  #sentBefore = new Int32Array(0);
  #flags = new Uint8Array(0);
  #head = 0;
  #mask = 0;
  count = 0;
  /** Octets of sequence space in all records: FlightSize. */
  flight = 0;
  /** SACKed octets. */
  sacked = 0;
  /** Lost, not SACKed. */
  lost = 0;
  /** Sent again and not SACKed, lost or not. */
  #retransmitted = 0;
  /** Lost, and still to be sent again. */
  #waiting = 0;
  #sackedRecords = 0;
  /** End of the highest SACKed record; valid while something is SACKed. */
  #highSacked = 0;
  /** No record below was overlooked when losses were last marked. */
  #lossMarkedTo = 0;
  /** No record below waits to be sent again. */
  #searchFrom = 0;
  /** The lowest SND.NXT at which anything that is still outstanding was sent again. */
  #oldestResend = 0;
  /** SACK blocks of the last acknowledgment, so that only what is new in the next one is walked. */
  readonly #seen = new Int32Array(2 * SEEN_BLOCKS);
  #seenCount = 0;
  /** When the newest segment acknowledged by the last `acknowledge` was sent, if that is unambiguous (Karn); else -1. */
  ackedSentAt: Millis = -1;

  /** RFC 6675 §4 SetPipe: octets thought to be in the network. */
  get pipe(): number {
    return this.flight - this.sacked - this.lost + this.#retransmitted;
  }

  /** Whether something that was lost waits to be sent again. */
  get hasWaiting(): boolean {
    return this.#waiting > 0;
  }

  get full(): boolean {
    return this.count >= MAX_RECORDS;
  }

  /** A new segment `[start, end)` was sent, directly behind the last. */
  sent(start: number, end: number, now: Millis): void {
    if (this.count === this.#start.length) this.#grow();
    if (this.count === 0) this.#reset(start);
    const at = (this.#head + this.count) & this.#mask;
    this.#start[at] = start;
    this.#end[at] = end;
    this.#sentAt[at] = now;
    this.#sentBefore[at] = end;
    this.#flags[at] = 0;
    this.count++;
    this.flight += seqDiff(end, start);
  }

  /** Cumulative acknowledgment up to `una`. */
  acknowledge(una: number): void {
    this.ackedSentAt = -1;
    // Marks must not stay behind by half the sequence space.
    this.#lossMarkedTo = seqMax(this.#lossMarkedTo, una);
    this.#searchFrom = seqMax(this.#searchFrom, una);
    this.#dropTo(una);
    if (this.sacked === 0) this.#seenCount = 0;
  }

  /**
   * RFC 6675 §4 Update: marks what the blocks cover.
   * @param edges left and right edges, alternating; blocks outside of `[una, nxt]` are ignored (RFC 2018 §5).
   * @returns octets that were not SACKed before.
   */
  update(edges: Int32Array, blocks: number, una: number, nxt: number): number {
    let fresh = 0;
    for (let i = 0; i < blocks; i++) {
      const left = edges[2 * i]!;
      const right = edges[2 * i + 1]!;
      if (seqLe(right, left) || seqLt(left, una) || seqGt(right, nxt)) continue;
      fresh += this.#markUnseen(left, right);
    }
    this.#seenCount = Math.min(blocks, SEEN_BLOCKS);
    for (let i = 0; i < 2 * this.#seenCount; i++) this.#seen[i] = edges[i]!;
    return fresh;
  }

  /**
   * RFC 6675 §4 IsLost for every record at once: marks as lost what has DupThresh SACKed sequences or more than (DupThresh - 1) * SMSS
   * SACKed octets above it.
   * @returns true when something was marked.
   */
  detectLoss(smss: number): boolean {
    // With less than this not even the first record can be lost.
    if (this.sacked <= (DUP_THRESH - 1) * smss && this.#sackedRecords < DUP_THRESH) return false;
    let octets = 0;
    let runs = 0;
    let inRun = false;
    for (let i = this.#find(seqAdd(this.#highSacked, -1)); i >= 0; i--) {
      const at = (this.#head + i) & this.#mask;
      const sacked = (this.#flags[at]! & SACKED) !== 0;
      if (sacked) {
        octets += seqDiff(this.#end[at]!, this.#start[at]!);
        if (!inRun) runs++;
      }
      inRun = sacked;
      if (runs < DUP_THRESH && octets <= (DUP_THRESH - 1) * smss) continue;
      const fresh = this.#markLostDown(i - 1, this.#start[at]!);
      return this.#markResendsLost(this.#start[at]!) || fresh;
    }
    return false;
  }

  /** The oldest record is lost: three duplicate acknowledgments, or a partial one (RFC 6582 §3.2). */
  markFirstLost(): void {
    if (this.count === 0) return;
    const at = this.#head;
    if ((this.#flags[at]! & (SACKED | RESENT)) === 0) this.#markLost(at);
  }

  /** The retransmission timer expired: everything that is not SACKed counts as lost, what was sent again too. */
  markAllLost(): void {
    for (let i = 0; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      if ((this.#flags[at]! & SACKED) !== 0) continue;
      this.#unmarkResent(at);
      this.#markLost(at);
      this.#lossMarkedTo = this.#end[at]!;
    }
  }

  /** RFC 2018 §8: the receiver may have thrown away what it SACKed. A SACKed record that is not acknowledged although it is the oldest proves it. */
  get reneged(): boolean {
    return this.count > 0 && (this.#flags[this.#head]! & SACKED) !== 0;
  }

  clearSacks(): void {
    for (let i = 0; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      const flags = this.#flags[at]!;
      if ((flags & SACKED) === 0) continue;
      this.#flags[at] = flags & ~(SACKED | LOST | RESENT);
      this.sacked -= seqDiff(this.#end[at]!, this.#start[at]!);
      this.#sackedRecords--;
    }
    this.#seenCount = 0;
  }

  /** RFC 6675 §4 NextSeg (1): the first lost record that waits to be sent again, or -1. */
  nextLost(): number {
    if (this.#waiting === 0) return -1;
    for (let i = Math.max(0, this.#find(this.#searchFrom)); i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      if ((this.#flags[at]! & (SACKED | LOST | RESENT)) === LOST) {
        this.#searchFrom = this.#start[at]!;
        return i;
      }
    }
    return -1;
  }

  /** NextSeg (3): the first record below the highest SACK that was neither SACKed nor sent again, or -1. */
  nextSuspect(): number {
    if (this.sacked === 0) return -1;
    for (let i = 0; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      if (seqGe(this.#start[at]!, this.#highSacked)) return -1;
      if ((this.#flags[at]! & (SACKED | RESENT)) === 0) return i;
    }
    return -1;
  }

  /** NextSeg (4): the last record that is not SACKed, or -1. */
  lastUnsacked(): number {
    for (let i = this.count - 1; i >= 0; i--) if ((this.#flags[(this.#head + i) & this.#mask]! & SACKED) === 0) return i;
    return -1;
  }

  startOf(index: number): number {
    return this.#start[(this.#head + index) & this.#mask]!;
  }

  endOf(index: number): number {
    return this.#end[(this.#head + index) & this.#mask]!;
  }

  /** The record was sent again. @param nxt SND.NXT. */
  resent(index: number, nxt: number, now: Millis): void {
    const at = (this.#head + index) & this.#mask;
    const flags = this.#flags[at]!;
    const length = seqDiff(this.#end[at]!, this.#start[at]!);
    if ((flags & RESENT) === 0) {
      this.#oldestResend = this.#retransmitted === 0 ? nxt : seqMin(this.#oldestResend, nxt);
      this.#retransmitted += length;
      if ((flags & LOST) !== 0) this.#waiting -= length;
    }
    this.#flags[at] = flags | RESENT | EVER_RESENT;
    this.#sentBefore[at] = nxt;
    this.#sentAt[at] = now;
  }

  /** The path carries less: cuts what is too long, and counts it as lost (RFC 1191 §6.4, RFC 8201 §5.4: it was dropped). */
  resegment(mss: number): void {
    const old = { start: this.#start, end: this.#end, sentAt: this.#sentAt, flags: this.#flags, sentBefore: this.#sentBefore };
    const { count } = this;
    const [first, mask] = [this.#head, this.#mask];
    this.clear();
    for (let i = 0; i < count; i++) {
      const at = (first + i) & mask;
      const end = old.end[at]!;
      const tooLong = seqDiff(end, old.start[at]!) > mss;
      for (let start = old.start[at]!; seqLt(start, end); ) {
        const cut = tooLong ? seqMin(seqAdd(start, mss), end) : end;
        this.#restore(start, cut, old.sentAt[at]!, old.flags[at]!, old.sentBefore[at]!);
        if (tooLong && (old.flags[at]! & SACKED) === 0) {
          const last = (this.#head + this.count - 1) & this.#mask;
          this.#unmarkResent(last);
          this.#markLost(last);
        }
        start = cut;
      }
    }
  }

  clear(): void {
    this.#start = new Int32Array(0);
    this.#end = new Int32Array(0);
    this.#sentAt = new Float64Array(0);
    this.#sentBefore = new Int32Array(0);
    this.#flags = new Uint8Array(0);
    this.#mask = 0;
    this.#head = 0;
    this.count = 0;
    this.flight = 0;
    this.sacked = 0;
    this.lost = 0;
    this.#retransmitted = 0;
    this.#waiting = 0;
    this.#sackedRecords = 0;
    this.#seenCount = 0;
  }

  #dropTo(una: number): void {
    while (this.count > 0) {
      const at = this.#head;
      const start = this.#start[at]!;
      if (seqGe(start, una)) return;
      const flags = this.#flags[at]!;
      if (seqGt(this.#end[at]!, una)) {
        this.#forget(flags, seqDiff(una, start));
        this.#start[at] = una;
        return;
      }
      this.#forget(flags, seqDiff(this.#end[at]!, start));
      if ((flags & SACKED) !== 0) this.#sackedRecords--;
      // Karn's rule (RFC 6298 §3). What was SACKed earlier arrived earlier: it would be measured too long.
      if ((flags & (EVER_RESENT | SACKED)) === 0) this.ackedSentAt = this.#sentAt[at]!;
      this.#head = (at + 1) & this.#mask;
      this.count--;
    }
  }

  #restore(start: number, end: number, sentAt: Millis, flags: number, sentBefore: number): void {
    this.sent(start, end, sentAt);
    const at = (this.#head + this.count - 1) & this.#mask;
    const length = seqDiff(end, start);
    this.#flags[at] = flags;
    this.#sentBefore[at] = sentBefore;
    if ((flags & SACKED) !== 0) {
      this.sacked += length;
      this.#sackedRecords++;
      this.#highSacked = end;
      return;
    }
    if ((flags & LOST) !== 0) this.lost += length;
    if ((flags & RESENT) !== 0) {
      this.#oldestResend = this.#retransmitted === 0 ? sentBefore : seqMin(this.#oldestResend, sentBefore);
      this.#retransmitted += length;
    } else if ((flags & LOST) !== 0) this.#waiting += length;
  }

  /** Marks what of a block the last acknowledgment did not report already. */
  #markUnseen(left: number, right: number): number {
    let [from, to] = [left, right];
    for (let i = 0; i < this.#seenCount; i++) {
      const seenLeft = this.#seen[2 * i]!;
      const seenRight = this.#seen[2 * i + 1]!;
      if (seqLe(seenLeft, from) && seqLt(from, seenRight)) from = seqMin(seenRight, to);
      if (seqGe(seenRight, to) && seqLt(seenLeft, to)) to = seqMax(seenLeft, from);
    }
    return seqLt(from, to) ? this.#mark(left, right, from, to) : 0;
  }

  /** Marks records within `[left, right)` that reach into `[from, to)`: one that straddles the edge of what was seen is whole only now. */
  #mark(left: number, right: number, from: number, to: number): number {
    let fresh = 0;
    let i = this.#find(from);
    if (i < 0 || seqLt(this.startOf(i), left)) i++;
    for (; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      const end = this.#end[at]!;
      if (seqGe(this.#start[at]!, to) || seqGt(end, right)) break;
      const flags = this.#flags[at]!;
      if ((flags & SACKED) !== 0) continue;
      const length = seqDiff(end, this.#start[at]!);
      this.#forget(flags, length);
      this.flight += length;
      this.#flags[at] = flags | SACKED;
      this.#highSacked = this.sacked === 0 ? end : seqMax(this.#highSacked, end);
      this.sacked += length;
      this.#sackedRecords++;
      fresh += length;
    }
    return fresh;
  }

  /** Marks everything unSACKed from a record down to where an earlier call stopped. @param threshold everything below is marked then. */
  #markLostDown(from: number, threshold: number): boolean {
    let marked = false;
    for (let i = from; i >= 0; i--) {
      const at = (this.#head + i) & this.#mask;
      if (seqLe(this.#end[at]!, this.#lossMarkedTo)) break;
      if ((this.#flags[at]! & (SACKED | LOST)) !== 0) continue;
      this.#markLost(at);
      marked = true;
    }
    this.#lossMarkedTo = seqMax(this.#lossMarkedTo, threshold);
    return marked;
  }

  /**
   * A retransmission was lost when as much as IsLost asks for arrived of what was sent after it. RFC 6675 leaves this to the
   * timer ("left as future work" for a scoreboard that knows segments, §3); at that price a single loss in ten thousand would stall for a
   * whole timeout.
   * @param threshold everything SACKed that counts lies at or above it.
   */
  #markResendsLost(threshold: number): boolean {
    if (this.#retransmitted === 0 || seqGt(this.#oldestResend, threshold)) return false;
    let marked = false;
    let oldest: number | undefined;
    for (let i = 0; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      if ((this.#flags[at]! & (RESENT | SACKED)) !== RESENT) continue;
      const sentBefore = this.#sentBefore[at]!;
      if (seqGt(sentBefore, threshold)) {
        oldest = oldest === undefined ? sentBefore : seqMin(oldest, sentBefore);
        continue;
      }
      this.#unmarkResent(at);
      this.#markLost(at);
      marked = true;
    }
    if (oldest !== undefined) this.#oldestResend = oldest;
    return marked;
  }

  #markLost(at: number): void {
    const flags = this.#flags[at]!;
    const length = seqDiff(this.#end[at]!, this.#start[at]!);
    if ((flags & LOST) === 0) {
      this.lost += length;
      this.#flags[at] = flags | LOST;
      if ((flags & RESENT) === 0) this.#waiting += length;
    }
    if ((flags & RESENT) === 0) this.#searchFrom = seqMin(this.#searchFrom, this.#start[at]!);
  }

  #unmarkResent(at: number): void {
    const flags = this.#flags[at]!;
    if ((flags & RESENT) === 0) return;
    const length = seqDiff(this.#end[at]!, this.#start[at]!);
    this.#retransmitted -= length;
    this.#flags[at] = flags & ~RESENT;
    if ((flags & LOST) !== 0) {
      this.#waiting += length;
      this.#searchFrom = seqMin(this.#searchFrom, this.#start[at]!);
    }
  }

  /** Takes octets with these flags out of all sums. */
  #forget(flags: number, length: number): void {
    this.flight -= length;
    if ((flags & SACKED) !== 0) {
      this.sacked -= length;
      return;
    }
    if ((flags & LOST) !== 0) this.lost -= length;
    if ((flags & RESENT) !== 0) this.#retransmitted -= length;
    else if ((flags & LOST) !== 0) this.#waiting -= length;
  }

  /** Index of the record that holds `seq`; -1 below the first, the last index above the last. */
  #find(seq: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (seqLe(this.startOf(middle), seq)) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  #reset(start: number): void {
    this.#lossMarkedTo = start;
    this.#searchFrom = start;
    this.#seenCount = 0;
  }

  #grow(): void {
    const size = Math.max(FIRST_RECORDS, 2 * this.#start.length);
    const start = new Int32Array(size);
    const end = new Int32Array(size);
    const sentAt = new Float64Array(size);
    const sentBefore = new Int32Array(size);
    const flags = new Uint8Array(size);
    for (let i = 0; i < this.count; i++) {
      const at = (this.#head + i) & this.#mask;
      start[i] = this.#start[at]!;
      end[i] = this.#end[at]!;
      sentAt[i] = this.#sentAt[at]!;
      sentBefore[i] = this.#sentBefore[at]!;
      flags[i] = this.#flags[at]!;
    }
    this.#start = start;
    this.#end = end;
    this.#sentAt = sentAt;
    this.#sentBefore = sentBefore;
    this.#flags = flags;
    this.#head = 0;
    this.#mask = size - 1;
  }
}

const SACKED = 1;
const LOST = 2;
const RESENT = 4;
const EVER_RESENT = 8;

/** RFC 6675 §2. */
const DUP_THRESH = 3;
const SEEN_BLOCKS = 4;
/** Powers of two. 32768 segments fill a window of 40 MiB. */
const FIRST_RECORDS = 32;
const MAX_RECORDS = 32768;
