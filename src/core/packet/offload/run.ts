import { fold, sum16 } from '../checksum.ts';
import { putU16 } from '../octets.ts';
import { TcpFlag } from '../tcp.ts';
import type { InnerPacket } from './inner-packet.ts';
import { copyOctets, type PacketBuffer } from './packet-buffer.ts';
import { TCP_CHECKSUM_AT, UDP_CHECKSUM_AT } from './super-packet.ts';
import { GsoType, VNET_HEADER, VnetFlag, VnetHeader, writeNoOffload } from './vnet-header.ts';

/** Octets that a run is gathered in: the largest packet, and what stands before it. */
export const RUN_BUFFER = 65552;

/** Packets of one flow that follow each other, being gathered into one; the headers are those of the first. */
export class Run<B extends PacketBuffer> {
  readonly buffer: B;
  /** Offset in the buffer of its virtio header, and of the packet right behind that. */
  readonly start: number;
  readonly #at: number;
  count = 0;
  readonly #header = new VnetHeader();
  #version: 4 | 6 = 4;
  #tcp = false;
  /** Octets of all headers, and of those of IP. */
  #headerLength = 0;
  #transport = 0;
  /** Octets of the packet so far. */
  #length = 0;
  /** Octets of payload of every packet but the last. */
  #size = 0;
  #nextSequence = 0;
  /** From one identification to the next: 0 or 1 once there are two. */
  #step = 0;
  /** Of the pseudo header, its length not counted. */
  #pseudoSum = 0;

  /** @param at of `RUN_BUFFER` octets in the buffer */
  constructor(buffer: B, at: number) {
    this.buffer = buffer;
    this.#at = at + PACKET_AT;
    this.start = this.#at - VNET_HEADER;
  }

