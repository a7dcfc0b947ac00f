import type { Effect } from './effects.ts';

/** First in, first out, without moving what waits. */
export class EffectQueue {
  #items: Effect[] = [];
  #at = 0;

  put(effect: Effect): void {
    this.#items.push(effect);
  }

  take(): Effect | undefined {
    const effect = this.#items[this.#at];
    if (effect === undefined) return undefined;
    this.#at++;
    if (this.#at === this.#items.length) {
      this.#items = [];
      this.#at = 0;
    }
    return effect;
  }
}
