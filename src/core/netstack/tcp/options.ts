import { putU16, putU32, TcpOption, type TcpView } from '../../packet/index.ts';
import { initialWindow } from './congestion/control.ts';
import type { Tcb } from './tcb.ts';

/** Octets of the options that every segment carries once agreed: NOP, NOP, Timestamps (RFC 7323 appendix A). */
export const TIMESTAMPS_LENGTH = 12;

/**
 * Writes the options of a SYN, or of a SYN,ACK where only what the peer offered may stand (RFC 7323 §1.3, RFC 2018 §2).
 * @returns octets, a multiple of four.
 */
export function writeSynOptions(tcb: Tcb, out: Uint8Array, at: number): number {
  const { config } = tcb.host;
  const answer = tcb.state === 'SYN-RECEIVED';
  const timestamps = answer ? tcb.timestamps : config.timestamps;
  const sack = answer ? tcb.sack : config.sack;
  const scale = answer ? tcb.scaling : config.windowScaling;
  let end = at;
  out[end] = TcpOption.MSS;
  out[end + 1] = 4;
  putU16(out, end + 2, advertisedMss(tcb));
  end += 4;
  if (timestamps) end = writeTimestamps(out, end, tcb.tsNow, answer ? tcb.tsRecent : 0);
  if (sack) {
    putU16(out, end, NOP_NOP);
    out[end + 2] = TcpOption.SACK_PERMITTED;
    out[end + 3] = 2;
    end += 4;
  }
  if (scale) {
    out[end] = TcpOption.NOP;
    out[end + 1] = TcpOption.WINDOW_SCALE;
    out[end + 2] = 3;
    out[end + 3] = scaleFor(config.maxReceiveBuffer);
    end += 4;
  }
  return end - at;
}

/** Takes over what a SYN or SYN,ACK offers, where we want it too. */
export function agreeOptions(tcb: Tcb, segment: TcpView): void {
  const { config } = tcb.host;
  // RFC 9293 §3.7.1: without the option, the standard's default.
  tcb.peerMss = segment.mss < 0 ? (tcb.localIp.length === 4 ? 536 : 1220) : Math.max(segment.mss, MINIMUM_MSS);
  tcb.timestamps = config.timestamps && segment.hasTimestamps;
  if (tcb.timestamps) {
    tcb.tsRecent = segment.tsVal;
    tcb.tsRecentAt = tcb.host.now;
  }
  tcb.sack = config.sack && segment.sackPermitted;
  tcb.scaling = config.windowScaling && segment.windowScale >= 0;
  // RFC 7323 §2.3: a larger shift is taken as 14.
  tcb.sndScale = tcb.scaling ? Math.min(segment.windowScale, 14) : 0;
  tcb.rcvScale = tcb.scaling ? scaleFor(config.maxReceiveBuffer) : 0;
  if (!tcb.scaling) tcb.receiveLimit = Math.min(tcb.receiveLimit, 0xffff);
  sizeSegments(tcb);
}

/** SMSS from the peer's MSS and the path's MTU (RFC 9293 §3.7.1, RFC 6691 §2); to be called when either changed. */
export function sizeSegments(tcb: Tcb): void {
  const smss = segmentRoom(tcb) - (tcb.timestamps ? TIMESTAMPS_LENGTH : 0);
  if (smss === tcb.smss) return;
  const shrunk = tcb.smss !== 0 && smss < tcb.smss;
  tcb.smss = smss;
  if (tcb.congestion === undefined) {
    tcb.congestion = tcb.host.config.congestion(smss, initialWindow(smss, tcb.handshakeLost));
    return;
  }
  tcb.congestion.resized(smss);
  if (shrunk && tcb.board.count > 0) tcb.board.resegment(smss);
}

/** Octets that options and text of a segment may have together. */
export function segmentRoom(tcb: Tcb): number {
  return Math.max(MINIMUM_MSS, Math.min(tcb.peerMss, tcb.pathMtu - tcb.ipHeader - 20));
}

export function writeTimestamps(out: Uint8Array, at: number, value: number, echo: number): number {
  putU16(out, at, NOP_NOP);
  out[at + 2] = TcpOption.TIMESTAMPS;
  out[at + 3] = 10;
  putU32(out, at + 4, value);
  putU32(out, at + 8, echo);
  return at + TIMESTAMPS_LENGTH;
}

/** Octets that so many SACK blocks take, with their padding. */
export const sackLength = (blocks: number): number => (blocks === 0 ? 0 : 4 + 8 * blocks);

/** RFC 2018 §3: the most recent first; before it what came twice (RFC 2883 §4). @param room blocks that fit. */
export function writeSack(tcb: Tcb, out: Uint8Array, at: number, room: number): number {
  const { outOfOrder } = tcb;
  const twice = tcb.dsackDue && room > 0 ? 1 : 0;
  const blocks = Math.min(outOfOrder.count + twice, room);
  if (blocks === 0) return at;
  putU16(out, at, NOP_NOP);
  out[at + 2] = TcpOption.SACK;
  out[at + 3] = 2 + 8 * blocks;
  for (let i = 0; i < blocks; i++) {
    const isTwice = i < twice;
    putU32(out, at + 4 + 8 * i, isTwice ? tcb.dsackLeft : outOfOrder.left(i - twice));
    putU32(out, at + 8 + 8 * i, isTwice ? tcb.dsackRight : outOfOrder.right(i - twice));
  }
  tcb.dsackDue = false;
  return at + sackLength(blocks);
}

/** RFC 6691 §2: the MTU less the fixed headers; options are the sender's concern. */
function advertisedMss(tcb: Tcb): number {
  return Math.min(0xffff, tcb.linkMtu - tcb.ipHeader - 20);
}

/** The smallest shift with which the whole buffer can be advertised. */
function scaleFor(buffer: number): number {
  let shift = 0;
  while (shift < 14 && 0xffff << shift < buffer) shift++;
  return shift;
}

const NOP_NOP = (TcpOption.NOP << 8) | TcpOption.NOP;

/** Ours: a peer that offers less would make us send headers. */
const MINIMUM_MSS = 64;
