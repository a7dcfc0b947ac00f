import type { Millis } from '../ready.ts';

/** Smoothed round-trip time and the retransmission timeout made from it (RFC 6298). */
export class RttEstimator {
  /** Undefined before the first sample. */
  srtt: Millis | undefined = undefined;
  rttvar: Millis = 0;
  /** The smallest sample. */
  minimum: Millis = Number.POSITIVE_INFINITY;
  readonly #minRto: Millis;
  readonly #maxRto: Millis;
  #base: Millis;
  #backoff = 1;

  constructor(initialRto: Millis, minRto: Millis, maxRto: Millis) {
    this.#base = initialRto;
    this.#minRto = minRto;
    this.#maxRto = maxRto;
  }

  /** With what backing off has made of it. */
  get rto(): Millis {
    return Math.min(this.#base * this.#backoff, this.#maxRto);
  }

  /**
   * @param samples expected per round trip: each then counts less, so that the history is as long as the standard wants it
   *   (RFC 7323 appendix G).
   */
  sample(rtt: Millis, samples = 1): void {
    this.minimum = Math.min(this.minimum, rtt);
    if (this.srtt === undefined) {
      // RFC 6298 (2.2)
      this.srtt = rtt;
      this.rttvar = rtt / 2;
    } else {
      // RFC 6298 (2.3)
      this.rttvar += (Math.abs(this.srtt - rtt) - this.rttvar) / (BETA * samples);
      this.srtt += (rtt - this.srtt) / (ALPHA * samples);
    }
    this.#base = Math.max(this.srtt + Math.max(GRANULARITY, K * this.rttvar), this.#minRto);
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
}

/** RFC 6298 (2): divisors of alpha = 1/8 and beta = 1/4; K; G is the tick of the timestamp clock. */
const ALPHA = 8;
const BETA = 4;
const K = 4;
const GRANULARITY: Millis = 1;
