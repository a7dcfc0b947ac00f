import { TcpFlag, type TcpView } from '../../packet/index.ts';
import { Ready } from '../ready.ts';
import { acknowledge } from './acknowledge.ts';
import { finishWriting, startKeepAlive } from './calls.ts';
import { agreeOptions } from './options.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt } from './seq.ts';
import type { Tcb } from './tcb.ts';
import { noteDuplicate, owe, QUICK_ACKS, reachFin, takeFin, takeText } from './text.ts';
import { Timer } from './timers.ts';
import { fail, limitFinWait2, setTimer, transition } from './transition.ts';

/** SEGMENT ARRIVES (RFC 9293 §3.10.7) for a connection that exists. The segment's text is in `data`. */
export function segmentArrives(tcb: Tcb, segment: TcpView, data: Uint8Array): void {
  if (tcb.state === 'CLOSED') return;
  if (tcb.state === 'SYN-SENT') arriveInSynSent(tcb, segment);
  else arriveElsewhere(tcb, segment, data);
}

/** A SYN for a listener made this connection (RFC 9293 §3.10.7.2, third). */
export function openPassive(tcb: Tcb, iss: number, segment: TcpView): void {
  tcb.iss = iss;
  tcb.sndUna = iss;
  tcb.sndNxt = seqAdd(iss, 1);
  tcb.recoveryPoint = iss;
  takeSyn(tcb, segment);
  transition(tcb, 'SYN-RECEIVED');
  setTimer(tcb, Timer.CONNECT, tcb.host.now + PASSIVE_TIMEOUT);
  sendSynSoon(tcb);
}

/** OPEN, active (RFC 9293 §3.10.1). @param timeout milliseconds for the handshake. */
export function openActive(tcb: Tcb, iss: number, timeout: number): void {
  tcb.iss = iss;
  tcb.sndUna = iss;
  tcb.sndNxt = seqAdd(iss, 1);
  tcb.recoveryPoint = iss;
  transition(tcb, 'SYN-SENT');
  setTimer(tcb, Timer.CONNECT, tcb.host.now + timeout);
  sendSynSoon(tcb);
}

/** RFC 9293 §3.10.7.3. */
function arriveInSynSent(tcb: Tcb, segment: TcpView): void {
  const { flags } = segment;
  const hasAck = (flags & TcpFlag.ACK) !== 0;
  // First, the ACK bit. `data on SYN` is never sent: only ISS + 1 can be acknowledged.
  if (hasAck && (seqLe(segment.ack, tcb.iss) || seqGt(segment.ack, tcb.sndNxt))) {
    if ((flags & TcpFlag.RST) === 0) tcb.host.sendReset(tcb, segment.ack);
    return;
  }
  // Second, the RST bit.
  if ((flags & TcpFlag.RST) !== 0) {
    if (hasAck) fail(tcb, 'ECONNREFUSED');
    return;
  }
  // Fourth, the SYN bit.
  if ((flags & TcpFlag.SYN) === 0) return;
  takeSyn(tcb, segment);
  if (!hasAck) {
    // Simultaneous open (RFC 9293 §3.5, figure 7).
    transition(tcb, 'SYN-RECEIVED');
    sendSynSoon(tcb);
    return;
  }
  tcb.lastHeard = tcb.host.now;
  // The window of a SYN is never scaled (RFC 7323 §2.2).
  establish(tcb, segment, segment.window);
  // Text on a SYN,ACK is not taken; the peer sends it again.
  owe(tcb);
}

/** RFC 9293 §3.10.7.4. */
function arriveElsewhere(tcb: Tcb, segment: TcpView, data: Uint8Array): void {
  const { host } = tcb;
  if (tcb.state === 'SYN-RECEIVED' && (segment.flags & TcpFlag.SYN) !== 0 && segment.seq === tcb.irs) {
    if (!repeatedSyn(tcb, segment)) return;
  }
  const rst = (segment.flags & TcpFlag.RST) !== 0;
  if (!timestampsPass(tcb, segment, rst)) return;
  // First, the sequence number.
  if (!acceptable(tcb, segment)) {
    if (!rst) refuse(tcb, segment);
    return;
  }
  // Second, the RST bit.
  if (rst) {
    takeReset(tcb, segment);
    return;
  }
  // Fourth, the SYN bit: RFC 5961 §4.2. Exception: in SYN-RECEIVED too, where RFC 9293 would go back to LISTEN and anybody's guess would do. A
  // peer that has begun anew answers with the RST that ends this handshake.
  if ((segment.flags & TcpFlag.SYN) !== 0) {
    challenge(tcb);
    return;
  }
  // Fifth, the ACK field.
  if ((segment.flags & TcpFlag.ACK) === 0 || !takeAck(tcb, segment, true)) return;
  // RFC 7323 §4.3 (2), §5.3 R3. Exception: not before the ACK field was looked at. Else who guesses the number alone keeps out the peer.
  if (segment.hasTimestamps && tcb.timestamps && seqLe(segment.seq, tcb.lastAckSent) && seqGe(segment.tsVal, tcb.tsRecent)) {
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAt = host.now;
  }
  tcb.lastHeard = host.now;
  tcb.keepAliveProbes = 0;
  // Sixth, URG: see `takeText`. Seventh, the text.
  if (!takeText(tcb, segment, data)) return;
  // Eighth, the FIN bit.
  if ((segment.flags & TcpFlag.FIN) !== 0) takeFin(tcb, segment, seqAdd(segment.seq, segment.end - segment.start));
  else reachFin(tcb);
}

