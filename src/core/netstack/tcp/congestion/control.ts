import type { Millis } from '../../ready.ts';
import type { RateSample } from '../delivery-rate.ts';

/** What an acknowledgment told; filled in again for the next one. */
export interface Acknowledgment {
  /** Octets newly acknowledged cumulatively. */
  readonly acked: number;
  /** Octets that arrived, cumulatively acknowledged or SACKed, and were not known to have. */
  readonly delivered: number;
  /** FlightSize before. */
  readonly flight: number;
  /** Octets thought to be in the network, after. */
  readonly pipe: number;
  /** Fast recovery goes on, or has just ended. */
  readonly recovering: boolean;
  readonly rtt: Millis | undefined;
  readonly sample: RateSample;
}

/**
 * How much may be under way, and how fast it leaves. Recovery itself (what is lost, what is sent again) is not its business: it only hears
 * what happened and answers with a window and a rate. All sizes are octets.
 */
export interface CongestionControl {
  readonly name: string;
  /** cwnd; not always a whole number. */
  readonly window: number;
  /** ssthresh; `NO_THRESHOLD` before the first loss, and for a control that losses do not make reduce its window. */
  readonly threshold: number;
  /** Octets a millisecond at which segments leave. @param srtt undefined before the first sample. */
  pacingRate(srtt: Millis | undefined): number;
  /** Data was acknowledged or SACKed. */
  acknowledged(news: Acknowledgment, now: Millis): void;
  /** Fast retransmit: a segment was lost while others arrived. */
  lost(flight: number, now: Millis): void;
  /** Fast recovery is over. @param flight what is still under way. */
  recovered(flight: number, now: Millis): void;
  /** The retransmission timer expired; `again` when it is the same segment as before. */
  timedOut(flight: number, again: boolean, now: Millis): void;
  /** What the last `lost` or `timedOut` was told of was no loss (RFC 4015 §3.2, RFC 9438 §4.9). */
  undo(): void;
  /** What the timeout held for lost has been sent again, and has arrived. */
  repaired(): void;
  /** Nothing was sent for longer than a retransmission timeout. */
  idle(): void;
  /** The maximum segment size changed. */
  resized(smss: number): void;
}

export const NO_THRESHOLD = Number.MAX_SAFE_INTEGER;

/** Makes the congestion control of a new connection. @param initial octets of the initial window. */
export type CongestionControlFactory = (smss: number, initial: number) => CongestionControl;

/** RFC 6928 §2; RFC 5681 §3.1: a single segment when the SYN or its answer was lost. */
export function initialWindow(smss: number, handshakeLost: boolean): number {
  return handshakeLost ? smss : Math.min(10 * smss, Math.max(2 * smss, 14600));
}

/**
 * The rate of a sender that has a window and no model of the path: somewhat more than a window in a round trip, so that the window rules
 * (RFC 7661 §4.4.2 and RFC 9438 §5.7 leave the figure open).
 */
export function windowRate(window: number, threshold: number, srtt: Millis | undefined): number {
  if (srtt === undefined || srtt === 0) return Number.POSITIVE_INFINITY;
  return ((window < threshold ? SLOW_START_GAIN : AVOIDANCE_GAIN) * window) / srtt;
}

const SLOW_START_GAIN = 2;
const AVOIDANCE_GAIN = 1.25;
