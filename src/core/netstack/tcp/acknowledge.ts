import type { TcpView } from '../../packet/index.ts';
import type { Millis } from '../ready.ts';
import { offerRoom } from './calls.ts';
import { DeliveryRate } from './delivery-rate.ts';
import { judgePathProbe } from './path-mtu-search.ts';
import { type AckNews, recover } from './recovery.ts';
import { seqDiff, seqLe, seqLt } from './seq.ts';
import { undoIfSpurious } from './spurious.ts';
import { judgeProbe, scheduleProbe } from './tail-loss.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer } from './transition.ts';

/**
 * The fifth step of RFC 9293 §3.10.7.4 in a synchronized state: SEG.ACK is not beyond SND.NXT.
 * @param current the segment stands in the receive window; else it may be older than what is known of the peer's window.
 */
export function acknowledge(tcb: Tcb, segment: TcpView, current: boolean): void {
  const { board } = tcb;
  const acked = seqDiff(segment.ack, tcb.sndUna);
  if (acked < 0) return;
  const window = segment.window << tcb.sndScale;
  // RFC 5681 §2
  news.duplicate = current && acked === 0 && board.count > 0 && segment.length === 0 && window === tcb.sndWnd;
  news.acked = acked;
  news.flight = board.flight;
  news.rtt = undefined;
  const deliveredBefore = board.rate.delivered;
  board.acknowledgmentBegins();
  if (acked > 0) advance(tcb, segment, acked);
  if (current) updateWindow(tcb, segment, window);
  if (tcb.sack && segment.sackBlocks > 0) {
    news.sacked = board.update(segment.sack, segment.sackBlocks, tcb.sndUna, tcb.sndNxt, tcb.host.now, tcb.rtt.minimum);
  } else news.sacked = 0;
  board.rate.acknowledgmentEnds(tcb.rtt.minimum);
  news.delivered = board.rate.delivered - deliveredBefore;
  news.sample = board.rate;
  if (acked > 0) undoIfSpurious(tcb, segment);
  judgeProbe(tcb, segment, acked);
  recover(tcb, news);
  judgePathProbe(tcb);
  if (acked > 0) scheduleProbe(tcb);
  if (board.hasWaiting || tcb.unsent > 0 || (tcb.finQueued && !tcb.finSent) || tcb.recovery === 'fast') tcb.host.wantOutput(tcb);
  offerRoom(tcb);
}

/** SND.UNA moves on. */
function advance(tcb: Tcb, segment: TcpView, acked: number): void {
  const { board, host } = tcb;
  board.acknowledge(segment.ack, host.now, tcb.rtt.minimum);
  // Our FIN has a number, but no octet in the buffer.
  tcb.sendBuffer.drop(Math.min(acked, tcb.sendBuffer.length));
  tcb.sndUna = segment.ack;
  tcb.timeouts = 0;
  tcb.stalledSince = host.now;
  measure(tcb, segment);
  // RFC 6298 (5.2), (5.3). While the window is probed the persist timer rules.
  if (board.count === 0) tcb.timers.clear(Timer.RETRANSMIT);
  else if (!tcb.timers.running(Timer.PERSIST)) setTimer(tcb, Timer.RETRANSMIT, host.now + tcb.rtt.rto);
}

/** RFC 6298 §3 and §4; RFC 7323 §4 where every sample of the segments themselves would be ambiguous. */
function measure(tcb: Tcb, segment: TcpView): void {
  const rtt = sampleRtt(tcb, segment);
  if (rtt === undefined) return;
  news.rtt = rtt;
  tcb.tlpMeasured = true;
  // RFC 7323 appendix G has two segments for each acknowledgment; one that speaks for more is one of fewer
  tcb.rtt.sample(rtt, tcb.host.now, Math.max(1, Math.ceil(news.flight / Math.max(2 * tcb.smss, news.acked))));
}

function sampleRtt(tcb: Tcb, segment: TcpView): Millis | undefined {
  if (tcb.board.ackedSentAt >= 0) return tcb.host.now - tcb.board.ackedSentAt;
  if (!tcb.timestamps || !segment.hasTimestamps) return undefined;
  const rtt = (tcb.tsNow - segment.tsEcr) | 0;
  return rtt >= 0 && rtt <= MAX_RTT ? rtt : undefined;
}

function updateWindow(tcb: Tcb, segment: TcpView, window: number): void {
  // RFC 9293 §3.10.7.4: old segments must not update it.
  if (!(seqLt(tcb.sndWl1, segment.seq) || (tcb.sndWl1 === segment.seq && seqLe(tcb.sndWl2, segment.ack)))) return;
  tcb.sndWnd = window;
  tcb.sndWl1 = segment.seq;
  tcb.sndWl2 = segment.ack;
  if (window > tcb.maxSndWnd) tcb.maxSndWnd = window;
  if (window === 0 || !tcb.timers.running(Timer.PERSIST)) return;
  tcb.timers.clear(Timer.PERSIST);
  tcb.persistBackoff = 0;
  tcb.probeDue = false;
  // The octet that probed the window was thrown away as long as it was closed.
  tcb.board.markAllLost();
}

// Filled in again for every acknowledgment.
const news: AckNews = {
  acked: 0,
  sacked: 0,
  delivered: 0,
  duplicate: false,
  flight: 0,
  pipe: 0,
  recovering: false,
  rtt: undefined,
  sample: new DeliveryRate(),
};

/** More is not a round trip but a lie. */
const MAX_RTT: Millis = 600_000;
