import type { Millis } from '../ready.ts';
import { type Acknowledgment, NO_THRESHOLD } from './congestion/control.ts';
import type { RateSample } from './delivery-rate.ts';
import { judgePathProbe, suspectSwallowed } from './path-mtu-search.ts';
import { ProportionalRateReduction } from './prr.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqMax } from './seq.ts';
import { watchFirstRetransmission } from './spurious.ts';
import { forgetProbe } from './tail-loss.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer } from './transition.ts';

/** What an acceptable acknowledgment said. */
export interface AckNews extends Acknowledgment {
  acked: number;
  delivered: number;
  /** Octets newly SACKed. */
  sacked: number;
  /** A duplicate in the sense of RFC 5681 §2. */
  duplicate: boolean;
  flight: number;
  pipe: number;
  recovering: boolean;
  rtt: Millis | undefined;
  sample: RateSample;
}

/** RFC 6675 §5 with SACK, RFC 6582 §3.2 without: what an acknowledgment means for loss, and for the congestion window. */
export function recover(tcb: Tcb, news: AckNews): void {
  if (news.acked > 0) {
    tcb.duplicateAcks = 0;
    if (tcb.recovery === 'open') {
      tcb.inflation = 0;
      // The point of the last recovery must not fall behind by half the sequence space.
      tcb.recoveryPoint = seqMax(tcb.recoveryPoint, seqAdd(tcb.sndUna, -MAX_LAG));
    }
  }
  const recovered = tcb.recovery !== 'open' && seqGe(tcb.sndUna, tcb.recoveryPoint);
  if (recovered) leaveRecovery(tcb);
  const goesOn = tcb.recovery === 'fast';
  const lostBefore = tcb.board.rate.lost;
  if (goesOn) continueFastRecovery(tcb, news);
  if (news.delivered > 0) {
    news.pipe = tcb.board.pipe;
    news.recovering = recovered || goesOn;
    tcb.congestion!.acknowledged(news, tcb.host.now);
    if (goesOn) tcb.reduction?.acknowledged(news, news.acked > 0 && tcb.board.rate.lost === lostBefore);
  }
  if (goesOn) return;
  if (tcb.sack) watchSacks(tcb, news);
  else watchDuplicates(tcb, news);
}

/** After a retransmission timeout: everything that is not SACKed is sent again, slowly (RFC 5681 §3.1, RFC 6675 §5.1). */
export function recoverFromTimeout(tcb: Tcb): void {
  const { board, host } = tcb;
  tcb.congestion!.timedOut(board.flight, tcb.timeouts > 0, host.now);
  if (board.reneged) {
    host.counters.tcpSackReneged++;
    board.clearSacks();
  }
  board.markAllLost();
  if (tcb.timeouts === 0) watchFirstRetransmission(tcb);
  tcb.recovery = 'loss';
  tcb.recoveryPoint = tcb.sndNxt;
  tcb.duplicateAcks = 0;
  tcb.inflation = 0;
  forgetProbe(tcb);
}

/** The reordering timer (RFC 8985 §6.2 step 5): what could have been overtaken was not. */
export function judgeOverdue(tcb: Tcb): void {
  judge(tcb);
  if (tcb.recovery === 'open' && tcb.board.sacked > 0 && tcb.board.hasWaiting) enterFastRecovery(tcb, 0);
  judgePathProbe(tcb);
  if (tcb.board.hasWaiting) tcb.host.wantOutput(tcb);
}

/** RFC 6675 §5 (1) to (4). */
function watchSacks(tcb: Tcb, news: AckNews): void {
  const { board } = tcb;
  if (news.sacked > 0) tcb.duplicateAcks++;
  judge(tcb);
  if (tcb.recovery !== 'open' || board.sacked === 0) return;
  if ((tcb.duplicateAcks >= DUP_THRESH && !board.reorderingSeen) || board.hasWaiting) enterFastRecovery(tcb, news.delivered);
}

/** Marks what is lost by number (RFC 6675 §4, where packets keep their order) and by time (RFC 8985 §6.2). */
function judge(tcb: Tcb): void {
  const { board, host, rtt } = tcb;
  if (!board.reorderingSeen) board.detectLoss(tcb.smss);
  const wait = board.detectLate(tcb.recovery !== 'open', host.now, rtt.minimum, rtt.srtt ?? 0);
  if (wait > 0) setTimer(tcb, Timer.REORDER, host.now + wait);
  else tcb.timers.clear(Timer.REORDER);
}

/** RFC 6582 §3.2 steps 2 and 3; RFC 3042 for the first two. */
function watchDuplicates(tcb: Tcb, news: AckNews): void {
  if (!news.duplicate || tcb.recovery !== 'open') return;
  tcb.duplicateAcks++;
  if (tcb.duplicateAcks < DUP_THRESH) tcb.inflation = tcb.duplicateAcks * tcb.smss;
  // The acknowledgment must go beyond the last recovery: else these may be the echoes of what was sent twice.
  else if (seqGt(tcb.sndUna, tcb.recoveryPoint)) {
    enterFastRecovery(tcb, news.delivered);
    tcb.inflation = DUP_THRESH * tcb.smss;
  }
}

/** @param delivered octets that the acknowledgment at hand says have arrived; 0 where a timer told */
function enterFastRecovery(tcb: Tcb, delivered: number): void {
  const { board, host } = tcb;
  host.counters.tcpFastRecoveries++;
  suspectSwallowed(tcb);
  // RFC 5681 §3.2 (2): what limited transmit added does not count.
  tcb.congestion!.lost(Math.min(board.flight, tcb.congestion!.window), host.now);
  watchFirstRetransmission(tcb);
  tcb.recovery = 'fast';
  tcb.recoveryPoint = tcb.sndNxt;
  board.markFirstLost();
  tcb.forceResend = true;
  tcb.rescued = false;
  tcb.rescueFrom = board.endOf(0);
  forgetProbe(tcb);
  const { threshold } = tcb.congestion!;
  // Without SACK nobody knows what was delivered: duplicates inflate the window (RFC 6582 §3.2).
  tcb.reduction = tcb.sack && threshold !== NO_THRESHOLD ? new ProportionalRateReduction(board.flight, threshold, tcb.smss) : undefined;
  tcb.reduction?.acknowledged({ delivered, pipe: board.pipe }, false);
}

function continueFastRecovery(tcb: Tcb, news: AckNews): void {
  const { board } = tcb;
  if (tcb.sack) {
    judge(tcb);
    return;
  }
  if (news.acked > 0) {
    // RFC 6582 §3.2 step 3, partial acknowledgment: the next hole starts where it ends.
    tcb.inflation = Math.max(0, tcb.inflation - news.acked) + (news.acked >= tcb.smss ? tcb.smss : 0);
    board.markFirstLost();
    tcb.forceResend = true;
  } else if (news.duplicate) {
    // RFC 5681 §3.2: no more of them than segments were under way when recovery began; a peer that sends more of them inflates nothing.
    tcb.inflation = Math.min(tcb.inflation + tcb.smss, seqDiff(tcb.recoveryPoint, tcb.sndUna));
  }
}

function leaveRecovery(tcb: Tcb): void {
  tcb.board.recovered();
  if (tcb.recovery === 'fast') tcb.congestion!.recovered(tcb.board.flight, tcb.host.now);
  else tcb.congestion!.repaired();
  tcb.recovery = 'open';
  tcb.inflation = 0;
  tcb.duplicateAcks = 0;
  tcb.forceResend = false;
}

/** RFC 5681 §3.2, RFC 6675 §2. */
const DUP_THRESH = 3;
const MAX_LAG = 1 << 30;
