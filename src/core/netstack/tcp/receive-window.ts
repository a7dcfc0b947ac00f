import type { Millis } from '../ready.ts';
import { seqAdd, seqDiff } from './seq.ts';
import type { Tcb } from './tcb.ts';

/** The window field of a segment that is about to leave; moves the right edge where that is worth it. */
export function advertiseWindow(tcb: Tcb): number {
  const edge = possibleEdge(tcb);
  // RFC 9293 §3.8.6.2.2: the edge stays where it is until it can move by a sensible amount.
  if (seqDiff(edge, tcb.rcvAdv) >= sensible(tcb)) tcb.rcvAdv = edge;
  return Math.min(0xffff, tcb.rcvWnd >>> tcb.rcvScale);
}

/** The window field of a SYN, which is never scaled (RFC 7323 §2.2). */
export function openWindow(tcb: Tcb): number {
  const window = Math.min(0xffff, tcb.receiveLimit);
  tcb.rcvAdv = seqAdd(tcb.rcvNxt, window);
  return window;
}

/** The application read: the peer should hear that there is room when it may be waiting for it. */
export function windowUpdateDue(tcb: Tcb): boolean {
  return seqDiff(possibleEdge(tcb), tcb.rcvAdv) >= sensible(tcb) && tcb.rcvWnd < tcb.receiveLimit / 2;
}

/**
 * Lets the buffer grow while the application reads more than half of it in a round trip: then the window, not the path, is what limits
 * the sender.
 */
export function tuneReceiveBuffer(tcb: Tcb, octets: number, now: Millis): void {
  tcb.readInRound += octets;
  const round = Math.max(SHORTEST_ROUND, tcb.receiverRtt > 0 ? tcb.receiverRtt : (tcb.rtt.srtt ?? UNKNOWN_RTT));
  if (now - tcb.roundStart < round) return;
  const wanted = ROUNDS * tcb.readInRound;
  if (wanted > tcb.receiveLimit) tcb.receiveLimit = Math.max(tcb.receiveLimit, Math.min(wanted, tcb.host.config.maxReceiveBuffer));
  tcb.readInRound = 0;
  tcb.roundStart = now;
}

/** The round trip as seen from an echoed timestamp; the smallest counts, slowly forgotten. */
export function sampleReceiverRtt(tcb: Tcb, rtt: Millis): void {
  if (rtt < 0 || rtt > MAX_RTT) return;
  const sample = Math.max(1, rtt);
  tcb.receiverRtt = tcb.receiverRtt === 0 || sample < tcb.receiverRtt ? sample : tcb.receiverRtt + (sample - tcb.receiverRtt) / 8;
}

/** RCV.NXT plus what is free of the buffer. */
function possibleEdge(tcb: Tcb): number {
  return seqAdd(tcb.rcvNxt, Math.max(0, tcb.receiveLimit - tcb.receiveBuffer.readable));
}

function sensible(tcb: Tcb): number {
  return Math.min(tcb.receiveLimit / 2, tcb.smss);
}

/** Ours: below this it is not the path but the scheduling of programs that makes packets come in bunches. */
const SHORTEST_ROUND: Millis = 10;
const UNKNOWN_RTT: Millis = 100;
/** Of the fastest reading: a sender that starts sends twice as much in every round, and a segment that is lost twice is there in the third. */
const ROUNDS = 4;
const MAX_RTT: Millis = 60_000;
