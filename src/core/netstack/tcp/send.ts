import { IpProtocol, sealTcp, TCP_HEADER, TcpFlag, writeTcp } from '../../packet/index.ts';
import { writeIpHeader } from '../ip-output.ts';
import { leaveChecksum, leaveCutting, trainText } from './offload.ts';
import { sackLength, segmentRoom, writeSack, writeSynOptions, writeTimestamps } from './options.ts';
import { mayLeave, spend } from './pacing.ts';
import { probeLeft, probeText, tailProbeText } from './path-mtu-search.ts';
import { advertiseWindow, openWindow } from './receive-window.ts';
import { seqAdd, seqDiff, seqLt, seqMin } from './seq.ts';
import { noteRetransmission } from './spurious.ts';
import { probeSent, scheduleProbe } from './tail-loss.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { setTimer } from './transition.ts';

/**
 * The next segment of a connection, as a whole IP packet written to `out` at `at`. Decides at the last moment, so that what was written
 * or acknowledged meanwhile counts.
 * @returns its length, 0 when there is nothing to send now.
 */
export function nextSegment(tcb: Tcb, out: Uint8Array, at: number): number {
  switch (tcb.state) {
    case 'CLOSED':
    case 'LISTEN':
      return 0;
    case 'SYN-SENT':
      return tcb.synDue ? sendSyn(tcb, out, at) : 0;
    case 'SYN-RECEIVED':
      if (tcb.held) return 0;
      return tcb.synDue ? sendSyn(tcb, out, at) : sendControl(tcb, out, at);
    case 'TIME-WAIT':
    case 'FIN-WAIT-2':
      return sendControl(tcb, out, at);
    default:
      return (
        resendLost(tcb, out, at) ||
        sendTailProbe(tcb, out, at) ||
        sendNew(tcb, out, at) ||
        sendLastResort(tcb, out, at) ||
        sendControl(tcb, out, at)
      );
  }
}

function sendSyn(tcb: Tcb, out: Uint8Array, at: number): number {
  tcb.synDue = false;
  const { now } = tcb.host;
  if (!tcb.handshakeLost) tcb.synSentAt = now;
  const flags = tcb.state === 'SYN-SENT' ? TcpFlag.SYN : TcpFlag.SYN | TcpFlag.ACK;
  const options = writeSynOptions(tcb, out, at + tcb.ipHeader + TCP_HEADER);
  const length = seal(tcb, out, at, tcb.iss, flags, openWindow(tcb), options, 0);
  setTimer(tcb, Timer.RETRANSMIT, now + tcb.rtt.rto);
  if (tcb.state === 'SYN-RECEIVED') acknowledged(tcb);
  return length;
}

/** RFC 6675 §4 NextSeg (1), and what is lost after a timeout. */
function resendLost(tcb: Tcb, out: Uint8Array, at: number): number {
  const { board } = tcb;
  if (!board.hasWaiting) return 0;
  const index = board.nextLost();
  if (index < 0) return 0;
  const length = seqDiff(board.endOf(index), board.startOf(index));
  if (!tcb.forceResend && board.pipe > 0 && (board.pipe + length > window(tcb) || !mayLeave(tcb))) return 0;
  tcb.forceResend = false;
  return resend(tcb, out, at, index);
}

/** NextSeg (2): text that was never sent, as far as both windows, Nagle and the silly window rule allow. */
function sendNew(tcb: Tcb, out: Uint8Array, at: number): number {
  const { unsent, board } = tcb;
  const finWaits = tcb.finQueued && !tcb.finSent;
  if (tcb.probeDue) return sendProbe(tcb, out, at, unsent, finWaits);
  if (unsent <= 0 && !finWaits) return starve(tcb);
  const usable = seqDiff(seqAdd(tcb.sndUna, tcb.sndWnd), tcb.sndNxt);
  const room = tcb.smss - sackRoom(tcb);
  const probe = probeText(tcb, Math.min(unsent, usable));
  const length = probe > 0 ? probe : Math.max(0, Math.min(unsent, room, usable));
  // FIN occupies a place in the window too.
  const fin = finWaits && length === unsent && usable > length;
  if (probe === 0 && !worthSending(tcb, length, unsent, room, fin)) return waitForWindow(tcb, usable);
  const octets = length + (fin ? 1 : 0);
  if ((board.pipe > 0 && board.pipe + octets > window(tcb)) || board.room === 0 || !mayLeave(tcb)) return 0;
  if (board.count === 0 && tcb.host.now - tcb.lastSent > tcb.rtt.rto) tcb.congestion!.idle();
  tcb.overrideSws = false;
  if (probe > 0) probeLeft(tcb, tcb.sndNxt, seqAdd(tcb.sndNxt, octets));
  else if (octets === room)
    return sendFresh(tcb, out, at, trainText(tcb, room, Math.min(unsent, usable, window(tcb) - board.pipe)), false, room);
  return sendFresh(tcb, out, at, octets, fin);
}

