import type { TcpView } from '../../packet/index.ts';
import { withdrawSuspicion } from './path-mtu-search.ts';
import { seqLt } from './seq.ts';
import type { Tcb } from './tcb.ts';

/**
 * The Eifel detection algorithm (RFC 3522) and the response to it (RFC 4015): an acknowledgment that echoes the time of the first copy shows
 * that nothing was lost but patience; the path is as good as before.
 */

/**
 * RFC 3522 §3.2 step 1: recovery begins. Where the oldest segment was sent again in the one before already, the acknowledgment of that copy would be
 * older than any retransmission of this one, and be taken for that of the first copy.
 */
export function watchFirstRetransmission(tcb: Tcb): void {
  tcb.firstRetransmitTs = undefined;
  tcb.spuriousPossible = tcb.timestamps && !tcb.board.oldestWasResent;
}

/** Step 2: a segment is sent again. */
export function noteRetransmission(tcb: Tcb): void {
  if (tcb.spuriousPossible) tcb.firstRetransmitTs ??= tcb.tsNow;
}

/** Steps 3 to 5: the first acknowledgment of anything new since. */
export function undoIfSpurious(tcb: Tcb, segment: TcpView): void {
  const { firstRetransmitTs } = tcb;
  if (firstRetransmitTs === undefined || tcb.recovery === 'open' || !segment.hasTimestamps) return;
  tcb.spuriousPossible = false;
  tcb.firstRetransmitTs = undefined;
  if (!seqLt(segment.tsEcr, firstRetransmitTs)) return;
  tcb.host.counters.tcpSpuriousRecoveries++;
  tcb.congestion!.undo();
  tcb.board.markNothingLost();
  withdrawSuspicion(tcb);
  tcb.recovery = 'open';
  tcb.duplicateAcks = 0;
  tcb.inflation = 0;
  tcb.forceResend = false;
}
