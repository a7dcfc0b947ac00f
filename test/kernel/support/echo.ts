import { ICMP_HEADER, IPV4_HEADER, IpProtocol, writeIcmp, writeIpv4 } from '../../../src/core/packet/index.ts';

/** An inner packet: ICMP between two IPv4 addresses. @param rest identifier and sequence number */
export function icmpPacket(source: string, destination: string, type: number, rest: number, data: Uint8Array): Uint8Array {
  const [from, to] = [octetsOf(source), octetsOf(destination)];
  const packet = new Uint8Array(IPV4_HEADER + ICMP_HEADER + data.length);
  packet.set(data, IPV4_HEADER + ICMP_HEADER);
  writeIcmp(packet, IPV4_HEADER, type, 0, rest, data.length, from, to);
  const rarely = { identification: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, trafficClass: 0, hopLimit: 64 };
  writeIpv4(packet, 0, { ...rarely, length: packet.length, protocol: IpProtocol.ICMP, source: from, destination: to });
  return packet;
}

/** What our echo requests carry. */
export const pattern = (octets: number): Uint8Array => Uint8Array.from({ length: octets }, (_, i) => i);

/** Of our echo requests. */
export const IDENTIFIER = 0x4242;

const octetsOf = (ip: string): Uint8Array => Uint8Array.from(ip.split('.'), Number);
