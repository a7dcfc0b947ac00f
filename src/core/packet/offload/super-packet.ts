import { IpView } from '../ip.ts';
import { IpProtocol } from '../ip-protocol.ts';
import { TCP_HEADER, TcpFlag } from '../tcp.ts';
import { UDP_HEADER } from '../udp.ts';
import { GsoType, type VnetFault, type VnetHeader } from './vnet-header.ts';

/** Why a packet cannot be cut; stable words for counters. */
export type SegmentFault =
  | VnetFault
  /** Not a whole IP packet whose own length is the one that was read. */
  | 'ip'
  /** A fragment: what is cut afterwards would be none. */
  | 'fragment'
  /** Not the protocol of the gso_type, or csum_start and csum_offset are not those of its header. */
  | 'protocol'
  /** The TCP header does not fit, or nothing stands behind the headers. */
  | 'header-length'
  /** SYN and RST have no text that could be cut. */
  | 'tcp-flags';

export type SegmentVerdict = 'ok' | SegmentFault;

/** CWR (RFC 3168 §6.1.2), beside the flags that `TcpFlag` names. */
export const CWR = 0x80;

/** Where the checksum stands in a TCP and in a UDP header: csum_offset. */
export const TCP_CHECKSUM_AT = 16;
export const UDP_CHECKSUM_AT = 6;

/**
 * A packet of up to 64 KiB that stands for many, checked and taken apart: one set of TCP or UDP headers, and the payload of all. Used again
 * for the next one.
 */
export class SuperPacket {
  readonly ip = new IpView();
  tcp = false;
  /** Offset of the TCP or UDP header in the buffer. */
  transportAt = 0;
  payloadAt = 0;
  payloadLength = 0;
  /** Segments that it stands for. */
  count = 0;

  /** Reads the packet in `[start, end)`; the header asks for segmentation. */
  read(header: VnetHeader, data: Uint8Array, start: number, end: number): SegmentVerdict {
    const verdict = header.check(data, start, end);
    if (verdict !== 'ok') return verdict;
    const { ip } = this;
    const type = header.gsoType & ~GsoType.ECN;
    this.tcp = type !== GsoType.UDP_L4;
    if (!ip.parse(data, start, end) || ip.end !== end) return 'ip';
    if (ip.fragment || ip.fragmentHeaderAt !== 0) return 'fragment';
    if (this.tcp && ip.version !== (type === GsoType.TCPV4 ? 4 : 6)) return 'protocol';
    if (ip.protocol !== (this.tcp ? IpProtocol.TCP : IpProtocol.UDP)) return 'protocol';
    if (header.csumStart !== ip.payload - start) return 'protocol';
    if (header.csumOffset !== (this.tcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT)) return 'protocol';
    return this.#readTransport(data, end, header.gsoSize);
  }

  #readTransport(data: Uint8Array, end: number, gsoSize: number): SegmentVerdict {
    const at = this.ip.payload;
    if (end - at < (this.tcp ? TCP_HEADER : UDP_HEADER)) return 'header-length';
    const length = this.tcp ? (data[at + 12]! >>> 4) * 4 : UDP_HEADER;
    if (this.tcp && length < TCP_HEADER) return 'header-length';
    if (end - at <= length) return 'header-length';
    // RFC 9293 §3.4: SYN takes a sequence number of its own, so that what is behind it does not begin where the header says.
    if (this.tcp && (data[at + 13]! & (TcpFlag.SYN | TcpFlag.RST)) !== 0) return 'tcp-flags';
    this.transportAt = at;
    this.payloadAt = at + length;
    this.payloadLength = end - this.payloadAt;
    this.count = Math.ceil(this.payloadLength / gsoSize);
    return 'ok';
  }
}
