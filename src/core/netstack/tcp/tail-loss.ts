import type { TcpView } from '../../packet/index.ts';
import type { Millis } from '../ready.ts';
import { isDsack } from './sack-blocks.ts';
import { seqGe, seqGt } from './seq.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer } from './transition.ts';

/**
 * Tail loss probes (RFC 8985 §7): when the last segments of a flight are lost, or all acknowledgments of it, nothing arrives that could tell.
 * One segment sent after two round trips brings an answer long before the retransmission timer.
 */

/** §7.2: after new data was sent, or acknowledged. */
export function scheduleProbe(tcb: Tcb): void {
  const { board, timers, host } = tcb;
  if (!tcb.sack || board.count === 0 || board.sacked > 0 || tcb.recovery !== 'open' || tcb.tlpEnd !== undefined) {
    timers.clear(Timer.LOSS_PROBE);
    return;
  }
  const { srtt } = tcb.rtt;
  const delay = srtt === undefined ? UNMEASURED : Math.max(MINIMUM, 2 * srtt) + (board.count === 1 ? MAX_ACK_DELAY : 0);
  const at = host.now + delay;
  // The timer that would fire first rules.
  if (at < timers.at(Timer.RETRANSMIT)) setTimer(tcb, Timer.LOSS_PROBE, at);
  else timers.clear(Timer.LOSS_PROBE);
}

/** §7.3: the time is up. */
export function probeExpired(tcb: Tcb): void {
  const { board, host } = tcb;
  if (board.count === 0 || tcb.recovery !== 'open' || board.sacked > 0) return;
  if (tcb.tlpEnd === undefined && tcb.tlpMeasured) {
    tcb.tlpDue = true;
    host.wantOutput(tcb);
  }
  setTimer(tcb, Timer.RETRANSMIT, host.now + tcb.rtt.rto);
}

/** The probe leaves. @param again it repeats the last segment. */
export function probeSent(tcb: Tcb, again: boolean): void {
  // One at a time: what comes next, if nothing is heard, is the retransmission timer.
  tcb.timers.clear(Timer.LOSS_PROBE);
  tcb.tlpEnd = tcb.sndNxt;
  tcb.tlpAgain = again;
  tcb.tlpMeasured = false;
}

/** §7.4.2 TLP_process_ack: a loss that the probe itself repaired has to count as one. */
export function judgeProbe(tcb: Tcb, segment: TcpView, acked: number): void {
  const { tlpEnd, board, host } = tcb;
  if (tlpEnd === undefined || !seqGe(segment.ack, tlpEnd)) return;
  if (!tcb.tlpAgain || isDsack(segment.sack, segment.sackBlocks, tcb.sndUna)) tcb.tlpEnd = undefined;
  else if (seqGt(segment.ack, tlpEnd)) {
    tcb.tlpEnd = undefined;
    tcb.congestion!.lost(Math.min(board.flight, tcb.congestion!.window), host.now);
  } else if (acked === 0 && segment.length === 0 && segment.sackBlocks === 0) tcb.tlpEnd = undefined;
}

export function forgetProbe(tcb: Tcb): void {
  tcb.tlpEnd = undefined;
  tcb.tlpDue = false;
  tcb.timers.clear(Timer.LOSS_PROBE);
}

/** RFC 8985 §7.2. */
const UNMEASURED: Millis = 1000;
/** Ours: TLP.max_ack_delay, and the least time that a timer can tell. */
const MAX_ACK_DELAY: Millis = 100;
const MINIMUM: Millis = 2;
