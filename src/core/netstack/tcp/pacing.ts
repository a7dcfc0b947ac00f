import type { Millis } from '../ready.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer } from './transition.ts';

/**
 * Segments leave at the rate that congestion control says, in small batches: a timer tells no less than a millisecond. What was not used
 * adds up to as much as an initial window (RFC 6928), or what a timer that comes late must make up for.
 */

/** @returns whether a segment may leave now; if not, a timer runs. */
export function mayLeave(tcb: Tcb): boolean {
  const rate = tcb.host.config.pacing ? tcb.congestion!.pacingRate(tcb.rtt.srtt) : Number.POSITIVE_INFINITY;
  if (rate === Number.POSITIVE_INFINITY) return true;
  const { now } = tcb.host;
  const most = Math.max(MOST_SEGMENTS * tcb.smss, rate * Math.max(LATENESS, (tcb.rtt.srtt ?? 0) / LATE_SHARE));
  tcb.paceCredit = Math.min(most, tcb.paceCredit + (now - tcb.pacedAt) * rate);
  tcb.pacedAt = now;
  if (tcb.paceCredit > 0) return true;
  // Less than two would each wait for a delayed acknowledgment, and the path would look as slow as that.
  const batch = Math.min(most, Math.max(LEAST_SEGMENTS * tcb.smss, rate * TICK));
  setTimer(tcb, Timer.PACE, now + (batch - tcb.paceCredit) / rate);
  return false;
}

/** Octets that may leave at once where `mayLeave` has just said yes, in segments of `unit`. */
export function mayLeaveAtOnce(tcb: Tcb, unit: number): number {
  const paced = tcb.host.config.pacing && tcb.congestion!.pacingRate(tcb.rtt.srtt) !== Number.POSITIVE_INFINITY;
  return paced ? Math.ceil(tcb.paceCredit / unit) * unit : Number.POSITIVE_INFINITY;
}

/** A segment leaves, allowed or not. */
export function spend(tcb: Tcb, octets: number): void {
  tcb.paceCredit -= octets;
}

const TICK: Millis = 1;
/** Of timers, at least; on a long path a quarter of a round trip, since what a busy machine does not make up for looks like a slow path. */
const LATENESS: Millis = 4;
const LATE_SHARE = 4;
const LEAST_SEGMENTS = 2;
const MOST_SEGMENTS = 10;
