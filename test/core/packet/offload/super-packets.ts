import { concat } from '../../../../src/core/bytes/index.ts';
import { IpProtocol, pseudoHeaderSum, putU16, writeIpv4, writeIpv6 } from '../../../../src/core/packet/index.ts';
import { GsoType, VnetFlag, VnetHeader } from '../../../../src/core/packet/offload/index.ts';
import type { SeededRandom } from '../../../../src/testing/seeded.ts';

export interface PacketShape {
  readonly version: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly payload: Uint8Array;
  /** Octets of IPv4 options, or whole extension headers of IPv6. */
  readonly ipOptions?: Uint8Array;
  /** What `ipOptions` begins with, for IPv6. */
  readonly firstExtension?: number;
  readonly tcpOptions?: Uint8Array;
  readonly sourcePort?: number;
  readonly sequence?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly urgent?: number;
  readonly acknowledgment?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly trafficClass?: number;
  readonly hopLimit?: number;
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
}

/** A packet whose TCP or UDP checksum is only begun: the field holds the sum of the pseudo header, as the kernel leaves it. */
export function begunPacket(shape: PacketShape): { packet: Uint8Array; transport: number } {
  const { version, payload, ipOptions = new Uint8Array(0) } = shape;
  const tcp = shape.protocol === 'tcp';
  const header = tcp ? tcpHeader(shape) : udpHeader(shape);
  const protocol = tcp ? IpProtocol.TCP : IpProtocol.UDP;
  const upper = concat(header, payload);
  const source = shape.source ?? ADDRESSES[version].source;
  const destination = shape.destination ?? ADDRESSES[version].destination;
  const pseudo = pseudoHeaderSum(source, 0, destination, 0, source.length, protocol, upper.length);
  putU16(upper, tcp ? 16 : 6, pseudo);
  const packet = concat(new Uint8Array((version === 4 ? 20 : 40) + ipOptions.length), upper);
  const transport = packet.length - upper.length;
  const common = { source, destination, hopLimit: shape.hopLimit ?? 64, trafficClass: shape.trafficClass ?? 0 };
  if (version === 4) {
    const fragmentation = { dontFragment: shape.dontFragment ?? true, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(packet, 0, { ...common, ...fragmentation, length: packet.length, protocol, identification: shape.identification ?? 1 });
    packet.set(ipOptions, 20);
    packet[0] = 0x40 | (transport / 4);
    finishIpv4(packet);
  } else {
    const nextHeader = shape.firstExtension ?? protocol;
    writeIpv6(packet, 0, { ...common, payloadLength: packet.length - 40, nextHeader, flowLabel: 0x12345 });
    packet.set(ipOptions, 40);
  }
  return { packet, transport };
}

/** The header checksum, word by word. */
export function finishIpv4(packet: Uint8Array): void {
  putU16(packet, 10, 0);
  putU16(packet, 10, ~slowSum(packet, 0, (packet[0]! & 0x0f) * 4) & 0xffff);
}

/** RFC 1071 §4.1, as it stands there. */
export function slowSum(data: Uint8Array, start: number, end: number, seed = 0): number {
  let sum = seed;
  for (let i = start; i < end; i += 2) sum += data[i]! * 256 + (i + 1 < end ? data[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** The packet with its checksum complete. */
export function wholePacket(shape: PacketShape): Uint8Array {
  const { packet, transport } = begunPacket(shape);
  const tcp = shape.protocol === 'tcp';
  const value = ~slowSum(packet, transport, packet.length) & 0xffff;
  putU16(packet, transport + (tcp ? 16 : 6), tcp ? value : value || 0xffff);
  return packet;
}

export function gsoHeader(shape: PacketShape, transport: number, gsoSize: number): VnetHeader {
  const header = new VnetHeader();
  const tcp = shape.protocol === 'tcp';
  header.flags = VnetFlag.NEEDS_CSUM;
  header.gsoType = tcp ? (shape.version === 4 ? GsoType.TCPV4 : GsoType.TCPV6) : GsoType.UDP_L4;
  if (tcp && ((shape.flags ?? 0) & 0x80) !== 0) header.gsoType |= GsoType.ECN;
  header.gsoSize = gsoSize;
  header.csumStart = transport;
  header.csumOffset = tcp ? 16 : 6;
  return header;
}

/** NOP, NOP, Timestamps (RFC 7323 appendix A). */
export const timestamps = (random: SeededRandom): Uint8Array => concat(Uint8Array.of(1, 1, 8, 10), random.bytes(8));

/** Destination Options that hold one PadN (RFC 8200 §4.2, §4.6), before TCP or UDP. */
export const destinationOptions = (protocol: number): Uint8Array => Uint8Array.of(protocol, 0, 1, 4, 0, 0, 0, 0);

export function randomShape(random: SeededRandom, payloadLength: number): PacketShape {
  const version = random.pick([4, 6] as const);
  const protocol = random.pick(['tcp', 'tcp', 'udp'] as const);
  const number = protocol === 'tcp' ? IpProtocol.TCP : IpProtocol.UDP;
  const odd = random.chance(0.2);
  const ipOptions = !odd
    ? new Uint8Array(0)
    : version === 4
      ? new Uint8Array(4 * random.between(1, 10)).fill(1)
      : destinationOptions(number);
  return {
    version,
    protocol,
    payload: random.chance(0.05) ? new Uint8Array(payloadLength).fill(0xff) : random.bytes(payloadLength),
    ipOptions,
    ...(odd && version === 6 ? { firstExtension: IpProtocol.IPV6_OPTS } : {}),
    tcpOptions: random.chance(0.5) ? timestamps(random) : new Uint8Array(4 * random.between(0, 10)).fill(1),
    sequence: random.chance(0.2) ? 0xffffffff - random.between(0, payloadLength) : random.u32(),
    acknowledgment: random.u32(),
    // Without SYN and RST, which have no text.
    flags: random.between(0, 255) & ~0x06,
    window: random.between(0, 65535),
    urgent: random.between(0, payloadLength + 10) & 0xffff,
    identification: random.pick([0, 1, 0xfff0, 0xffff, random.between(0, 65535)]),
    dontFragment: random.chance(0.5),
    trafficClass: random.between(0, 255),
    hopLimit: random.between(1, 255),
  };
}

function tcpHeader(shape: PacketShape): Uint8Array {
  const options = shape.tcpOptions ?? new Uint8Array(0);
  const header = concat(new Uint8Array(20), options);
  const view = new DataView(header.buffer);
  view.setUint16(0, shape.sourcePort ?? 40000);
  view.setUint16(2, 443);
  view.setUint32(4, shape.sequence ?? 1000);
  view.setUint32(8, shape.acknowledgment ?? 2000);
  view.setUint8(12, (header.length / 4) << 4);
  view.setUint8(13, shape.flags ?? 0x10);
  view.setUint16(14, shape.window ?? 512);
  view.setUint16(18, shape.urgent ?? 0);
  return header;
}

function udpHeader(shape: PacketShape): Uint8Array {
  const header = new Uint8Array(8);
  putU16(header, 0, shape.sourcePort ?? 40000);
  putU16(header, 2, 443);
  putU16(header, 4, 8 + shape.payload.length);
  return header;
}

const six = (last: number): Uint8Array => Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last);
const ADDRESSES = {
  4: { source: Uint8Array.of(10, 1, 0, 1), destination: Uint8Array.of(10, 2, 0, 1) },
  6: { source: six(1), destination: six(2) },
} as const;
