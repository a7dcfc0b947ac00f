import type { Millis } from '../ready.ts';
import { seqGe, seqGt, seqLt } from './seq.ts';

/**
 * Recent acknowledgment (RFC 8985 §6): a segment is lost when one sent later arrived, and the time in which packets overtake one another has
 * passed. The names are those of that document.
 */
export class Rack {
  /** RACK.xmit_ts: when the latest segment that was delivered had been sent; -1 before the first. */
  sentAt: Millis = -1;
  /** RACK.end_seq */
  end = 0;
  /** RACK.rtt */
  rtt: Millis = 0;
  reorderingSeen = false;
  /** RACK.fack; valid once something was delivered. */
  #highest = 0;
  #dsackRound: number | undefined = undefined;
  #multiplier = 1;
  #persist = 0;

  /** §6.2 steps 2 and 3: a segment was acknowledged or SACKed. @param resent it was sent more than once. */
  delivered(sentAt: Millis, end: number, resent: boolean, now: Millis, minRtt: Millis): void {
    if (this.sentAt < 0) this.#highest = end;
    else if (seqGt(end, this.#highest)) this.#highest = end;
    else if (seqLt(end, this.#highest) && !resent) this.reorderingSeen = true;
    const rtt = now - sentAt;
    // So soon it can only be the first copy that arrived.
    if (resent && rtt < minRtt) return;
    this.rtt = rtt;
    if (sentAt > this.sentAt || (sentAt === this.sentAt && seqGt(end, this.end))) {
      this.sentAt = sentAt;
      this.end = end;
    }
  }

  /** Whether the latest delivered segment was sent after this one. */
  sentAfter(sentAt: Millis, end: number): boolean {
    return this.sentAt > sentAt || (this.sentAt === sentAt && seqGt(this.end, end));
  }

  /** §6.2 step 4: RACK.reo_wnd. @param certain in recovery, or enough segments are SACKed. */
  window(certain: boolean, minRtt: Millis, srtt: Millis): Millis {
    if (!this.reorderingSeen && certain) return 0;
    return Math.min((this.#multiplier * minRtt) / 4, srtt);
  }

  /** A D-SACK says that something was sent again for nothing: packets overtake one another by more than was allowed for. */
  sawDsack(una: number, nxt: number): void {
    if (this.#dsackRound !== undefined && seqGe(una, this.#dsackRound)) this.#dsackRound = undefined;
    if (this.#dsackRound !== undefined) return;
    this.#dsackRound = nxt;
    this.#multiplier = Math.min(this.#multiplier + 1, MAX_MULTIPLIER);
    this.#persist = PERSIST;
  }

  recovered(): void {
    if (--this.#persist <= 0) this.#multiplier = 1;
  }
}

/** RFC 8985 §6.2 step 4: recoveries for which a wider window is kept. */
const PERSIST = 16;
/** Ours: SRTT bounds it anyway. */
const MAX_MULTIPLIER = 64;
