import {
  ICMP_HEADER,
  IcmpType,
  IcmpUnreachable,
  Icmpv6Type,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  type IpView,
  isIcmpError,
  writeIcmp,
  writeIpv4,
  writeIpv6,
} from '../../core/packet/index.ts';

/**
 * The ICMP answer to a packet whose hops ran out here (RFC 792, RFC 4443 §3.3): `traceroute` lives on it.
 * @param from own address of the packet's family
 * @returns undefined where none may be sent
 */
export const timeExceeded = (packet: IpView, from: Uint8Array): Uint8Array | undefined =>
  icmpError(packet, from, packet.version === 4 ? IcmpType.TIME_EXCEEDED : Icmpv6Type.TIME_EXCEEDED, 0, 0);

/**
 * The ICMP answer to a packet that may not be cut and is larger than the tunnel takes (RFC 1191 §4, RFC 4443 §3.2).
 * @param mtu octets that pass
 * @returns undefined where none may be sent
 */
export const packetTooBig = (packet: IpView, from: Uint8Array, mtu: number): Uint8Array | undefined =>
  packet.version === 4
    ? icmpError(packet, from, IcmpType.DESTINATION_UNREACHABLE, IcmpUnreachable.FRAGMENTATION_NEEDED, mtu)
    : icmpError(packet, from, Icmpv6Type.PACKET_TOO_BIG, 0, mtu);

/** Has a packet at `at` the address of one host beyond the link (RFC 1812 §5.3.7, RFC 4291 §2.5.6)? */
export function isRoutable({ data, version }: IpView, at: number): boolean {
  const first = data[at]!;
  if (version === 4) {
    const linkLocal = first === 169 && data[at + 1] === 254;
    return first !== 0 && first !== 127 && first < 224 && !linkLocal;
  }
  const linkLocal = first === 0xfe && (data[at + 1]! & 0xc0) === 0x80;
  return first !== 0 && first !== 0xff && !linkLocal; // ::, ::1 and IPv4-mapped addresses begin with zero as well
}

/** RFC 1122 §3.2.2, RFC 4443 §2.4: none about ICMP errors, later fragments, or what no single host sent. */
function icmpError(packet: IpView, from: Uint8Array, type: number, code: number, rest: number): Uint8Array | undefined {
  const { data, start, end, version, protocol, payload } = packet;
  const icmp = version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP;
  if (packet.fragmentOffset > 0 || (protocol === icmp && (payload >= end || isIcmpError(version, data[payload]!)))) return undefined;
  if (!isRoutable(packet, packet.sourceAt)) return undefined;
  const header = version === 4 ? IPV4_HEADER : IPV6_HEADER;
  const most = (version === 4 ? LONGEST_IPV4_ERROR : LONGEST_IPV6_ERROR) - header - ICMP_HEADER;
  const quoted = data.subarray(start, Math.min(end, start + most));
  const source = data.slice(packet.sourceAt, packet.sourceAt + packet.addressLength);
  const answer = new Uint8Array(header + ICMP_HEADER + quoted.length);
  answer.set(quoted, header + ICMP_HEADER);
  const addresses = { source: from, destination: source, hopLimit: 64, trafficClass: 0 };
  if (version === 4) {
    const whole = { identification: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(answer, 0, { ...addresses, ...whole, length: answer.length, protocol: icmp });
  } else writeIpv6(answer, 0, { ...addresses, payloadLength: answer.length - header, nextHeader: icmp, flowLabel: 0 });
  writeIcmp(answer, header, type, code, rest, quoted.length, from, source);
  return answer;
}

/** RFC 1812 §4.3.2.3. */
const LONGEST_IPV4_ERROR = 576;
/** RFC 4443 §2.4 (c). */
const LONGEST_IPV6_ERROR = 1280;
