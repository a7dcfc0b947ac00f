import { fold, pseudoHeaderSum } from '../checksum.ts';
import { IpProtocol } from '../ip-protocol.ts';
import { IPV4_HEADER } from '../ipv4.ts';
import { IPV6_HEADER } from '../ipv6.ts';
import { getI32, getU16 } from '../octets.ts';
import { TCP_HEADER, TcpFlag } from '../tcp.ts';
import { UDP_HEADER } from '../udp.ts';
import { copySum, type PacketBuffer, sumOctets } from './packet-buffer.ts';

/** What can be said of the flow that a packet belongs to. */
export const Kind = {
  /** Not an IP packet, or not all of its first header: of no flow. */
  STRANGE: 0,
  /** A fragment, options, another protocol, lengths that lie: two addresses, and any flow between them may be its own. */
  ADDRESSED: 1,
  /** TCP or UDP right behind a plain IP header. */
  FLOW: 2,
} as const;

/** A packet that came out of ESP, read as far as merging asks. Used again for the next one. */
export class InnerPacket {
  version: 4 | 6 = 4;
  /** Offsets of source and, behind it, destination address. */
  addressesAt = 0;
  addressLength: 4 | 16 = 4;
  tcp = false;
  transportAt = 0;
  payloadAt = 0;
  /** Octets of payload. */
  size = 0;
  /** May be part of a run, if its checksums are right and its neighbours fit. */
  mergeable = false;
  push = false;
  /** Signed, for comparison. */
  sequence = 0;

  /** Reads the packet in `[start, end)`. Lengths are believed only where all of them agree. */
  read(data: Uint8Array, start: number, end: number): (typeof Kind)[keyof typeof Kind] {
    const length = end - start;
    this.mergeable = false;
    const version = length > 0 ? data[start]! >>> 4 : 0;
    if (version === 4 && length >= IPV4_HEADER) return this.#readIpv4(data, start, length);
    if (version === 6 && length >= IPV6_HEADER) return this.#readIpv6(data, start, length);
    return Kind.STRANGE;
  }

  /** Both checksums are right (RFC 791 §3.1, RFC 9293 §3.1, RFC 768, RFC 8200 §8.1). */
  verify(from: PacketBuffer, start: number): boolean {
    const length = this.payloadAt - this.transportAt + this.size;
    return this.#verify(from, start, sumOctets(from, this.transportAt, length));
  }

  /** As `verify`, and puts the payload to its place on the way, whatever comes of it: copied and summed in one go. */
  verifyCopying(from: PacketBuffer, start: number, to: PacketBuffer, toAt: number): boolean {
    // every header is whole words of 16 bits, so that the sums add up
    const header = sumOctets(from, this.transportAt, this.payloadAt - this.transportAt);
    return this.#verify(from, start, header + copySum(from, this.payloadAt, to, toAt, this.size));
  }

  #verify(from: PacketBuffer, start: number, transportSum: number): boolean {
    const length = this.payloadAt - this.transportAt + this.size;
    const sum = this.pseudoSum(from.octets) + length + transportSum;
    return fold(sum) === ALL_ONES && (this.version === 6 || sumOctets(from, start, IPV4_HEADER) === ALL_ONES);
  }

  /** Of the pseudo header, its length not counted. */
  pseudoSum(data: Uint8Array): number {
    const { addressesAt: at, addressLength } = this;
    return pseudoHeaderSum(data, at, data, at + addressLength, addressLength, this.tcp ? IpProtocol.TCP : IpProtocol.UDP, 0);
  }

  #readIpv4(data: Uint8Array, start: number, length: number): (typeof Kind)[keyof typeof Kind] {
    this.version = 4;
    this.addressesAt = start + 12;
    this.addressLength = 4;
    // RFC 791 §3.1: no options, and no fragment; of the bits before the offset only DF.
    if (data[start] !== 0x45 || getU16(data, start + 2) !== length || (getU16(data, start + 6) & 0xbfff) !== 0) return Kind.ADDRESSED;
    const kind = this.#readTransport(data, data[start + 9]!, start + IPV4_HEADER, start + length);
    // A sum that is right can be written as all ones, which is not how it would be written again.
    if (getU16(data, start + 10) === ALL_ONES) this.mergeable = false;
    return kind;
  }

  #readIpv6(data: Uint8Array, start: number, length: number): (typeof Kind)[keyof typeof Kind] {
    this.version = 6;
    this.addressesAt = start + 8;
    this.addressLength = 16;
    // RFC 8200 §4: extension headers make the next header another number than those of TCP and UDP.
    if (getU16(data, start + 4) !== length - IPV6_HEADER) return Kind.ADDRESSED;
    return this.#readTransport(data, data[start + 6]!, start + IPV6_HEADER, start + length);
  }

  #readTransport(data: Uint8Array, protocol: number, at: number, end: number): (typeof Kind)[keyof typeof Kind] {
    this.transportAt = at;
    if (protocol === IpProtocol.TCP) return this.#readTcp(data, at, end);
    if (protocol === IpProtocol.UDP) return this.#readUdp(data, at, end);
    return Kind.ADDRESSED;
  }

  #readTcp(data: Uint8Array, at: number, end: number): (typeof Kind)[keyof typeof Kind] {
    if (end - at < TCP_HEADER) return Kind.ADDRESSED;
    const header = (data[at + 12]! >>> 4) * 4;
    if (header < TCP_HEADER || header > end - at) return Kind.ADDRESSED;
    this.tcp = true;
    this.payloadAt = at + header;
    this.size = end - this.payloadAt;
    this.sequence = getI32(data, at + 4);
    const flags = data[at + 13]!;
    this.push = (flags & TcpFlag.PSH) !== 0;
    // RFC 9293 §3.1: ACK, and PSH where the run ends; SYN, FIN, RST and URG mean a place in the sequence, and ECE, CWR and the reserved
    // bits (RFC 3168 §6.1, RFC 9293 §3.1) a packet.
    const plain = (flags & ~TcpFlag.PSH) === TcpFlag.ACK && (data[at + 12]! & 0x0f) === 0;
    this.mergeable = plain && this.size > 0 && getU16(data, at + 16) !== ALL_ONES;
    return Kind.FLOW;
  }

  #readUdp(data: Uint8Array, at: number, end: number): (typeof Kind)[keyof typeof Kind] {
    if (end - at < UDP_HEADER || getU16(data, at + 4) !== end - at) return Kind.ADDRESSED;
    this.tcp = false;
    this.payloadAt = at + UDP_HEADER;
    this.size = end - this.payloadAt;
    this.push = false;
    // RFC 768: zero means that no checksum was made; one would be after segmentation.
    this.mergeable = this.size > 0 && getU16(data, at + 6) !== 0;
    return Kind.FLOW;
  }
}

/** What the sum over data and their checksum is, and how zero is written in one's complement a second time. */
const ALL_ONES = 0xffff;
