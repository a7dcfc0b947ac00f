import type { Millis } from '../ready.ts';
import { seqGe, seqGt, seqLt } from './seq.ts';

/**
 * Recent acknowledgment (RFC 8985 §6): a segment is lost when one sent later arrived, and the time in which packets overtake one another has
 * passed. The names are those of that document.
 */
export class Rack {
  /** RACK.xmit_ts and RACK.end_seq in one: which transmission the latest delivered segment was; 0 before the first. */
  #order = 0;
  /** RACK.rtt */
  rtt: Millis = 0;
  reorderingSeen = false;
  /** RACK.fack, now and before the acknowledgment that is being taken; undefined while nothing was delivered. */
  #highest: number | undefined = undefined;
  #highestBefore: number | undefined = undefined;
  #dsackRound: number | undefined = undefined;
  #multiplier = 1;
  #persist = 0;

  /** Another acknowledgment begins: its blocks come in no particular order, and must not be held against one another. */
  acknowledgmentBegins(): void {
    this.#highestBefore = this.#highest;
  }

  /** §6.2 steps 2 and 3: a segment was acknowledged or SACKed. @param rtt since it was sent last, @param resent it was sent more than once. */
  delivered(order: number, end: number, rtt: Millis, resent: boolean, minRtt: Millis): void {
    if (this.#highest === undefined || seqGt(end, this.#highest)) this.#highest = end;
    if (this.#highestBefore !== undefined && seqLt(end, this.#highestBefore) && !resent) this.reorderingSeen = true;
    // So soon it can only be the first copy that arrived.
    if (resent && rtt < minRtt) return;
    this.rtt = rtt;
    if (order > this.#order) this.#order = order;
  }

  /** RACK_sent_after: whether the latest delivered segment was sent after this transmission. */
  sentAfter(order: number): boolean {
    return this.#order > order;
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
