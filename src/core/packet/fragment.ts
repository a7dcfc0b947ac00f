import { checksum } from './checksum.ts';
import type { IpView } from './ip.ts';
import { IpProtocol } from './ip-protocol.ts';
import { IPV4_HEADER } from './ipv4.ts';
import { IPV6_FRAGMENT_HEADER, IPV6_HEADER, writeIpv6Fragment } from './ipv6.ts';
import { getU16, putU16 } from './octets.ts';

/**
 * Cuts an IPv4 packet as a router does (RFC 791 §3.2). What is cut may be a fragment itself. Its DF bit is the caller's business.
 * @param mtu octets of a piece at most
 * @param take gets each piece; a view of its own memory
 * @returns false when no piece of eight octets fits: nothing was handed out then
 */
export function fragmentIpv4(packet: IpView, mtu: number, take: (piece: Uint8Array) => void): boolean {
  const { data, start, end, payload } = packet;
  const header = data.subarray(start, payload);
  const later = laterHeader(header);
  // every header but the first may be shorter: the first decides, so that all pieces fit alike
  const step = (mtu - header.length) & ~7;
  if (step < 8) return false;
  for (let at = payload; at < end; at += step) {
    const first = at === payload;
    const head = first ? header : later;
    const length = Math.min(step, end - at);
    const piece = new Uint8Array(head.length + length);
    piece.set(head);
    piece.set(data.subarray(at, at + length), head.length);
    const more = packet.moreFragments || at + length < end;
    piece[0] = 0x40 | (head.length >>> 2);
    putU16(piece, 2, piece.length);
    putU16(piece, 6, (getU16(head, 6) & 0x8000) | (more ? 0x2000 : 0) | ((packet.fragmentOffset + at - payload) >>> 3));
    putU16(piece, 10, 0);
    putU16(piece, 10, checksum(piece, 0, head.length));
    take(piece);
  }
  return true;
}

/**
 * Cuts an IPv6 packet without extension headers, which its source alone may do (RFC 8200 §4.5).
 * @param mtu octets of a piece at most, 1280 or more
 * @param identification 32 bits, not used lately between the same two addresses
 */
export function fragmentIpv6(packet: IpView, mtu: number, identification: number, take: (piece: Uint8Array) => void): void {
  const { data, start, end, payload, protocol } = packet;
  const step = (mtu - IPV6_HEADER - IPV6_FRAGMENT_HEADER) & ~7;
  for (let at = payload; at < end; at += step) {
    const length = Math.min(step, end - at);
    const piece = new Uint8Array(IPV6_HEADER + IPV6_FRAGMENT_HEADER + length);
    piece.set(data.subarray(start, start + IPV6_HEADER));
    piece[6] = IpProtocol.IPV6_FRAG;
    putU16(piece, 4, IPV6_FRAGMENT_HEADER + length);
    writeIpv6Fragment(piece, IPV6_HEADER, protocol, at - payload, at + length < end, identification);
    piece.set(data.subarray(at, at + length), IPV6_HEADER + IPV6_FRAGMENT_HEADER);
    take(piece);
  }
}

/** RFC 791 §3.1: of the options, pieces behind the first carry those whose copied flag is set. */
function laterHeader(header: Uint8Array): Uint8Array {
  const kept = new Uint8Array(header.length);
  kept.set(header.subarray(0, IPV4_HEADER));
  let length = IPV4_HEADER;
  for (let at = IPV4_HEADER; at < header.length; ) {
    const type = header[at]!;
    if (type === END_OF_OPTIONS) break;
    const octets = type === NO_OPERATION ? 1 : Math.max(2, header[at + 1] ?? 2);
    if (at + octets > header.length) break;
    if (type !== NO_OPERATION && (type & COPIED) !== 0) {
      kept.set(header.subarray(at, at + octets), length);
      length += octets;
    }
    at += octets;
  }
  return kept.subarray(0, (length + 3) & ~3);
}

const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const COPIED = 0x80;
