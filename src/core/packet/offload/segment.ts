import { ApiMisuse } from '../../bytes/errors.ts';
import { fold, sum16 } from '../checksum.ts';
import { getI32, getU16, putU16, putU32 } from '../octets.ts';
import { TcpFlag } from '../tcp.ts';
import { copyHeader, copyOctets, copySum, type PacketBuffer } from './packet-buffer.ts';
import { CWR, type SegmentVerdict, SuperPacket, TCP_CHECKSUM_AT, UDP_CHECKSUM_AT } from './super-packet.ts';
import { GsoType, partialSum, type VnetHeader } from './vnet-header.ts';

/**
 * Cuts what a TUN device with TSO and USO hands out into the packets that go over the wire, each written to where it will be encrypted.
 * One object serves one reader: `begin` with a packet, then `write` until nothing remains. Nothing is allocated on the way.
 * `segment-plain.ts` says the same in the plainest form.
 */
export class Segmenter {
  /** Packets that are left to write. */
  remaining = 0;
  /** Octets of every packet but the last. */
  packetLength = 0;
  lastLength = 0;
  readonly #packet = new SuperPacket();
  #source: PacketBuffer | undefined;
  #start = 0;
  #length = 0;
  #cut = false;
  /** Offset of the checksum that a packet that is not cut lacks, from its start; -1 when it has it. */
  #checksumAt = 0;
  #checksumStart = 0;
  #gsoSize = 0;
  #headerLength = 0;
  /** Octets of payload that were written. */
  #done = 0;
  /** Sum of the IPv4 header but for total length, identification and checksum. */
  #ipSum = 0;
  #identification = 0;
  /** Sum of the pseudo header but for its length, and of what all transport headers have in common. */
  #transportSum = 0;
  #sequence = 0;
  #flags = 0;
  #urgent = 0;

  /**
   * Takes the packet in `[start, end)` of the buffer, which stays as it is until `remaining` is 0.
   * @returns why it cannot be sent, if so: then nothing remains to write
   */
  begin(source: PacketBuffer, start: number, end: number, header: VnetHeader): SegmentVerdict {
    this.remaining = 0;
    this.packetLength = 0;
    this.#source = source;
    this.#start = start;
    this.#length = end - start;
    this.#cut = header.gsoType !== GsoType.NONE;
    const verdict = this.#cut ? this.#packet.read(header, source.octets, start, end) : header.check(source.octets, start, end);
    if (verdict !== 'ok') return verdict;
    if (this.#cut) this.#beginCut(source.octets, start, header);
    else this.#beginWhole(header);
    return 'ok';
  }

  /**
   * Writes packets to `at`, `at + stride` … as many as remain, fit, and are asked for. What stands between them is left alone: room for the
   * headers of ESP before each and for trailer and ICV behind.
   * @returns packets written
   */
  write(out: PacketBuffer, at: number, stride: number, limit: number): number {
    if (stride < this.packetLength) throw new ApiMisuse(`packets of ${this.packetLength} octets cannot stand ${stride} octets apart`);
    const source = this.#source;
    if (source === undefined) return 0;
    const room = out.octets.length;
    let written = 0;
    for (let to = at; written < limit && this.remaining > 0; to += stride) {
      const length = this.remaining === 1 ? this.lastLength : this.packetLength;
      if (to + length > room) break;
      if (this.#cut) this.#writeSegment(source, out, to, length);
      else this.#writeWhole(source, out, to);
      this.remaining--;
      written++;
    }
    return written;
  }

  #beginWhole(header: VnetHeader): void {
    this.#checksumStart = header.csumStart;
    this.#checksumAt = header.needsCsum ? header.csumStart + header.csumOffset : -1;
    this.packetLength = this.#length;
    this.lastLength = this.#length;
    this.remaining = 1;
  }

  #beginCut(data: Uint8Array, start: number, header: VnetHeader): void {
    const { ip, tcp, transportAt, payloadAt, payloadLength, count } = this.#packet;
    this.#gsoSize = header.gsoSize;
    this.#headerLength = payloadAt - start;
    this.#done = 0;
    this.remaining = count;
    this.lastLength = this.#headerLength + payloadLength - (count - 1) * header.gsoSize;
    this.packetLength = count === 1 ? this.lastLength : this.#headerLength + header.gsoSize;
    if (ip.version === 4) {
      this.#identification = ip.identification;
      this.#ipSum = sum16(data, start, start + 2) + sum16(data, start + 6, start + 10) + sum16(data, start + 12, transportAt);
    }
    // The pseudo header's sum is the kernel's, so that it holds for any chain of headers; its length gives way to each segment's.
    const transportLength = ip.end - transportAt;
    const pseudo = partialSum(data, start, header) + (~transportLength & 0xffff);
    const ports = sum16(data, transportAt, transportAt + 4);
    if (!tcp) {
      this.#transportSum = pseudo + ports;
      return;
    }
    this.#sequence = getI32(data, transportAt + 4);
    this.#flags = data[transportAt + 13]!;
    this.#urgent = getU16(data, transportAt + 18);
    const acknowledgment = sum16(data, transportAt + 8, transportAt + 12);
    const window = getU16(data, transportAt + 14);
    this.#transportSum = pseudo + ports + acknowledgment + window + sum16(data, transportAt + 20, payloadAt);
  }

