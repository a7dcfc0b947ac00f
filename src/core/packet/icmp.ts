import { checksum, pseudoHeaderSum, sum16 } from './checksum.ts';
import type { IpView } from './ip.ts';
import { IpProtocol } from './ip-protocol.ts';
import { getU16, getU32, putU16, putU32 } from './octets.ts';

export const ICMP_HEADER = 8;

/** RFC 792. */
export const IcmpType = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const;

/** Codes of Destination Unreachable: RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1. */
export const IcmpUnreachable = {
  NET: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  SOURCE_ROUTE_FAILED: 5,
  NET_UNKNOWN: 6,
  HOST_UNKNOWN: 7,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  COMMUNICATION_PROHIBITED: 13,
} as const;

/** RFC 4443. */
export const Icmpv6Type = {
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
} as const;

/** Codes of Destination Unreachable: RFC 4443 §3.1. */
export const Icmpv6Unreachable = {
  NO_ROUTE: 0,
  PROHIBITED: 1,
  BEYOND_SCOPE: 2,
  ADDRESS: 3,
  PORT: 4,
  POLICY: 5,
  REJECT_ROUTE: 6,
} as const;

/** An ICMP or ICMPv6 message inside an IP packet, seen in place. */
export class IcmpView {
  type = 0;
  code = 0;
  /** The four octets behind the checksum: identifier and sequence number, MTU, pointer. */
  rest = 0;
  /** Bounds of what follows: echo data, or the packet that an error is about. */
  start = 0;
  end = 0;

  get identifier(): number {
    return this.rest >>> 16;
  }

  get sequence(): number {
    return this.rest & 0xffff;
  }

  /** @returns false when it is too short or the checksum fails (RFC 792; with pseudo header, RFC 4443 §2.3). */
  parse(ip: IpView): boolean {
    const { data, payload, end } = ip;
    const length = end - payload;
    if (length < ICMP_HEADER) return false;
    if (sum16(data, payload, end, seedOf(ip, length)) !== 0xffff) return false;
    this.type = data[payload]!;
    this.code = data[payload + 1]!;
    this.rest = getU32(data, payload + 4);
    this.start = payload + ICMP_HEADER;
    this.end = end;
    return true;
  }
}

/** Writes the header at `at`; `length` octets stand behind it already. `source` and `destination` matter for ICMPv6 only. */
export function writeIcmp(
  data: Uint8Array,
  at: number,
  type: number,
  code: number,
  rest: number,
  length: number,
  source: Uint8Array,
  destination: Uint8Array,
): void {
  const total = ICMP_HEADER + length;
  data[at] = type;
  data[at + 1] = code;
  putU16(data, at + 2, 0);
  putU32(data, at + 4, rest);
  const seed = source.length === 16 ? pseudoHeaderSum(source, 0, destination, 0, 16, IpProtocol.IPV6_ICMP, total) : 0;
  putU16(data, at + 2, checksum(data, at, at + total, seed));
}

/** RFC 1122 §3.2.2, RFC 4443 §2.4 (e): no error is ever sent about an error. Unknown ICMPv6 types below 128 are errors. */
export function isIcmpError(version: 4 | 6, type: number): boolean {
  if (version === 6) return type < 128;
  return (
    type === IcmpType.DESTINATION_UNREACHABLE ||
    type === IcmpType.SOURCE_QUENCH ||
    type === IcmpType.REDIRECT ||
    type === IcmpType.TIME_EXCEEDED ||
    type === IcmpType.PARAMETER_PROBLEM
  );
}

/**
 * The packet inside an ICMP error: whole header and at least the first eight octets of what was sent (RFC 792), found without
 * trusting its length fields. Offsets are into the array that was given.
 */
export class QuotedPacket {
  version: 4 | 6 = 4;
  protocol = 0;
  sourceAt = 0;
  destinationAt = 0;
  addressLength: 4 | 16 = 4;
  payload = 0;
  /** Total length that the header claims. */
  claimedLength = 0;

  /** @returns false when the upper layer's first eight octets are not there, or a later fragment is quoted. */
  parse(data: Uint8Array, start: number, end: number): boolean {
    if (end - start < 28) return false;
    const version = data[start]! >>> 4;
    if (version === 4) return this.#parse4(data, start, end);
    return version === 6 && this.#parse6(data, start, end);
  }

  #parse4(data: Uint8Array, start: number, end: number): boolean {
    const header = (data[start]! & 0x0f) * 4;
    if (header < 20 || end - start < header + 8 || (getU16(data, start + 6) & 0x1fff) !== 0) return false;
    this.version = 4;
    this.addressLength = 4;
    this.protocol = data[start + 9]!;
    this.sourceAt = start + 12;
    this.destinationAt = start + 16;
    this.payload = start + header;
    this.claimedLength = getU16(data, start + 2);
    return true;
  }

  #parse6(data: Uint8Array, start: number, end: number): boolean {
    this.version = 6;
    this.addressLength = 16;
    this.sourceAt = start + 8;
    this.destinationAt = start + 24;
    this.claimedLength = 40 + getU16(data, start + 4);
    let next = data[start + 6]!;
    let at = start + 40;
    for (let count = 0; count < 8; count++) {
      if (end - at < 8) return false;
      if (next === IpProtocol.IPV6_FRAG) {
        if ((getU16(data, at + 2) & 0xfff8) !== 0) return false;
        next = data[at]!;
        at += 8;
      } else if (next === IpProtocol.HOPOPT || next === IpProtocol.IPV6_OPTS || next === IpProtocol.IPV6_ROUTE) {
        next = data[at]!;
        at += (data[at + 1]! + 1) * 8;
      } else {
        this.protocol = next;
        this.payload = at;
        return true;
      }
    }
    return false;
  }
}

function seedOf(ip: IpView, length: number): number {
  if (ip.version === 4) return 0;
  return pseudoHeaderSum(ip.data, ip.sourceAt, ip.data, ip.destinationAt, 16, IpProtocol.IPV6_ICMP, length);
}
