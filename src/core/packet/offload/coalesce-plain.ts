import { concat, equalBytes } from '../../bytes/bytes.ts';
import { checksum, pseudoHeaderSum, sum16 } from '../checksum.ts';
import { IpProtocol } from '../ip-protocol.ts';
import { getU16, getU32, putU16 } from '../octets.ts';
import { GsoType, VnetFlag, VnetHeader } from './vnet-header.ts';

/** One write to the TUN device. */
export interface Delivery {
  readonly header: VnetHeader;
  readonly packet: Uint8Array;
}

export interface PlainCoalescing {
  /** Flows that are held at a time. */
  readonly flows: number;
  /** The device takes UDP_L4. */
  readonly udp: boolean;
}

/** The slow and clear twin of `Coalescer`: what a batch of packets becomes. */
export function coalescePlain(batch: readonly Uint8Array[], { flows, udp }: PlainCoalescing): Delivery[] {
  const deliveries: Delivery[] = [];
  /** The oldest first. */
  let runs: (readonly PlainPacket[])[] = [];
  const deliver = (run: readonly PlainPacket[]): void => {
    runs = runs.filter((each) => each !== run);
    deliveries.push(merged(run));
  };
  for (const octets of batch) {
    const alone = { header: new VnetHeader(), packet: octets };
    const packet = readPacket(octets);
    if (packet === undefined) {
      const addresses = addressesOf(octets);
      // It may belong to any flow between its addresses, and passes none.
      for (const run of [...runs]) if (addresses !== undefined && run[0]!.flow.startsWith(`${addresses} `)) deliver(run);
      deliveries.push(alone);
      continue;
    }
    const run = runs.find((each) => each[0]!.flow === packet.flow);
    const mergeable = isMergeable(packet) && (packet.tcp || udp);
    if (run !== undefined && mergeable && continues(run, packet)) {
      const longer = [...run, packet];
      runs = runs.map((each) => (each === run ? longer : each));
      if (ends(longer)) deliver(longer);
      continue;
    }
    if (run !== undefined) deliver(run);
    if (mergeable && begins(packet)) {
      if (runs.length === flows) deliver(runs[0]!);
      runs.push([packet]);
    } else deliveries.push(alone);
  }
  for (const run of runs) deliver(run);
  return deliveries;
}

interface PlainPacket {
  readonly octets: Uint8Array;
  /** Version, addresses, protocol, ports. */
  readonly flow: string;
  readonly tcp: boolean;
  readonly ip: Uint8Array;
  readonly transport: Uint8Array;
  readonly payload: Uint8Array;
}

/** Whether a packet may stand in a run at all. */
function isMergeable({ octets, tcp, ip, transport, payload }: PlainPacket): boolean {
  if (payload.length === 0) return false;
  if (ip.length === 20 && (sum16(ip, 0, 20) !== 0xffff || getU16(ip, 10) === 0xffff)) return false;
  if (sum16(octets, ip.length, octets.length, pseudoSum(octets, ip.length, octets.length - ip.length)) !== 0xffff) return false;
  // A checksum that would not come out the same: UDP without one (RFC 768), TCP with the other zero.
  if (!tcp) return getU16(transport, 6) !== 0;
  if (getU16(transport, 16) === 0xffff) return false;
  // RFC 9293 §3.1, RFC 3168 §6.1: ACK or ACK and PSH, nothing else and nothing reserved.
  return (transport[12]! & 0x0f) === 0 && (transport[13] === 0x10 || transport[13] === 0x18);
}

/** Whether others may follow it. */
const begins = ({ tcp, transport, payload }: PlainPacket): boolean => !tcp || (transport[13] === 0x10 && payload.length >= 8);

/** Whether nothing may follow: a push ends there (RFC 9293 §3.9.1), and a shorter packet is the last. */
function ends(run: readonly PlainPacket[]): boolean {
  const last = run.at(-1)!;
  return (last.tcp && last.transport[13] === 0x18) || last.payload.length < run[0]!.payload.length;
}

/** Whether a packet of the same flow is what segmentation would make of a longer run. */
function continues(run: readonly PlainPacket[], next: PlainPacket): boolean {
  const first = run[0]!;
  const payload = run.reduce((sum, each) => sum + each.payload.length, 0);
  if (next.payload.length > first.payload.length) return false;
  if (first.ip.length + first.transport.length + payload + next.payload.length > 65535) return false;
  const common = first.ip.length === 20 ? commonIpv4 : commonIpv6;
  if (!equalBytes(common(first.ip), common(next.ip))) return false;
  if (first.ip.length === 20 && !identificationsFit([...run, next])) return false;
  if (!first.tcp) return run.length < 64;
  // RFC 9293 §3.4.
  if (getU32(next.transport, 4) !== (getU32(first.transport, 4) + payload) % 2 ** 32) return false;
  return equalBytes(commonTcp(first.transport), commonTcp(next.transport));
}