  /** The packet at `start`, whose checksums are right, is the first. */
  begin(packet: InnerPacket, from: B, start: number): void {
    this.#version = packet.version;
    this.#tcp = packet.tcp;
    this.#headerLength = packet.payloadAt - start;
    this.#transport = packet.transportAt - start;
    this.#length = this.#headerLength + packet.size;
    this.#size = packet.size;
    this.#nextSequence = (packet.sequence + packet.size) | 0;
    this.#pseudoSum = packet.pseudoSum(from.octets);
    this.count = 1;
    copyOctets(from, start, this.buffer, this.#at, this.#length);
  }

  /** Whether protocol, addresses and ports are those of the run. */
  isOfFlow(packet: InnerPacket, from: PacketBuffer): boolean {
    if (packet.tcp !== this.#tcp) return false;
    if (from.view.getInt32(packet.transportAt) !== this.buffer.view.getInt32(this.#at + this.#transport)) return false;
    return this.hasAddressesOf(packet, from);
  }

  hasAddressesOf({ version, addressesAt, addressLength }: InnerPacket, from: PacketBuffer): boolean {
    if (version !== this.#version) return false;
    const run = this.buffer.view;
    const shift = this.#at + (version === 4 ? 12 : 8) - addressesAt;
    for (let at = addressesAt; at < addressesAt + 2 * addressLength; at += 4)
      if (from.view.getInt32(at) !== run.getInt32(at + shift)) return false;
    return true;
  }

  /** The packet at `start`, mergeable and of this flow, goes on where the run ends and differs in nothing that segmentation does not make. */
  isContinuedBy(packet: InnerPacket, { view }: PacketBuffer, start: number): boolean {
    // One that is longer would be cut, and so is the next one after a shorter one: `append` ends the run there.
    if (packet.size > this.#size || packet.payloadAt - start !== this.#headerLength) return false;
    if (this.#length + packet.size > MAXIMUM_PACKET) return false;
    if (!(this.#version === 4 ? this.#sameIpv4(view, start) : this.#sameIpv6(view, start))) return false;
    return this.#tcp ? this.#sameTcp(packet, view) : this.count < MAXIMUM_DATAGRAMS;
  }

  /** Puts the payload of a packet that continues the run behind it, where it counts for nothing yet. @returns whether its checksums are right */
  verify(packet: InnerPacket, from: B, start: number): boolean {
    return packet.verifyCopying(from, start, this.buffer, this.#at + this.#length);
  }

  /** Takes a packet that continues the run, behind which its payload stands since `verify`. */
  append(packet: InnerPacket): void {
    this.#length += packet.size;
    this.#nextSequence = (this.#nextSequence + packet.size) | 0;
    this.count++;
    if (packet.push) this.buffer.octets[this.#at + this.#transport + 13]! |= TcpFlag.PSH;
  }

  /** RFC 9293 §3.9.1: a push ends at its octet; and behind a packet that is shorter than the others nothing can stand. */
  endsWith(packet: InnerPacket): boolean {
    return packet.push || packet.size < this.#size;
  }

  /** @returns offset behind the packet in the buffer; its virtio header begins at `start` */
  finish(): number {
    const data = this.buffer.octets;
    if (this.count === 1) writeNoOffload(data, this.start);
    else this.#finishHeaders(data);
    return this.#at + this.#length;
  }

  /** RFC 791 §3.1: all of the header but total length, identification and checksum; the protocol is that of the flow. */
  #sameIpv4(packet: DataView, start: number): boolean {
    const run = this.buffer.view;
    if (packet.getUint16(start) !== run.getUint16(this.#at)) return false;
    if (packet.getInt32(start + 6) !== run.getInt32(this.#at + 6)) return false;
    const distance = (packet.getUint16(start + 4) - run.getUint16(this.#at + 4)) & 0xffff;
    if (this.count > 1) return distance === ((this.#step * this.count) & 0xffff);
    // RFC 6864 §4.1: of a packet that is no fragment and cannot become one the identification means nothing, so that the same one in all may
    // come out counted. Without DF it has to count as segmentation will make it count.
    this.#step = distance;
    return distance === 1 || (distance === 0 && (packet.getUint16(start + 6) & DONT_FRAGMENT) !== 0);
  }

  /** RFC 8200 §3: traffic class, flow label and hop limit; next header and addresses are those of the flow. */
  #sameIpv6(packet: DataView, start: number): boolean {
    const run = this.buffer.view;
    return packet.getInt32(start) === run.getInt32(this.#at) && packet.getUint8(start + 7) === run.getUint8(this.#at + 7);
  }

  /** RFC 9293 §3.1: all of the header but sequence number, PSH and checksum; the sequence goes on. */
  #sameTcp({ sequence, transportAt: at, payloadAt }: InnerPacket, packet: DataView): boolean {
    if (sequence !== this.#nextSequence) return false;
    const run = this.buffer.view;
    const shift = this.#at + this.#transport - at;
    // Acknowledgment number and data offset; of the flags both have ACK, and the run would have ended with PSH.
    if (packet.getInt32(at + 8) !== run.getInt32(at + 8 + shift) || packet.getUint8(at + 12) !== run.getUint8(at + 12 + shift))
      return false;
    if (packet.getUint16(at + 14) !== run.getUint16(at + 14 + shift)) return false;
    if (packet.getUint16(at + 18) !== run.getUint16(at + 18 + shift)) return false;
    // RFC 7323 §3.2: other timestamps are another answer to when.
    for (let i = at + 20; i < payloadAt; i += 4) if (packet.getInt32(i) !== run.getInt32(i + shift)) return false;
    return true;
  }

  #finishHeaders(data: Uint8Array): void {
    const transport = this.#at + this.#transport;
    const transportLength = this.#length - this.#transport;
    if (this.#version === 4) {
      putU16(data, this.#at + 2, this.#length);
      putU16(data, this.#at + 10, 0);
      putU16(data, this.#at + 10, ~sum16(data, this.#at, transport) & 0xffff);
    } else putU16(data, this.#at + 4, transportLength);
    if (!this.#tcp) putU16(data, transport + 4, transportLength);
    const header = this.#header;
    header.flags = VnetFlag.NEEDS_CSUM;
    header.gsoType = this.#tcp ? (this.#version === 4 ? GsoType.TCPV4 : GsoType.TCPV6) : GsoType.UDP_L4;
    header.hdrLen = this.#headerLength;
    header.gsoSize = this.#size;
    header.csumStart = this.#transport;
    header.csumOffset = this.#tcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT;
    // Not complemented: whoever completes it sums it with the rest.
    putU16(data, transport + header.csumOffset, fold(this.#pseudoSum + transportLength));
    header.write(data, this.start);
  }
}

/** Where the packet begins: a multiple of 16, the virtio header right before it. */
const PACKET_AT = 16;
const DONT_FRAGMENT = 0x4000;

/** RFC 791 §3.1; of IPv6 as well. */
const MAXIMUM_PACKET = 65535;
/** UDP_MAX_SEGMENTS of Linux before 6.9. */
const MAXIMUM_DATAGRAMS = 64;
