import type { Millis } from '../../core/ike/effects.ts';

/** A token bucket: `burst` at once, then `perSecond`. */
export class Throttle {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #at: Millis | undefined;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
  }

  /** @returns whether one more may pass now. */
  take(now: Millis): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - (this.#at ?? now)) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
