import { getU16, getU32 } from './octets.ts';

/** Link types of capture files, as tcpdump.org registers them. */
export const LinkType = {
  /** BSD loopback: the address family in the byte order of the machine that captured. */
  NULL: 0,
  ETHERNET: 1,
  PPP: 9,
  RAW_BSD: 12,
  RAW_OPENBSD: 14,
  RAW: 101,
  /** OpenBSD loopback: the address family in network byte order. */
  LOOP: 108,
  /** Linux "cooked" capture of the pseudo-device `any`. */
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

/**
 * The IP packet inside a frame, as a view; undefined when the frame carries something else, is too short, or its link type is not
 * one of ours. Octets that the link added behind the packet are still there: the packet's own length leaves them out.
 */
export function ipPacketOf(linkType: number, frame: Uint8Array): Uint8Array | undefined {
  switch (linkType) {
    case LinkType.RAW:
    case LinkType.RAW_BSD:
    case LinkType.RAW_OPENBSD:
    case LinkType.IPV4:
    case LinkType.IPV6:
      return frame;
    case LinkType.ETHERNET:
      return frame.length < 14 ? undefined : behindEthertype(frame, 12);
    case LinkType.LINUX_SLL:
      return frame.length < 16 ? undefined : behindEthertype(frame, 14);
    case LinkType.LINUX_SLL2:
      return frame.length >= 20 && isIp(getU16(frame, 0)) ? frame.subarray(20) : undefined;
    case LinkType.NULL:
    case LinkType.LOOP:
      return frame.length >= 4 && isIpFamily(getU32(frame, 0)) ? frame.subarray(4) : undefined;
    case LinkType.PPP:
      return behindPpp(frame);
    default:
      return undefined;
  }
}

/** Walks VLAN tags (IEEE 802.1Q, 802.1ad) and a PPPoE session header (RFC 2516). */
function behindEthertype(frame: Uint8Array, at: number): Uint8Array | undefined {
  let type = getU16(frame, at);
  let next = at + 2;
  for (let tags = 0; isVlan(type) && tags < MAX_VLAN_TAGS && next + 4 <= frame.length; tags++) {
    type = getU16(frame, next + 2);
    next += 4;
  }
  if (isIp(type)) return frame.subarray(next);
  return type === PPPOE_SESSION && next + 8 <= frame.length ? behindPpp(frame.subarray(next + 6)) : undefined;
}

/** RFC 1661 §2, RFC 1662 §3.1: address and control octets may be there or left out. */
function behindPpp(frame: Uint8Array): Uint8Array | undefined {
  const at = frame[0] === 0xff && frame[1] === 0x03 ? 2 : 0;
  if (frame.length < at + 2) return undefined;
  const protocol = getU16(frame, at);
  return protocol === PPP_IPV4 || protocol === PPP_IPV6 ? frame.subarray(at + 2) : undefined;
}

const isIp = (type: number): boolean => type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
const isVlan = (type: number): boolean => type === 0x8100 || type === 0x88a8 || type === 0x9100;

/** AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS. Small numbers tell their byte order. */
const isIpFamily = (word: number): boolean => [2, 10, 24, 28, 30].includes(word <= 0xff ? word : swap(word));
const swap = (word: number): number => ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24)) >>> 0;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const PPPOE_SESSION = 0x8864;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;
const MAX_VLAN_TAGS = 4;