/**
 * A SYN whose number we know, in SYN-RECEIVED: a copy, to which SYN,ACK is the answer, or the SYN,ACK of a simultaneous open.
 * @returns true when the rest of the segment counts.
 */
function repeatedSyn(tcb: Tcb, segment: TcpView): boolean {
  if ((segment.flags & TcpFlag.RST) !== 0) return true;
  if ((segment.flags & TcpFlag.ACK) === 0) {
    sendSynSoon(tcb);
    return false;
  }
  segment.flags &= ~TcpFlag.SYN;
  segment.seq = seqAdd(segment.seq, 1);
  return true;
}

/** PAWS (RFC 7323 §5.3 R1). */
function timestampsPass(tcb: Tcb, segment: TcpView, rst: boolean): boolean {
  if (!tcb.timestamps || rst) return true;
  const { host } = tcb;
  // RFC 7323 §3.2: once agreed, a segment without them is dropped in silence.
  if (!segment.hasTimestamps) {
    host.counters.tcpPaws++;
    return false;
  }
  if (!seqLt(segment.tsVal, tcb.tsRecent) || host.now - tcb.tsRecentAt > TS_RECENT_LIFE) return true;
  // Exception: an acknowledgment without text that was overtaken on its way is no old duplicate, and what it SACKs is worth knowing. Dropped
  // and answered, every one of them on a path that reorders would cost two packets more.
  if (segment.length === 0 && segment.seq === tcb.rcvNxt && seqDiff(tcb.tsRecent, segment.tsVal) <= tcb.rtt.rto) return true;
  host.counters.tcpPaws++;
  challenge(tcb);
  return false;
}

/** RFC 9293 table 6. */
function acceptable(tcb: Tcb, segment: TcpView): boolean {
  const { length, seq } = segment;
  const window = tcb.rcvWnd;
  const offset = seqDiff(seq, tcb.rcvNxt);
  if (window === 0) return length === 0 && offset === 0;
  const inside = offset >= 0 && offset < window;
  if (length === 0) return inside;
  const last = seqDiff(seqAdd(seq, length - 1), tcb.rcvNxt);
  return inside || (last >= 0 && last < window);
}

function refuse(tcb: Tcb, segment: TcpView): void {
  const { state, host } = tcb;
  // A copy of the peer's FIN: our ACK was lost (RFC 9293 §3.10.7.4, eighth).
  if (state === 'TIME-WAIT' && (segment.flags & TcpFlag.FIN) !== 0) setTimer(tcb, Timer.LINGER, host.now + host.config.timeWait);
  // RFC 9293: with a closed window valid ACKs are accepted still; so they are on copies of what was received already.
  const usable = (segment.flags & (TcpFlag.ACK | TcpFlag.SYN)) === TcpFlag.ACK && tcb.synchronized && state !== 'TIME-WAIT';
  const behind = seqDiff(tcb.rcvNxt, segment.seq);
  if (usable && behind >= 0 && behind < MAX_OLD && !takeAck(tcb, segment, behind === 0)) return;
  if (tcb.state === 'CLOSED') return;
  if (usable) tcb.lastHeard = host.now;
  // A probe, a copy, a keep-alive: each has to be answered, or the peer never learns where we stand.
  if (usable && segment.length > 0) {
    const length = segment.end - segment.start;
    if (seqLe(seqAdd(segment.seq, length), tcb.rcvNxt)) noteDuplicate(tcb, segment.seq, length);
    owe(tcb);
  } else challenge(tcb);
}

