import type { Millis } from '../../ready.ts';
import type { RateSample } from '../delivery-rate.ts';

/** HyStart++ (RFC 9406): leaves slow start when the round trip grows, before anything is lost. The names are those of §4.2. */
export class HyStart {
  /** Conservative slow start: the window grows by a quarter of what it would. */
  conservative = false;
  #roundEnds = 0;
  #lastRoundMinRtt: Millis = Number.POSITIVE_INFINITY;
  #currentRoundMinRtt: Millis = Number.POSITIVE_INFINITY;
  #cssBaselineMinRtt: Millis = Number.POSITIVE_INFINITY;
  #samples = 0;
  #cssRounds = 0;

  /** @returns true when slow start is over. */
  acknowledged({ delivered, deliveredBefore, rtt }: RateSample): boolean {
    if (deliveredBefore >= this.#roundEnds) {
      this.#roundEnds = delivered;
      if (this.conservative && ++this.#cssRounds >= CSS_ROUNDS) return true;
      this.#lastRoundMinRtt = this.#currentRoundMinRtt;
      this.#currentRoundMinRtt = Number.POSITIVE_INFINITY;
      this.#samples = 0;
    }
    if (rtt === undefined) return false;
    this.#currentRoundMinRtt = Math.min(this.#currentRoundMinRtt, rtt);
    if (++this.#samples < N_RTT_SAMPLE || this.#lastRoundMinRtt === Number.POSITIVE_INFINITY) return false;
    if (this.conservative) this.#resumeIfSpurious();
    else this.#slowDownIfLonger();
    return false;
  }

  #slowDownIfLonger(): void {
    const threshold = Math.max(MIN_RTT_THRESH, Math.min(this.#lastRoundMinRtt / MIN_RTT_DIVISOR, MAX_RTT_THRESH));
    if (this.#currentRoundMinRtt < this.#lastRoundMinRtt + threshold) return;
    this.conservative = true;
    this.#cssBaselineMinRtt = this.#currentRoundMinRtt;
    this.#cssRounds = 0;
  }

  #resumeIfSpurious(): void {
    if (this.#currentRoundMinRtt >= this.#cssBaselineMinRtt) return;
    this.conservative = false;
    this.#cssBaselineMinRtt = Number.POSITIVE_INFINITY;
  }
}

/** RFC 9406 §4.3. */
const MIN_RTT_THRESH: Millis = 4;
const MAX_RTT_THRESH: Millis = 16;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
export const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;
