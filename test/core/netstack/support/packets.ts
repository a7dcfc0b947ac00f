import { formatIp, parseIp } from '../../../../src/core/bytes/index.ts';
import {
  ICMP_HEADER,
  IcmpType,
  IcmpView,
  Icmpv6Type,
  IPV6_FRAGMENT_HEADER,
  IpProtocol,
  IpView,
  UDP_HEADER,
  UdpView,
  writeIcmp,
  writeIpv4,
  writeIpv6,
  writeIpv6Fragment,
  writeUdp,
} from '../../../../src/core/packet/index.ts';

export interface Envelope {
  readonly from: string;
  readonly to: string;
  readonly hopLimit?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
}

const isSix = (envelope: Envelope): boolean => envelope.from.includes(':');

/** An IP packet around an upper-layer datagram. */
export function ipPacket(envelope: Envelope, protocol: number, upper: Uint8Array): Uint8Array {
  return fragment(envelope, protocol, upper, 0, false, undefined);
}

/** A fragment with `[offset, offset + data.length)`; without identification a whole packet. */
export function fragment(
  envelope: Envelope,
  protocol: number,
  data: Uint8Array,
  offset: number,
  more: boolean,
  identification: number | undefined,
): Uint8Array {
  const [source, destination] = [parseIp(envelope.from), parseIp(envelope.to)];
  const hopLimit = envelope.hopLimit ?? 64;
  if (isSix(envelope)) {
    const extra = identification === undefined ? 0 : IPV6_FRAGMENT_HEADER;
    const packet = new Uint8Array(40 + extra + data.length);
    const nextHeader = extra > 0 ? IpProtocol.IPV6_FRAG : protocol;
    writeIpv6(packet, 0, { payloadLength: extra + data.length, nextHeader, source, destination, hopLimit, trafficClass: 0, flowLabel: 0 });
    if (identification !== undefined) writeIpv6Fragment(packet, 40, protocol, offset, more, identification);
    packet.set(data, 40 + extra);
    return packet;
  }
  const packet = new Uint8Array(20 + data.length);
  writeIpv4(packet, 0, {
    length: packet.length,
    protocol,
    source,
    destination,
    hopLimit,
    identification: (identification ?? 0) & 0xffff,
    dontFragment: envelope.dontFragment ?? false,
    moreFragments: more,
    fragmentOffset: offset,
    trafficClass: 0,
  });
  packet.set(data, 20);
  return packet;
}

export function udpDatagram(envelope: Envelope, sourcePort: number, destinationPort: number, data: Uint8Array): Uint8Array {
  const upper = new Uint8Array(UDP_HEADER + data.length);
  upper.set(data, UDP_HEADER);
  writeUdp(upper, 0, parseIp(envelope.from), sourcePort, parseIp(envelope.to), destinationPort, data.length);
  return upper;
}

export const udpPacket = (envelope: Envelope, sourcePort: number, destinationPort: number, data: Uint8Array): Uint8Array =>
  ipPacket(envelope, IpProtocol.UDP, udpDatagram(envelope, sourcePort, destinationPort, data));

export function icmpMessage(envelope: Envelope, type: number, code: number, rest: number, data: Uint8Array): Uint8Array {
  const upper = new Uint8Array(ICMP_HEADER + data.length);
  upper.set(data, ICMP_HEADER);
  writeIcmp(upper, 0, type, code, rest, data.length, parseIp(envelope.from), parseIp(envelope.to));
  return upper;
}

export const icmpPacket = (envelope: Envelope, type: number, code: number, rest: number, data: Uint8Array): Uint8Array =>
  ipPacket(envelope, isSix(envelope) ? IpProtocol.IPV6_ICMP : IpProtocol.ICMP, icmpMessage(envelope, type, code, rest, data));

export const echoRequest = (envelope: Envelope, identifier: number, data: Uint8Array): Uint8Array =>
  icmpPacket(envelope, isSix(envelope) ? Icmpv6Type.ECHO_REQUEST : IcmpType.ECHO, 0, (identifier << 16) | 1, data);

/** Too Big or Fragmentation Needed from a router, about a packet. */
export const tooBig = (envelope: Envelope, mtu: number, quoted: Uint8Array): Uint8Array =>
  isSix(envelope)
    ? icmpPacket(envelope, Icmpv6Type.PACKET_TOO_BIG, 0, mtu, quoted.subarray(0, 1232))
    : icmpPacket(envelope, IcmpType.DESTINATION_UNREACHABLE, 4, mtu, quoted.subarray(0, 28));

/** One packet as a line: `UDP 10.0.0.1:5 > 10.0.0.2:6 (12)`, `ICMP 3/3 10.0.0.1 > 10.0.0.2 (36)`, fragments with offset and +. */
export function describePacket(packet: Uint8Array): string {
  const ip = new IpView();
  if (!ip.parse(packet)) return `malformed: ${ip.fault}`;
  const source = formatIp(packet.subarray(ip.sourceAt, ip.sourceAt + ip.addressLength));
  const destination = formatIp(packet.subarray(ip.destinationAt, ip.destinationAt + ip.addressLength));
  if (ip.fragment) return `fragment ${source} > ${destination} ${ip.fragmentOffset}+${ip.end - ip.payload}${ip.moreFragments ? '+' : ''}`;
  const udp = new UdpView();
  if (ip.protocol === IpProtocol.UDP) {
    if (!udp.parse(ip)) return 'malformed UDP';
    return `UDP ${source}:${udp.sourcePort} > ${destination}:${udp.destinationPort} (${udp.end - udp.start})`;
  }
  const icmp = new IcmpView();
  if (ip.protocol === IpProtocol.ICMP || ip.protocol === IpProtocol.IPV6_ICMP) {
    if (!icmp.parse(ip)) return 'malformed ICMP';
    return `ICMP ${icmp.type}/${icmp.code} ${source} > ${destination} (${icmp.end - icmp.start})`;
  }
  return `protocol ${ip.protocol} ${source} > ${destination} (${ip.end - ip.payload})`;
}
