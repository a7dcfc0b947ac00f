import type { Millis } from '../../ready.ts';
import { type Acknowledgment, type CongestionControl, NO_THRESHOLD, windowRate } from './control.ts';
import { CSS_GROWTH_DIVISOR, HyStart } from './hystart.ts';

/** RFC 9438, with HyStart++ (RFC 9406) in slow start. The names are those of RFC 9438 §4.1.2; windows are octets, times milliseconds. */
export class Cubic implements CongestionControl {
  readonly name = 'cubic';
  window: number;
  threshold = NO_THRESHOLD;
  readonly #initial: number;
  #smss: number;
  #hyStart: HyStart | undefined = new HyStart();
  #wMax = 0;
  #wEst = 0;
  #cwndPrior = 0;
  #k: Millis = 0;
  /** t_epoch; undefined before congestion avoidance began since the last congestion. */
  #epoch: Millis | undefined = undefined;
  #srtt: Millis = 0;
  readonly #before = { window: 0, threshold: 0, wMax: 0 };

  constructor(smss: number, initial: number) {
    this.#smss = smss;
    this.#initial = initial;
    this.window = initial;
  }

  pacingRate(srtt: Millis | undefined): number {
    this.#srtt = srtt ?? 0;
    return windowRate(this.window, this.threshold, srtt);
  }

  acknowledged({ acked, flight, recovering, sample }: Acknowledgment, now: Millis): void {
    if (acked === 0 || recovering) return;
    // RFC 9438 §5.8: a window that was not filled proves nothing; time does not count meanwhile.
    if (flight + this.#smss < this.window) {
      this.#epoch = undefined;
      return;
    }
    if (this.window < this.threshold) this.#slowStart(acked, sample);
    else this.#avoidCongestion(acked, now);
  }

  lost(flight: number): void {
    this.#reduce(flight);
    this.window = this.threshold;
  }

  recovered(flight: number): void {
    // RFC 6582 §3.2 step 3, full acknowledgment (1): no burst.
    this.window = Math.min(this.threshold, Math.max(flight, this.#smss) + this.#smss);
  }

  timedOut(flight: number, again: boolean): void {
    // RFC 9438 §4.8
    if (!again) this.#reduce(flight);
    this.window = this.#smss;
  }

  undo(): void {
    // RFC 9438 §4.9.1
    this.window = Math.max(this.window, this.#before.window);
    this.threshold = Math.max(this.threshold, this.#before.threshold);
    this.#wMax = this.#before.wMax;
    this.#epoch = undefined;
  }

  repaired(): void {
    // the window has grown meanwhile, in slow start
  }

  idle(): void {
    // RFC 5681 §4.1
    this.window = Math.min(this.#initial, this.window);
    this.#epoch = undefined;
  }

  resized(smss: number): void {
    this.window = Math.max(this.window, smss);
    this.#smss = smss;
  }

  #slowStart(acked: number, sample: Acknowledgment['sample']): void {
    const over = this.#hyStart?.acknowledged(sample) ?? false;
    // RFC 9406 §4.2: no limit L, since segments are paced.
    this.window += this.#hyStart?.conservative === true ? acked / CSS_GROWTH_DIVISOR : acked;
    if (!over) return;
    this.threshold = this.window;
    this.#hyStart = undefined;
  }

  #avoidCongestion(acked: number, now: Millis): void {
    if (this.#epoch === undefined) this.#beginEpoch(now);
    const t = now - this.#epoch!;
    // §4.3
    this.#wEst += (this.#wEst >= this.#cwndPrior ? 1 : ALPHA) * this.#smss * (acked / this.window);
    if (this.#wCubic(t) < this.#wEst) {
      this.window = Math.max(this.window, this.#wEst);
      return;
    }
    // §4.2: what the curve will be a round trip from now, but not more than half as much again.
    const target = Math.min(Math.max(this.#wCubic(t + this.#srtt), this.window), 1.5 * this.window);
    // §4.4, §4.5
    this.window += (target - this.window) * (acked / this.window);
  }

  #beginEpoch(now: Millis): void {
    this.#epoch = now;
    this.#wEst = this.window;
    if (this.window < this.#wMax) this.#k = 1000 * Math.cbrt((this.#wMax - this.window) / this.#smss / C);
    else {
      // §4.8, §4.10: the first time there is nothing to come back to.
      this.#wMax = this.window;
      this.#k = 0;
    }
  }

  /** §4.2, figure 1. */
  #wCubic(t: Millis): number {
    const seconds = (t - this.#k) / 1000;
    return C * seconds ** 3 * this.#smss + this.#wMax;
  }

  #reduce(flight: number): void {
    this.#before.window = this.window;
    this.#before.threshold = this.threshold;
    this.#before.wMax = this.#wMax;
    this.#cwndPrior = this.window;
    // §4.7, fast convergence
    this.#wMax = this.window < this.#wMax ? (this.window * (1 + BETA)) / 2 : this.window;
    // §4.6
    this.threshold = Math.max(Math.floor(flight * BETA), 2 * this.#smss);
    this.#epoch = undefined;
    this.#hyStart = undefined;
  }
}

/** RFC 9438 §4.6, §5. */
const BETA = 0.7;
const C = 0.4;
/** §4.3 */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