/** RFC 9293 §3.8.6.2.1, with the Nagle algorithm (§3.7.4) as its bracketed condition. */
function worthSending(tcb: Tcb, length: number, unsent: number, room: number, fin: boolean): boolean {
  if (fin) return true;
  if (length === 0) return false;
  if (length === room || tcb.overrideSws) return true;
  return (tcb.noDelay || tcb.board.count === 0) && (length === unsent || length >= tcb.maxSndWnd / 2);
}

/** It is not the path that limits what is sent. */
function starve(tcb: Tcb): 0 {
  const { board } = tcb;
  if (!board.hasWaiting && board.pipe + tcb.smss <= window(tcb)) board.rate.starves(board.pipe);
  return 0;
}

/** Nothing is under way that could bring an acknowledgment: a timer has to ask whether the window opened. */
function waitForWindow(tcb: Tcb, usable: number): 0 {
  starve(tcb);
  if (tcb.board.count > 0 || tcb.timers.running(Timer.PERSIST)) return 0;
  const delay = usable > 0 ? SWS_OVERRIDE : tcb.rtt.rto;
  setTimer(tcb, Timer.PERSIST, tcb.host.now + delay);
  return 0;
}

/** RFC 9293 §3.8.6.1: one octet beyond the window, or again the one that was sent before. */
function sendProbe(tcb: Tcb, out: Uint8Array, at: number, unsent: number, finWaits: boolean): number {
  tcb.probeDue = false;
  const { board } = tcb;
  if (board.count === 0 && unsent <= 0 && !finWaits) return 0;
  tcb.host.counters.tcpZeroWindowProbes++;
  if (board.count > 0) {
    board.resent(0, tcb.host.now);
    return emitText(tcb, out, at, board.startOf(0), board.endOf(0));
  }
  const start = tcb.sndNxt;
  if (unsent === 0) tcb.finSent = true;
  tcb.sndNxt = seqAdd(start, 1);
  board.sent(start, tcb.sndNxt, tcb.host.now);
  return emitText(tcb, out, at, start, tcb.sndNxt);
}

/** RFC 8985 §7.3: a segment more than the window allows, new text if there is any, else the last one again. */
function sendTailProbe(tcb: Tcb, out: Uint8Array, at: number): number {
  if (!tcb.tlpDue) return 0;
  tcb.tlpDue = false;
  const { board } = tcb;
  if (board.count === 0) return 0;
  const usable = seqDiff(seqAdd(tcb.sndUna, tcb.sndWnd), tcb.sndNxt);
  const length = Math.min(tcb.unsent, tcb.smss - sackRoom(tcb), usable, tailProbeText(tcb));
  const again = length <= 0 || board.room === 0;
  const octets = again ? resend(tcb, out, at, board.count - 1) : sendFresh(tcb, out, at, length, false);
  probeSent(tcb, again);
  return octets;
}

/** @param unit octets of each segment but the last, where they are several in one packet */
function sendFresh(tcb: Tcb, out: Uint8Array, at: number, octets: number, fin: boolean, unit = octets): number {
  const { board, host } = tcb;
  const start = tcb.sndNxt;
  if (board.count === 0) tcb.stalledSince = host.now;
  if (fin) tcb.finSent = true;
  tcb.sndNxt = seqAdd(start, octets);
  for (let from = start; seqLt(from, tcb.sndNxt); from = seqAdd(from, unit))
    board.sent(from, seqMin(seqAdd(from, unit), tcb.sndNxt), host.now);
  startRetransmitTimer(tcb);
  scheduleProbe(tcb);
  return emitText(tcb, out, at, start, tcb.sndNxt, unit);
}

/** NextSeg (3) and (4): in fast recovery, when nothing better is left, keep the acknowledgments coming. */
function sendLastResort(tcb: Tcb, out: Uint8Array, at: number): number {
  const { board } = tcb;
  if (tcb.recovery !== 'fast' || !tcb.sack || board.count === 0) return 0;
  if (board.hasWaiting || board.pipe + tcb.smss > window(tcb) || !mayLeave(tcb)) return 0;
  let index = board.nextSuspect();
  if (index < 0) {
    if (tcb.rescued || seqLt(tcb.sndUna, tcb.rescueFrom)) return 0;
    index = board.lastUnsacked();
    tcb.rescued = true;
  }
  return index < 0 ? 0 : resend(tcb, out, at, index);
}

/** Keep-alive probe or pure acknowledgment. */
function sendControl(tcb: Tcb, out: Uint8Array, at: number): number {
  if (tcb.keepAliveDue) {
    tcb.keepAliveDue = false;
    tcb.host.counters.tcpKeepAlives++;
    // RFC 9293 §3.8.4: a number that was used already has to be answered.
    return emitEmpty(tcb, out, at, seqAdd(tcb.sndNxt, -1));
  }
  if (!tcb.ackNow && tcb.duplicateAcksOwed === 0) return 0;
  if (tcb.duplicateAcksOwed > 0) tcb.duplicateAcksOwed--;
  return emitEmpty(tcb, out, at, tcb.sndNxt);
}

