import { getU16 } from '../octets.ts';

/** Octets of virtio_net_hdr, without num_buffers: what a TUN device with IFF_VNET_HDR puts before every packet. */
export const VNET_HEADER = 10;

/** VIRTIO_NET_HDR_F_*. */
export const VnetFlag = {
  /** The checksum field holds the sum of the pseudo header; the rest is summed from csum_start on. */
  NEEDS_CSUM: 1,
  /** The checksum was verified. */
  DATA_VALID: 2,
} as const;

/** VIRTIO_NET_HDR_GSO_*. */
export const GsoType = {
  NONE: 0,
  TCPV4: 1,
  /** Fragmentation, not segmentation; never asked for here. */
  UDP: 3,
  TCPV6: 4,
  /** One datagram for each gso_size octets. */
  UDP_L4: 5,
  /** A bit beside the type: the TCP header has CWR set (RFC 3168 §6.1.2). */
  ECN: 0x80,
} as const;

/** Why a header does not fit its packet; stable words for counters. */
export type VnetFault =
  /** No packet at all, or more than IP can say. */
  | 'length'
  /** A type that was not asked for, or one that makes no sense. */
  | 'gso-type'
  /** Segments of no octets. */
  | 'gso-size'
  /** A packet to be cut must leave its checksums to us. */
  | 'checksum-missing'
  /** csum_start and csum_offset point into the IP header or beyond the packet. */
  | 'checksum-start';

/** virtio_net_hdr (Virtio 1.2 §5.1.6), read into fields of an object that is used again. Its fields keep the names that virtio gives them. */
export class VnetHeader {
  flags = 0;
  gsoType = 0;
  /** A hint, and for packets from the kernel often the length of something else: written, never believed. */
  hdrLen = 0;
  /** Octets of payload in every segment but the last. */
  gsoSize = 0;
  /** From the packet's first octet. */
  csumStart = 0;
  /** From `csumStart`. */
  csumOffset = 0;

  /** Little endian on every machine: a device on a big-endian one is told so (TUNSETVNETLE). `VNET_HEADER` octets must be there. */
  read(data: Uint8Array, at: number): void {
    this.flags = data[at]!;
    this.gsoType = data[at + 1]!;
    this.hdrLen = data[at + 2]! | (data[at + 3]! << 8);
    this.gsoSize = data[at + 4]! | (data[at + 5]! << 8);
    this.csumStart = data[at + 6]! | (data[at + 7]! << 8);
    this.csumOffset = data[at + 8]! | (data[at + 9]! << 8);
  }

  write(data: Uint8Array, at: number): void {
    data[at] = this.flags;
    data[at + 1] = this.gsoType;
    data[at + 2] = this.hdrLen;
    data[at + 3] = this.hdrLen >>> 8;
    data[at + 4] = this.gsoSize;
    data[at + 5] = this.gsoSize >>> 8;
    data[at + 6] = this.csumStart;
    data[at + 7] = this.csumStart >>> 8;
    data[at + 8] = this.csumOffset;
    data[at + 9] = this.csumOffset >>> 8;
  }

  /** A packet that stands for itself, its checksum complete. */
  clear(): void {
    this.flags = 0;
    this.gsoType = GsoType.NONE;
    this.hdrLen = 0;
    this.gsoSize = 0;
    this.csumStart = 0;
    this.csumOffset = 0;
  }

  get needsCsum(): boolean {
    return (this.flags & VnetFlag.NEEDS_CSUM) !== 0;
  }

  /** Held against the packet in `[start, end)`: what the header says can be done without leaving the packet. */
  check(data: Uint8Array, start: number, end: number): 'ok' | VnetFault {
    const length = end - start;
    if (length < 1 || length > MAXIMUM_PACKET) return 'length';
    if (this.needsCsum) {
      // What a checksum is written into must not be the IP header, whose addresses policy was asked about.
      const ipHeader = data[start]! >>> 4 === 6 ? 40 : 20;
      if (this.csumStart < ipHeader || this.csumStart + this.csumOffset + 2 > length) return 'checksum-start';
    }
    const { gsoType } = this;
    if (gsoType === GsoType.NONE) return 'ok';
    const tcp = (gsoType & ~GsoType.ECN) === GsoType.TCPV4 || (gsoType & ~GsoType.ECN) === GsoType.TCPV6;
    if (!tcp && gsoType !== GsoType.UDP_L4) return 'gso-type';
    if (this.gsoSize === 0) return 'gso-size';
    return this.needsCsum ? 'ok' : 'checksum-missing';
  }
}

/** A header of zeros: the packet behind it is as it came. */
export function writeNoOffload(data: Uint8Array, at: number): void {
  for (let i = 0; i < VNET_HEADER; i++) data[at + i] = 0;
}

/** What checksum fields of packets that need theirs hold: the word there is where a one's complement sum goes on from. */
export const partialSum = (data: Uint8Array, start: number, header: VnetHeader): number =>
  getU16(data, start + header.csumStart + header.csumOffset);

const MAXIMUM_PACKET = 65535;