/** RFC 6864 §4.1: counted, or the same in packets that are never fragmented. */
function identificationsFit(run: readonly PlainPacket[]): boolean {
  const [first, ...others] = run.map(({ ip }) => getU16(ip, 4));
  const counted = others.every((each, i) => each === (first! + i + 1) % 0x10000);
  const same = others.every((each) => each === first);
  return counted || (same && (run[0]!.ip[6]! & 0x40) !== 0);
}

/** RFC 791 §3.1: without total length, identification and checksum. */
const commonIpv4 = (ip: Uint8Array): Uint8Array => concat(ip.subarray(0, 2), ip.subarray(6, 10), ip.subarray(12));
/** RFC 8200 §3: without payload length. */
const commonIpv6 = (ip: Uint8Array): Uint8Array => concat(ip.subarray(0, 4), ip.subarray(6));
/** RFC 9293 §3.1: without sequence number, flags, which are judged apart, and checksum. Options with timestamps (RFC 7323 §3.2) included. */
const commonTcp = (tcp: Uint8Array): Uint8Array => concat(tcp.subarray(0, 4), tcp.subarray(8, 13), tcp.subarray(14, 16), tcp.subarray(18));

/** The one packet that stands for a run. */
function merged(run: readonly PlainPacket[]): Delivery {
  const first = run[0]!;
  const header = new VnetHeader();
  if (run.length === 1) return { header, packet: first.octets };
  const packet = concat(first.ip, first.transport, ...run.map(({ payload }) => payload));
  const transport = first.ip.length;
  const length = packet.length - transport;
  if (transport === 20) {
    putU16(packet, 2, packet.length);
    putU16(packet, 10, 0);
    putU16(packet, 10, checksum(packet, 0, 20));
  } else putU16(packet, 4, length);
  if (first.tcp) packet[transport + 13] = run.at(-1)!.transport[13]!;
  else putU16(packet, transport + 4, length);
  header.flags = VnetFlag.NEEDS_CSUM;
  header.gsoType = !first.tcp ? GsoType.UDP_L4 : transport === 20 ? GsoType.TCPV4 : GsoType.TCPV6;
  header.hdrLen = transport + first.transport.length;
  header.gsoSize = first.payload.length;
  header.csumStart = transport;
  header.csumOffset = first.tcp ? 16 : 6;
  putU16(packet, transport + header.csumOffset, pseudoSum(packet, transport, length));
  return { header, packet };
}

/** A packet of TCP or UDP right behind an IP header without options, whose lengths all agree. */
function readPacket(octets: Uint8Array): PlainPacket | undefined {
  const addresses = addressesOf(octets);
  if (addresses === undefined) return undefined;
  const six = octets[0]! >>> 4 === 6;
  if (!six && (octets[0] !== 0x45 || getU16(octets, 2) !== octets.length)) return undefined;
  // A fragment, or a bit that means nothing.
  if (!six && (getU16(octets, 6) & 0xbfff) !== 0) return undefined;
  if (six && getU16(octets, 4) !== octets.length - 40) return undefined;
  const at = six ? 40 : 20;
  const protocol = octets[six ? 6 : 9];
  const left = octets.length - at;
  if (protocol !== IpProtocol.TCP && protocol !== IpProtocol.UDP) return undefined;
  const tcp = protocol === IpProtocol.TCP;
  if (left < (tcp ? 20 : 8)) return undefined;
  const header = tcp ? (octets[at + 12]! >>> 4) * 4 : 8;
  if (header < (tcp ? 20 : 8) || header > left) return undefined;
  if (!tcp && getU16(octets, at + 4) !== left) return undefined;
  const flow = `${addresses} ${protocol} ${getU32(octets, at)}`;
  const payloadAt = at + header;
  return { octets, flow, tcp, ip: octets.subarray(0, at), transport: octets.subarray(at, payloadAt), payload: octets.subarray(payloadAt) };
}

function addressesOf(octets: Uint8Array): string | undefined {
  const version = (octets[0] ?? 0) >>> 4;
  if (version === 4 && octets.length >= 20) return `4 ${octets.subarray(12, 20).join()}`;
  return version === 6 && octets.length >= 40 ? `6 ${octets.subarray(8, 40).join()}` : undefined;
}

const pseudoSum = (packet: Uint8Array, transport: number, length: number): number =>
  transport === 20
    ? pseudoHeaderSum(packet, 12, packet, 16, 4, packet[9]!, length)
    : pseudoHeaderSum(packet, 8, packet, 24, 16, packet[6]!, length);