/** RFC 5961 §3.2. */
function takeReset(tcb: Tcb, segment: TcpView): void {
  tcb.host.counters.tcpResetsIn++;
  if (segment.seq !== tcb.rcvNxt) {
    challenge(tcb);
    return;
  }
  switch (tcb.state) {
    case 'SYN-RECEIVED':
      fail(tcb, tcb.active ? 'ECONNREFUSED' : 'ECONNRESET');
      return;
    case 'CLOSING':
    case 'LAST-ACK':
    case 'TIME-WAIT':
      transition(tcb, 'CLOSED');
      return;
    default:
      fail(tcb, 'ECONNRESET');
  }
}

/** @returns false when the segment ends here. */
function takeAck(tcb: Tcb, segment: TcpView, current: boolean): boolean {
  if (tcb.state === 'SYN-RECEIVED') {
    if (seqLe(segment.ack, tcb.sndUna) || seqGt(segment.ack, tcb.sndNxt)) {
      tcb.host.sendReset(tcb, segment.ack);
      return false;
    }
    establish(tcb, segment, segment.window << tcb.sndScale);
    return true;
  }
  // RFC 5961 §5.2
  if (seqGt(segment.ack, tcb.sndNxt) || seqLt(segment.ack, seqAdd(tcb.sndUna, -Math.max(tcb.maxSndWnd, 0xffff)))) {
    challenge(tcb);
    return false;
  }
  acknowledge(tcb, segment, current);
  if (!tcb.finAcknowledged) return true;
  if (tcb.state === 'FIN-WAIT-1') {
    transition(tcb, 'FIN-WAIT-2');
    limitFinWait2(tcb);
  } else if (tcb.state === 'CLOSING') transition(tcb, 'TIME-WAIT');
  else if (tcb.state === 'LAST-ACK') {
    transition(tcb, 'CLOSED');
    return false;
  }
  return true;
}

function takeSyn(tcb: Tcb, segment: TcpView): void {
  tcb.irs = segment.seq;
  tcb.rcvNxt = seqAdd(segment.seq, 1);
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.rcvAdv = seqAdd(tcb.rcvNxt, Math.min(0xffff, tcb.receiveLimit));
  tcb.sndWnd = segment.window;
  tcb.maxSndWnd = segment.window;
  tcb.sndWl1 = segment.seq;
  tcb.sndWl2 = segment.ack;
  agreeOptions(tcb, segment);
}

/** Our SYN is acknowledged. */
function establish(tcb: Tcb, segment: TcpView, window: number): void {
  const { host } = tcb;
  tcb.synAcknowledged = true;
  tcb.synDue = false;
  tcb.sndUna = segment.ack;
  tcb.sndWnd = window;
  tcb.maxSndWnd = Math.max(tcb.maxSndWnd, window);
  tcb.sndWl1 = segment.seq;
  tcb.sndWl2 = segment.ack;
  tcb.recoveryPoint = tcb.iss;
  tcb.timeouts = 0;
  tcb.lastHeard = host.now;
  tcb.stalledSince = host.now;
  tcb.roundStart = host.now;
  tcb.quickAcks = QUICK_ACKS;
  tcb.timers.clear(Timer.RETRANSMIT);
  tcb.timers.clear(Timer.CONNECT);
  // Karn's rule: only a handshake without repetition tells the time (RFC 6298 §3).
  if (!tcb.handshakeLost) tcb.rtt.sample(host.now - tcb.synSentAt, host.now);
  else tcb.rtt.distrustHandshake();
  transition(tcb, 'ESTABLISHED');
  startKeepAlive(tcb);
  host.notify(tcb, Ready.CONNECTED | Ready.WRITABLE);
  finishWriting(tcb);
  host.wantOutput(tcb);
}

/** RFC 5961 §7: so many per second and no more, else an attacker makes us answer for ever. */
function challenge(tcb: Tcb): void {
  const { host } = tcb;
  if (host.now - tcb.challengeSince >= 1000) {
    tcb.challengeSince = host.now;
    tcb.challengeAcks = 0;
  }
  if (tcb.challengeAcks >= CHALLENGES_PER_SECOND) {
    host.counters.tcpChallengeAcksSuppressed++;
    return;
  }
  tcb.challengeAcks++;
  host.counters.tcpChallengeAcks++;
  owe(tcb);
}

function sendSynSoon(tcb: Tcb): void {
  tcb.synDue = true;
  tcb.host.wantOutput(tcb);
}

/** RFC 7323 §5.5: a timestamp older than 24 days may have wrapped. */
const TS_RECENT_LIFE = 24 * 24 * 3600 * 1000;
/** Ours. */
const CHALLENGES_PER_SECOND = 10;
const PASSIVE_TIMEOUT = 75_000;
/** How far behind RCV.NXT a segment may start whose ACK still counts. */
const MAX_OLD = 0x4000_0000;