function resend(tcb: Tcb, out: Uint8Array, at: number, index: number): number {
  const { board, host } = tcb;
  board.resent(index, host.now);
  noteRetransmission(tcb);
  host.counters.tcpRetransmits++;
  // RFC 6675 §6: else the timer expires over every segment that is lost twice, while acknowledgments go on telling what arrives.
  if (index === 0 && tcb.recovery === 'fast') tcb.timers.clear(Timer.RETRANSMIT);
  startRetransmitTimer(tcb);
  return emitText(tcb, out, at, board.startOf(index), board.endOf(index));
}

/** RFC 6298 (5.1). */
function startRetransmitTimer(tcb: Tcb): void {
  tcb.timers.clear(Timer.PERSIST);
  if (!tcb.timers.running(Timer.RETRANSMIT)) setTimer(tcb, Timer.RETRANSMIT, tcb.host.now + tcb.rtt.rto);
}

/** cwnd; without SACK duplicate acknowledgments inflate it (RFC 6582 §3.2, RFC 3042). */
function window(tcb: Tcb): number {
  if (tcb.recovery === 'fast' && tcb.reduction !== undefined) return tcb.reduction.window;
  return tcb.congestion!.window + tcb.inflation;
}

/** Octets that SACK blocks take from the text of a segment. */
function sackRoom(tcb: Tcb): number {
  return tcb.sack ? sackLength(Math.min(tcb.outOfOrder.count, 3)) : 0;
}

/** Text, and FIN when the range includes its place. @param unit octets of each segment but the last */
function emitText(tcb: Tcb, out: Uint8Array, at: number, start: number, end: number, unit = seqDiff(end, start)): number {
  const offset = seqDiff(start, tcb.bufferSeq);
  const queued = tcb.sendBuffer.length - offset;
  const octets = seqDiff(end, start);
  const text = Math.min(octets, queued);
  let flags: number = TcpFlag.ACK;
  if (text < octets) flags |= TcpFlag.FIN;
  if (text === queued && text > 0) flags |= TcpFlag.PSH;
  const optionsAt = at + tcb.ipHeader + TCP_HEADER;
  let optionsEnd = optionsAt;
  if (tcb.timestamps) optionsEnd = writeTimestamps(out, optionsEnd, tcb.tsNow, tcb.tsRecent);
  spend(tcb, text);
  tcb.reduction?.sent(text);
  const spare = segmentRoom(tcb) - (optionsEnd - optionsAt) - Math.min(text, unit);
  if (tcb.sack) optionsEnd = writeSack(tcb, out, optionsEnd, Math.min(3, Math.max(0, Math.floor((spare - 4) / 8))));
  tcb.sendBuffer.copy(offset, text, out, optionsEnd);
  tcb.lastSent = tcb.host.now;
  const length = seal(tcb, out, at, start, flags, advertiseWindow(tcb), optionsEnd - optionsAt, text);
  if (text > unit) leaveCutting(tcb, text, unit);
  acknowledged(tcb);
  return length;
}

function emitEmpty(tcb: Tcb, out: Uint8Array, at: number, seq: number): number {
  const optionsAt = at + tcb.ipHeader + TCP_HEADER;
  let optionsEnd = optionsAt;
  if (tcb.timestamps) optionsEnd = writeTimestamps(out, optionsEnd, tcb.tsNow, tcb.tsRecent);
  if (tcb.sack) optionsEnd = writeSack(tcb, out, optionsEnd, tcb.timestamps ? 3 : 4);
  const length = seal(tcb, out, at, seq, TcpFlag.ACK, advertiseWindow(tcb), optionsEnd - optionsAt, 0);
  acknowledged(tcb);
  return length;
}

/** An ACK with RCV.NXT left. */
function acknowledged(tcb: Tcb): void {
  tcb.ackNow = false;
  tcb.unackedText = 0;
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.timers.clear(Timer.DELAYED_ACK);
}

/** IP header, TCP header and checksum around options and text that stand in their place. @returns octets of the packet. */
function seal(
  tcb: Tcb,
  out: Uint8Array,
  at: number,
  seq: number,
  flags: number,
  windowField: number,
  options: number,
  text: number,
): number {
  const header = TCP_HEADER + options;
  const ip = writeIpHeader(out, at, tcb.localIp, tcb.remoteIp, IpProtocol.TCP, header + text);
  fields.sourcePort = tcb.local.port;
  fields.destinationPort = tcb.remote.port;
  fields.seq = seq;
  fields.ack = (flags & TcpFlag.ACK) !== 0 ? tcb.rcvNxt : 0;
  fields.flags = flags;
  fields.window = windowField;
  writeTcp(out, at + ip, fields, header);
  const end = at + ip + header + text;
  if (tcb.host.offload === undefined) sealTcp(out, at + ip, end, tcb.localIp, tcb.remoteIp);
  else leaveChecksum(tcb, tcb.host.offload, out, at + ip, header, end);
  tcb.host.counters.tcpSegmentsOut++;
  return end - at;
}

// Filled in again for every segment.
const fields = { sourcePort: 0, destinationPort: 0, seq: 0, ack: 0, flags: 0, window: 0 };

/** RFC 9293 §3.8.6.2.1: between 0.1 and 1 second. */
const SWS_OVERRIDE = 200;
