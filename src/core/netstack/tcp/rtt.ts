import type { Millis } from '../ready.ts';

/** Smoothed round-trip time and the retransmission timeout made from it (RFC 6298). */
export class RttEstimator {
  /** Undefined before the first sample. */
  srtt: Millis | undefined = undefined;
  rttvar: Millis = 0;
  /** The smallest samples of this window of time and of the one before. */
  #least: Millis = Number.POSITIVE_INFINITY;
  #leastBefore: Millis = Number.POSITIVE_INFINITY;
  #windowEnds: Millis = Number.NEGATIVE_INFINITY;
  readonly #patience: Millis;
  readonly #maxRto: Millis;
  #base: Millis;
  #backoff = 1;

  /** @param patience what RTO is beyond SRTT at the least: see `TcpConfig.rtoPatience` */
  constructor(initialRto: Millis, patience: Millis, maxRto: Millis) {
    this.#base = initialRto;
    this.#patience = patience;
    this.#maxRto = maxRto;
  }

  /** The smallest sample of the last minutes: a path may become longer for good (RFC 8985 §6.2 step 1). Infinity before the first. */
  get minimum(): Millis {
    return Math.min(this.#least, this.#leastBefore);
  }

  /** With what backing off has made of it. */
  get rto(): Millis {
    return Math.min(this.#base * this.#backoff, this.#maxRto);
  }

  /**
   * @param samples expected per round trip: each then counts less, so that the history is as long as the standard wants it
   *   (RFC 7323 appendix G).
   */
  sample(rtt: Millis, now: Millis, samples = 1): void {
    this.#keepLeast(rtt, now);
    if (this.srtt === undefined) {
      // RFC 6298 (2.2)
      this.srtt = rtt;
      this.rttvar = rtt / 2;
    } else {
      // RFC 6298 (2.3)
      this.rttvar += (Math.abs(this.srtt - rtt) - this.rttvar) / (BETA * samples);
      this.srtt += (rtt - this.srtt) / (ALPHA * samples);
    }
    this.#base = this.srtt + Math.max(GRANULARITY, K * this.rttvar, this.#patience);
    // RFC 6298 §5: a new measurement ends the backing off.
    this.#backoff = 1;
  }

  /** RFC 6298 (5.5). */
  backOff(): void {
    if (this.#base * this.#backoff < this.#maxRto) this.#backoff *= 2;
  }

  /** RFC 6298 (5.7): the handshake had to be repeated, and nothing was measured yet. */
  distrustHandshake(): void {
    if (this.srtt !== undefined) return;
    this.#backoff = 1;
    this.#base = Math.max(this.#base, 3000);
  }

  #keepLeast(rtt: Millis, now: Millis): void {
    if (now < this.#windowEnds) {
      this.#least = Math.min(this.#least, rtt);
      return;
    }
    this.#leastBefore = this.#least;
    this.#least = rtt;
    this.#windowEnds = now + MINIMUM_WINDOW;
  }
}

/** RFC 6298 (2): divisors of alpha = 1/8 and beta = 1/4; K; G is the tick of the timestamp clock. */
const ALPHA = 8;
const BETA = 4;
const K = 4;
const GRANULARITY: Millis = 1;

/** Ours: the minimum is that of two and a half to five minutes. */
const MINIMUM_WINDOW: Millis = 150_000;
