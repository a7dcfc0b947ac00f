import type { Millis } from '../ready.ts';

/** The timers of a connection. */
export const Timer = {
  /** The oldest segment was not acknowledged in time (RFC 6298). */
  RETRANSMIT: 0,
  /** The peer's window is closed, or too small for a sensible segment (RFC 9293 §3.8.6). */
  PERSIST: 1,
  /** An acknowledgment was put off long enough (RFC 9293 §3.8.6.3). */
  DELAYED_ACK: 2,
  /** Silence (RFC 9293 §3.8.4). */
  KEEP_ALIVE: 3,
  /** The end of TIME-WAIT, or of a FIN-WAIT-2 that nobody looks at any more. */
  LINGER: 4,
  /** The handshake takes too long. */
  CONNECT: 5,
  /** No acknowledgment although one is overdue (RFC 8985 §7). */
  LOSS_PROBE: 6,
  /** What may only have been overtaken is lost when this fires (RFC 8985 §6.2). */
  REORDER: 7,
  /** Segments wait for their turn at the sending rate. */
  PACE: 8,
} as const;
export type Timer = (typeof Timer)[keyof typeof Timer];

const NEVER = Number.POSITIVE_INFINITY;

/** When each timer fires; the earliest is kept at hand. */
export class Timers {
  /** One for each; a list costs a new connection less than a typed array, whose memory lies elsewhere. */
  readonly #at = [NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER];
  earliest: Millis = NEVER;

  at(timer: Timer): Millis {
    return this.#at[timer]!;
  }

  running(timer: Timer): boolean {
    return this.#at[timer] !== NEVER;
  }

  set(timer: Timer, at: Millis): void {
    const before = this.#at[timer]!;
    this.#at[timer] = at;
    if (at <= this.earliest) this.earliest = at;
    else if (before === this.earliest) this.#find();
  }

  clear(timer: Timer): void {
    if (this.#at[timer] !== NEVER) this.set(timer, NEVER);
  }

  clearAll(): void {
    this.#at.fill(NEVER);
    this.earliest = NEVER;
  }

  #find(): void {
    let earliest = NEVER;
    for (const at of this.#at) if (at < earliest) earliest = at;
    this.earliest = earliest;
  }
}
