import type { TcpView } from '../../packet/index.ts';
import { Share } from '../block-pool.ts';
import { Ready } from '../ready.ts';
import { abortCall } from './calls.ts';
import { sampleReceiverRtt } from './receive-window.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLt, seqMax, seqMin } from './seq.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer, transition } from './transition.ts';

/**
 * The seventh step of RFC 9293 §3.10.7.4: segment text. URG is not looked at: its octets stay where they are in the stream, as RFC 6093
 * §6 recommends.
 * @returns false when the connection was reset.
 */
export function takeText(tcb: Tcb, segment: TcpView, data: Uint8Array): boolean {
  const length = segment.end - segment.start;
  if (length === 0) return true;
  if (tcb.state !== 'ESTABLISHED' && tcb.state !== 'FIN-WAIT-1' && tcb.state !== 'FIN-WAIT-2') return true;
  const left = seqMax(segment.seq, tcb.rcvNxt);
  let right = seqMin(seqAdd(segment.seq, length), tcb.rcvAdv);
  // Nothing can follow a FIN.
  if (tcb.finAt !== undefined) right = seqMin(right, tcb.finAt);
  if (segment.unit > tcb.receivedMss) tcb.receivedMss = segment.unit;
  if (seqGe(left, right)) {
    owe(tcb);
    return true;
  }
  if (tcb.readClosed) {
    // RFC 9293 §3.6.1: nobody will read this.
    abortCall(tcb, 'ECONNABORTED');
    return false;
  }
  const from = segment.start + seqDiff(left, segment.seq);
  const to = from + seqDiff(right, left);
  if (left === tcb.rcvNxt) takeInOrder(tcb, segment, data, from, to);
  else takeOutOfOrder(tcb, data, left, from, to);
  return true;
}

/** The eighth step: FIN, once everything before it is here. */
export function takeFin(tcb: Tcb, segment: TcpView, finAt: number): void {
  const { state } = tcb;
  if (state !== 'ESTABLISHED' && state !== 'FIN-WAIT-1' && state !== 'FIN-WAIT-2') return;
  // A FIN beyond the window, or before text that arrived, is nonsense.
  if (tcb.finAt !== undefined || seqLt(finAt, tcb.rcvNxt) || seqGt(finAt, tcb.rcvAdv) || beyondHeld(tcb, finAt)) return;
  tcb.finAt = finAt;
  if (segment.length > 0 && finAt !== tcb.rcvNxt) owe(tcb);
  reachFin(tcb);
}

/** Whether RCV.NXT stands at the peer's FIN; takes it. */
export function reachFin(tcb: Tcb): void {
  if (tcb.finReceived || tcb.finAt === undefined || tcb.rcvNxt !== tcb.finAt) return;
  tcb.finReceived = true;
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, 1);
  tcb.rcvAdv = seqMax(tcb.rcvAdv, tcb.rcvNxt);
  owe(tcb);
  tcb.host.notify(tcb, Ready.ENDED);
  if (tcb.state === 'ESTABLISHED') transition(tcb, 'CLOSE-WAIT');
  else if (tcb.state === 'FIN-WAIT-1') transition(tcb, 'CLOSING');
  else if (tcb.state === 'FIN-WAIT-2') transition(tcb, 'TIME-WAIT');
}

/** RFC 2883 §4: what came twice is the first block of the next acknowledgment. */
export function noteDuplicate(tcb: Tcb, left: number, length: number): void {
  tcb.host.counters.tcpDuplicateText++;
  if (!tcb.sack || length === 0) return;
  tcb.dsackDue = true;
  tcb.dsackLeft = left;
  tcb.dsackRight = seqAdd(left, length);
}

/** An acknowledgment is due at once. */
export function owe(tcb: Tcb): void {
  tcb.ackNow = true;
  tcb.host.wantOutput(tcb);
}

function takeInOrder(tcb: Tcb, segment: TcpView, data: Uint8Array, from: number, to: number): void {
  const { receiveBuffer, outOfOrder, host } = tcb;
  if (!place(tcb, data, tcb.rcvNxt, from, to)) {
    host.counters.tcpOutOfMemory++;
    return;
  }
  const filled = outOfOrder.count > 0;
  const before = tcb.rcvNxt;
  let next = seqAdd(before, to - from);
  if (filled) next = outOfOrder.advance(next);
  tcb.rcvNxt = next;
  receiveBuffer.advance(seqDiff(next, before));
  host.notify(tcb, Ready.READABLE);
  if (tcb.timestamps) sampleReceiverRtt(tcb, (tcb.tsNow - segment.tsEcr) | 0);
  tcb.unackedText += to - from;
  if (tcb.quickAcks > 0) tcb.quickAcks--;
  // RFC 5681 §4.2: every second full-sized segment, and at once when a hole was filled.
  if (filled || tcb.quickAcks > 0 || tcb.unackedText >= 2 * tcb.receivedMss) owe(tcb);
  else if (!tcb.timers.running(Timer.DELAYED_ACK)) setTimer(tcb, Timer.DELAYED_ACK, host.now + host.config.delayedAck);
}

/** RFC 9293 SHLD-31: held until the hole is filled. RFC 5681 §4.2: acknowledged at once. */
function takeOutOfOrder(tcb: Tcb, data: Uint8Array, left: number, from: number, to: number): void {
  const { outOfOrder, host } = tcb;
  const right = seqAdd(left, to - from);
  host.counters.tcpOutOfOrder++;
  tcb.quickAcks = QUICK_ACKS;
  if (outOfOrder.covers(left, right)) {
    noteDuplicate(tcb, left, to - from);
    // RFC 2883 §4.2: the range that holds it is the block behind.
    outOfOrder.add(left, right);
  } else if (outOfOrder.hasRoom(left, right) && place(tcb, data, left, from, to)) outOfOrder.add(left, right);
  else host.counters.tcpOutOfMemory++;
  // Without SACK only the number of duplicates tells the sender how much arrived.
  if (!tcb.sack) tcb.duplicateAcksOwed = Math.min(tcb.duplicateAcksOwed + 1, MAX_DUPLICATE_ACKS);
  owe(tcb);
}

/**
 * Text to its place in the buffer. RFC 9293 does not say which octets count where segments overlap with different ones: here those that
 * came first, since they may have been acknowledged selectively, and whoever guesses numbers comes late.
 * @returns false when memory is short.
 */
function place({ receiveBuffer, outOfOrder, rcvNxt }: Tcb, data: Uint8Array, left: number, from: number, to: number): boolean {
  const share = left === rcvNxt ? Share.IN_ORDER : Share.OUT_OF_ORDER;
  if (outOfOrder.count === 0) return receiveBuffer.place(seqDiff(left, rcvNxt), data, from, to, share);
  const right = seqAdd(left, to - from);
  for (let at = left; outOfOrder.nextGap(at, right); at = outOfOrder.gapRight) {
    const { gapLeft, gapRight } = outOfOrder;
    const start = from + seqDiff(gapLeft, left);
    if (!receiveBuffer.place(seqDiff(gapLeft, rcvNxt), data, start, start + seqDiff(gapRight, gapLeft), share)) return false;
  }
  return true;
}

function beyondHeld(tcb: Tcb, finAt: number): boolean {
  for (let i = 0; i < tcb.outOfOrder.count; i++) if (seqGt(tcb.outOfOrder.right(i), finAt)) return true;
  return false;
}

const MAX_DUPLICATE_ACKS = 64;
/** Ours: as many segments as the initial window of the peer, and some. */
export const QUICK_ACKS = 16;
