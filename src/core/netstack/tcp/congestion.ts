import type { Millis } from '../ready.ts';

/**
 * How much may be under way. Recovery itself (what is lost, what is sent again) is not its business: it only hears what happened and
 * answers with a window. All sizes are octets.
 */
export interface CongestionControl {
  readonly name: string;
  /** cwnd */
  readonly window: number;
  /** ssthresh */
  readonly threshold: number;
  /** New data was acknowledged, outside of fast recovery. @param flight FlightSize before, @param rtt the latest sample, or undefined. */
  acknowledged(octets: number, flight: number, rtt: Millis | undefined, now: Millis): void;
  /** Fast retransmit: a segment was lost while others arrived. */
  lost(flight: number, now: Millis): void;
  /** Fast recovery is over. @param flight what is still under way. */
  recovered(flight: number, now: Millis): void;
  /** The retransmission timer expired; `again` when it is the same segment as before. */
  timedOut(flight: number, again: boolean, now: Millis): void;
  /** Nothing was sent for longer than a retransmission timeout. */
  idle(): void;
  /** The maximum segment size changed. */
  resized(smss: number): void;
}

/** Makes the congestion control of a new connection. @param initial octets of the initial window. */
export type CongestionControlFactory = (smss: number, initial: number) => CongestionControl;

/** RFC 6928 §2; RFC 5681 §3.1: a single segment when the SYN or its answer was lost. */
export function initialWindow(smss: number, handshakeLost: boolean): number {
  return handshakeLost ? smss : Math.min(10 * smss, Math.max(2 * smss, 14600));
}

/** RFC 5681, with byte counting (RFC 3465) and recovery after RFC 6582 and RFC 6675 around it. */
export class NewReno implements CongestionControl {
  readonly name = 'newreno';
  window: number;
  threshold = Number.MAX_SAFE_INTEGER;
  readonly #initial: number;
  #smss: number;
  /** Octets acknowledged since the window last grew, in congestion avoidance. */
  #counted = 0;

  constructor(smss: number, initial: number) {
    this.#smss = smss;
    this.#initial = initial;
    this.window = initial;
  }

  acknowledged(octets: number, flight: number): void {
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
    if (!again) this.#halve(flight);
    this.window = this.#smss;
    this.#counted = 0;
  }

  idle(): void {
    // RFC 5681 §4.1
    this.window = Math.min(this.#initial, this.window);
  }

  resized(smss: number): void {
    this.window = Math.max(this.window, smss);
    this.#smss = smss;
  }

  #halve(flight: number): void {
    // RFC 5681 (4)
    this.threshold = Math.max(Math.floor(flight / 2), 2 * this.#smss);
  }
}
