import { IpProtocol, pseudoHeaderSum, putU16 } from '../../packet/index.ts';
import { GsoType, VnetFlag, type VnetHeader } from '../../packet/offload/index.ts';
import { mayLeaveAtOnce } from './pacing.ts';
import type { Tcb } from './tcb.ts';

/**
 * What TCP leaves to an interface that cuts large packets and fills in checksums, as network cards do: text of many segments leaves behind one
 * header. The connection counts, paces and repeats segments all the same; only the copying and summing is done once for all.
 */

/**
 * Octets of text that may leave in one packet, once a segment of `unit` may: a multiple of that.
 * @param allowed that text and both windows leave
 */
export function trainText(tcb: Tcb, unit: number, allowed: number): number {
  if (tcb.host.offload === undefined) return unit;
  const most = Math.min(allowed, mayLeaveAtOnce(tcb, unit), LARGEST_TEXT, tcb.board.room * unit);
  return Math.max(unit, Math.floor(most / unit) * unit);
}

/** The segment in `[at, end)`, whose headers are `header` octets long, gets its checksum elsewhere: its field holds what that begins with. */
export function leaveChecksum(tcb: Tcb, offload: VnetHeader, out: Uint8Array, at: number, header: number, end: number): void {
  const { localIp, remoteIp } = tcb;
  offload.clear();
  offload.flags = VnetFlag.NEEDS_CSUM;
  offload.csumStart = tcb.ipHeader;
  offload.csumOffset = CHECKSUM_AT;
  offload.hdrLen = tcb.ipHeader + header;
  putU16(out, at + CHECKSUM_AT, pseudoHeaderSum(localIp, 0, remoteIp, 0, localIp.length, IpProtocol.TCP, end - at));
}

/** What was just written is to be cut into segments of `unit`. */
export function leaveCutting(tcb: Tcb, text: number, unit: number): void {
  const offload = tcb.host.offload!;
  offload.gsoType = tcb.localIp.length === 4 ? GsoType.TCPV4 : GsoType.TCPV6;
  offload.gsoSize = unit;
  tcb.host.counters.tcpSegmentsOut += Math.ceil(text / unit) - 1;
}

/** Of the checksum in a TCP header (RFC 9293 §3.1). */
const CHECKSUM_AT = 16;
/** An IP packet holds 65535 octets; the longest headers are those of IPv6 and of TCP with all its options. */
const LARGEST_TEXT = 65_535 - 40 - 60;