  #writeSegment(source: PacketBuffer, out: PacketBuffer, to: number, length: number): void {
    const { ip, tcp, transportAt, payloadAt, count } = this.#packet;
    const headerLength = this.#headerLength;
    copyHeader(source, this.#start, out, to, headerLength);
    const payload = copySum(source, payloadAt + this.#done, out, to + headerLength, length - headerLength);
    const data = out.octets;
    if (ip.version === 4) this.#finishIpv4(data, to, length, count - this.remaining);
    // RFC 8200 §3: the payload length counts extension headers.
    else putU16(data, to + 4, length - IPV6_HEADER);
    const transport = to + transportAt - this.#start;
    const sum = this.#transportSum + payload + (to + length - transport);
    if (tcp) this.#finishTcp(data, transport, sum);
    else finishUdp(data, transport, to + length - transport, sum);
    this.#done += this.#gsoSize;
  }

  /** RFC 791 §3.1. The kernel's own segmentation counts identifications up, whether or not the packets may be fragmented. */
  #finishIpv4(data: Uint8Array, at: number, length: number, index: number): void {
    const identification = (this.#identification + index) & 0xffff;
    putU16(data, at + 2, length);
    putU16(data, at + 4, identification);
    putU16(data, at + 10, ~fold(this.#ipSum + length + identification) & 0xffff);
  }

  #finishTcp(data: Uint8Array, at: number, commonSum: number): void {
    // RFC 9293 §3.4: the sequence number is that of the first octet of text.
    const sequence = (this.#sequence + this.#done) | 0;
    let flags = this.#flags;
    // RFC 3168 §6.1.2: CWR stands on the first packet of new data only.
    if (this.#done > 0) flags &= ~CWR;
    // RFC 9293 §3.1, §3.9.1: no more data and push belong to the last octet.
    if (this.remaining > 1) flags &= ~(TcpFlag.FIN | TcpFlag.PSH);
    // RFC 9293 §3.1: the urgent pointer counts from the sequence number of its own segment.
    let urgent = this.#urgent;
    if ((flags & TcpFlag.URG) !== 0) {
      urgent = Math.max(0, urgent - this.#done);
      if (urgent === 0 && this.#done > 0) flags &= ~TcpFlag.URG;
    }
    putU32(data, at + 4, sequence);
    data[at + 13] = flags;
    putU16(data, at + 18, urgent);
    const sum = commonSum + (sequence >>> 16) + (sequence & 0xffff) + ((data[at + 12]! << 8) | flags) + urgent;
    putU16(data, at + TCP_CHECKSUM_AT, ~fold(sum) & 0xffff);
  }

  #writeWhole(source: PacketBuffer, out: PacketBuffer, to: number): void {
    const start = this.#start;
    const checksumAt = this.#checksumAt;
    const head = checksumAt < 0 ? this.#length : this.#checksumStart;
    copyOctets(source, start, out, to, head);
    if (checksumAt < 0) return;
    // The field is summed with the rest: it holds the sum of the pseudo header.
    const sum = copySum(source, start + head, out, to + head, this.#length - head);
    // RFC 768: a computed zero is sent as all ones, and only in UDP.
    const checksum = ~sum & 0xffff;
    putU16(out.octets, to + checksumAt, checksum === 0 && checksumAt - head === UDP_CHECKSUM_AT ? 0xffff : checksum);
  }
}

/** RFC 768: the length counts the header; a checksum that comes out as zero is sent as all ones. */
function finishUdp(data: Uint8Array, at: number, length: number, commonSum: number): void {
  putU16(data, at + 4, length);
  putU16(data, at + UDP_CHECKSUM_AT, ~fold(commonSum + length) & 0xffff || 0xffff);
}

const IPV6_HEADER = 40;
