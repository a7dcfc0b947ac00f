import type { Millis } from '../../../core/ike/effects.ts';
import type { Clock, Timer } from '../clock.ts';

/**
 * Whether sockets are read as datagrams come, or every few milliseconds. To be woken for one datagram costs a third of the work on it, so
 * where many come, others are waited for: they are read together, and answered together. What belongs to a single IKE SA is never waited with.
 */
export class Pace {
  /** Datagrams of late, each counting half as much after `HALF_LIFE`. */
  #recent = 0;
  #at: Millis = 0;
  #waits = false;

  /**
   * Some have been read.
   * @param pressing one of them, or more, must not wait (ESP): then none does
   * @returns how long to wait until the next are read; 0: they are read as they come
   */
  note(count: number, pressing: boolean, now: Millis): Millis {
    this.#recent = pressing ? 0 : this.#recent * 2 ** ((this.#at - now) / HALF_LIFE) + count;
    this.#at = now;
    this.#waits = this.#recent >= (this.#waits ? STILL_MANY : MANY);
    if (!this.#waits) return 0;
    const perMilli = (this.#recent * Math.LN2) / HALF_LIFE;
    return Math.min(Math.max(TOGETHER / perMilli, SHORTEST), LONGEST);
  }
}

/** A socket that is not read as datagrams come. */
export interface Waiting {
  /** Reads what is there. @returns how many there were, -1 where one of them must not wait */
  look(): number;
  /** It is read as they come again. */
  resume(): void;
}

/** The sockets of one thread that are read every few milliseconds: all of them in one turn, since an IKE SA begins on one and goes on on another. */
export class Rounds {
  readonly #clock: Clock;
  readonly #pace = new Pace();
  readonly #waiting = new Set<Waiting>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Some came, and were read at once. @returns whether the next ones should wait: `join` */
  came(count: number, pressing: boolean): boolean {
    return this.#pace.note(count, pressing, this.#clock.now()) > 0;
  }

  join(waiting: Waiting): void {
    this.#waiting.add(waiting);
    this.#timer ??= this.#clock.after(SHORTEST, () => this.#go());
  }

  leave(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    if (this.#waiting.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #go(): void {
    this.#timer = undefined;
    let count = 0;
    let pressing = false;
    for (const waiting of [...this.#waiting]) {
      const read = this.#waiting.has(waiting) ? waiting.look() : 0;
      if (read < 0) pressing = true;
      else count += read;
    }
    const pause = this.#pace.note(count, pressing, this.#clock.now());
    if (this.#waiting.size === 0) return;
    if (pause > 0) {
      this.#timer = this.#clock.after(pause, () => this.#go());
      return;
    }
    const all = [...this.#waiting];
    this.#waiting.clear();
    for (const waiting of all) waiting.resume();
  }
}

const HALF_LIFE: Millis = 16;
/** Seven in ten milliseconds, or more at once than any IKE SA brings. */
const MANY = 16;
/** Two in ten milliseconds: fewer are worth no timer. */
const STILL_MANY = 5;
/** So many, and the wakening is a small part of the work. */
const TOGETHER = 4;
/** Each of an IKE SA's first two exchanges takes up to so much longer, where hundreds of others are made in the same second. */
const LONGEST: Millis = 4;
const SHORTEST: Millis = 1;
