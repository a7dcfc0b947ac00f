import type { Effect, Millis } from '../../core/ike/effects.ts';
import type { Clock, Timer } from '../platform/clock.ts';

/** What the loop turns for. */
export interface LoopDuties {
  /** The next wish of the core; undefined when it has none. */
  poll(): Effect | undefined;
  perform(effect: Effect): void;
  /** When `expire` wants to be called; undefined: never, as things are. */
  nextDeadline(): Millis | undefined;
  expire(now: Millis): void;
  /** Something threw that must not: our own mistake. */
  defect(what: string, error: unknown): void;
}

/** The one loop around the core: enters it, does what it wishes then, and keeps the one timer. */
export class Loop {
  readonly #clock: Clock;
  readonly #duties: LoopDuties;
  #timer: Timer | undefined;
  #timerAt: Millis = Number.POSITIVE_INFINITY;
  #draining = false;
  #closed = false;

  constructor(clock: Clock, duties: LoopDuties) {
    this.#clock = clock;
    this.#duties = duties;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Every entrance into the core: time is read once, what it throws is our defect and ends there, then its wishes are done. */
  enter(what: string, act: (now: Millis) => void): void {
    try {
      act(this.#clock.now());
    } catch (error) {
      this.#duties.defect(what, error);
    }
    this.#drain();
  }

  /** Something may be due sooner than it was. */
  arm(): void {
    if (this.#closed) return;
    const next = this.#duties.nextDeadline();
    if (next === undefined || next >= this.#timerAt) return; // a timer that fires early looks again
    this.#timer?.cancel();
    this.#timerAt = next;
    this.#timer = this.#clock.after(next - this.#clock.now(), () => this.#onTimer());
  }

  /** Wishes are left undone from here on, and nothing is due any more. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #drain(): void {
    if (this.#draining || this.#closed) return; // whoever drains goes on until nothing is left
    this.#draining = true;
    try {
      let budget = MOST_EFFECTS;
      for (let effect = this.#duties.poll(); effect !== undefined; effect = this.#duties.poll()) {
        this.#duties.perform(effect);
        if (--budget === 0) {
          this.#clock.soon(() => this.#drain());
          break;
        }
      }
    } catch (error) {
      this.#duties.defect('an effect', error);
      this.#clock.soon(() => this.#drain());
    } finally {
      this.#draining = false;
    }
    this.arm();
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (this.#closed) return;
    this.#duties.expire(this.#clock.now());
    this.arm();
  }
}

/** A turn of the event loop is not spent on wishes alone. */
const MOST_EFFECTS = 10_000;
