import {
  getU16,
  ICMP_HEADER,
  IcmpType,
  Icmpv6Type,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  type IpView,
  isIcmpError,
  putU16,
  updateChecksum,
  writeIcmp,
  writeIpv4,
  writeIpv6,
} from '../../core/packet/index.ts';

/**
 * What a router does to a packet before it passes it on: one hop less (RFC 1812 §5.3.1, RFC 8200 §3).
 * @returns false when no hop is left: the packet ends here
 */
export function takeHop(packet: IpView): boolean {
  const { data, start, version, hopLimit } = packet;
  if (hopLimit <= 1) return false;
  if (version === 6) {
    data[start + 7] = hopLimit - 1;
    return true;
  }
  const before = getU16(data, start + 8);
  data[start + 8] = hopLimit - 1;
  putU16(data, start + 10, updateChecksum(getU16(data, start + 10), before, getU16(data, start + 8)));
  return true;
}

/** Only what has one sender and one receiver beyond the link is passed on (RFC 1812 §5.3.7, RFC 4291 §2.5.6). */
export function mayPassOn(packet: IpView): boolean {
  return isRoutable(packet, packet.sourceAt) && isRoutable(packet, packet.destinationAt);
}

/**
 * The ICMP answer to a packet whose hops ran out here (RFC 792, RFC 4443 §3.3): `traceroute` lives on it.
 * @param from own address of the packet's family
 * @returns undefined where none may be sent: about ICMP errors and later fragments (RFC 1122 §3.2.2, RFC 4443 §2.4)
 */
export function timeExceeded(packet: IpView, from: Uint8Array): Uint8Array | undefined {
  const { data, start, end, version, protocol, payload } = packet;
  const icmp = version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP;
  if (packet.fragmentOffset > 0 || (protocol === icmp && (payload >= end || isIcmpError(version, data[payload]!)))) return undefined;
  const header = version === 4 ? IPV4_HEADER : IPV6_HEADER;
  const quoted = data.subarray(
    start,
    Math.min(end, start + (version === 4 ? LONGEST_IPV4_ERROR : LONGEST_IPV6_ERROR) - header - ICMP_HEADER),
  );
  const source = data.slice(packet.sourceAt, packet.sourceAt + packet.addressLength);
  const answer = new Uint8Array(header + ICMP_HEADER + quoted.length);
  answer.set(quoted, header + ICMP_HEADER);
  const addresses = { source: from, destination: source, hopLimit: 64, trafficClass: 0 };
  if (version === 4) {
    const whole = { identification: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(answer, 0, { ...addresses, ...whole, length: answer.length, protocol: icmp });
  } else writeIpv6(answer, 0, { ...addresses, payloadLength: answer.length - header, nextHeader: icmp, flowLabel: 0 });
  const type = version === 4 ? IcmpType.TIME_EXCEEDED : Icmpv6Type.TIME_EXCEEDED;
  writeIcmp(answer, header, type, 0, 0, quoted.length, from, source);
  return answer;
}

function isRoutable({ data, version }: IpView, at: number): boolean {
  const first = data[at]!;
  if (version === 4) {
    const linkLocal = first === 169 && data[at + 1] === 254;
    return first !== 0 && first !== 127 && first < 224 && !linkLocal;
  }
  const linkLocal = first === 0xfe && (data[at + 1]! & 0xc0) === 0x80;
  return first !== 0 && first !== 0xff && !linkLocal; // ::, ::1 and IPv4-mapped addresses begin with zero as well
}

/** RFC 1812 §4.3.2.3. */
const LONGEST_IPV4_ERROR = 576;
/** RFC 4443 §2.4 (c). */
const LONGEST_IPV6_ERROR = 1280;
