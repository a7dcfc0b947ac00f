import type { Millis } from '../../ready.ts';
import { type Acknowledgment, type CongestionControl, NO_THRESHOLD, windowRate } from './control.ts';

/** RFC 5681, with byte counting (RFC 3465) and recovery after RFC 6582 and RFC 6675 around it. */
export class NewReno implements CongestionControl {
  readonly name = 'newreno';
  window: number;
  threshold = NO_THRESHOLD;
  readonly #initial: number;
  #smss: number;
  /** Octets acknowledged since the window last grew, in congestion avoidance. */
  #counted = 0;
  readonly #before = { window: 0, threshold: 0 };

  constructor(smss: number, initial: number) {
    this.#smss = smss;
    this.#initial = initial;
    this.window = initial;
  }

  pacingRate(srtt: Millis | undefined): number {
    return windowRate(this.window, this.threshold, srtt);
  }

  acknowledged({ acked: octets, flight, recovering }: Acknowledgment): void {
    if (octets === 0 || recovering) return;
    // RFC 7661: a window that was not filled proves nothing about the path.
    if (flight + this.#smss < this.window) return;
    if (this.window < this.threshold) {
      // RFC 5681 §3.1 (2) counted in octets (RFC 3465 §2.2). Its L of 2 would starve on acknowledgments for whole batches: 8, as RFC
      // 9406 §4.2 has it for senders that do not pace.
      this.window += Math.min(octets, 8 * this.#smss);
      return;
    }
    // RFC 5681 §3.1 (3), RFC 3465 §2.1
    this.#counted += octets;
    if (this.#counted >= this.window) {
      this.#counted -= this.window;
      this.window += this.#smss;
    }
  }

  lost(flight: number): void {
    this.#remember();
    this.#halve(flight);
    this.window = this.threshold;
  }

  recovered(flight: number): void {
    // RFC 6582 §3.2 step 3, full acknowledgment (1)
    this.window = Math.min(this.threshold, Math.max(flight, this.#smss) + this.#smss);
    this.#counted = 0;
  }

  timedOut(flight: number, again: boolean): void {
    // RFC 5681 §3.1: ssthresh is held when the same segment times out again.
    if (!again) {
      this.#remember();
      this.#halve(flight);
    }
    this.window = this.#smss;
    this.#counted = 0;
  }

  undo(): void {
    this.window = Math.max(this.window, this.#before.window);
    this.threshold = Math.max(this.threshold, this.#before.threshold);
  }

  repaired(): void {
    // the window has grown meanwhile, in slow start
  }

  idle(): void {
    // RFC 5681 §4.1
    this.window = Math.min(this.#initial, this.window);
  }

  resized(smss: number): void {
    this.window = Math.max(this.window, smss);
    this.#smss = smss;
  }

  #remember(): void {
    this.#before.window = this.window;
    this.#before.threshold = this.threshold;
  }

  #halve(flight: number): void {
    // RFC 5681 (4)
    this.threshold = Math.max(Math.floor(flight / 2), 2 * this.#smss);
  }
}
