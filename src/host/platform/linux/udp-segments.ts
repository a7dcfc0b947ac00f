import { ERRNO, type Native, type NativeBuffer } from './ffi.ts';
import { SOCKADDR, type SocketAddress } from './socket-address.ts';

/**
 * Sends many datagrams of one size to one peer: as one message that the kernel or the card cuts (UDP_SEGMENT), or, where that is refused,
 * as many messages in one call. A refusal is learnt once: of the interface for good, of a size for the peer it was too large for.
 */
export class SegmentSender {
  /** Whether UDP_SEGMENT is tried at all. */
  usable: boolean;
  readonly #native: Native;
  readonly #sendmmsg: (fd: number, messages: number, count: number, flags: number) => number;
  readonly #fd: number;
  readonly #headers: NativeBuffer;
  readonly #vectors: NativeBuffer;
  /** Where the messages of one call go. */
  readonly #name: NativeBuffer;
  /** UDP_SEGMENT, and behind it the traffic class. */
  readonly #control: NativeBuffer;

  constructor(
    native: Native,
    sendmmsg: (fd: number, messages: number, count: number, flags: number) => number,
    fd: number,
    v6: boolean,
    usable: boolean,
  ) {
    this.#native = native;
    this.#sendmmsg = sendmmsg;
    this.#fd = fd;
    this.usable = usable;
    this.#name = native.allocate(SOCKADDR);
    this.#headers = native.allocate(MOST_SEGMENTS * MESSAGE.size);
    this.#vectors = native.allocate(MOST_SEGMENTS * IOVEC);
    for (let i = 0; i < MOST_SEGMENTS; i++) {
      this.#headers.writeWord(i * MESSAGE.size + MESSAGE.name, this.#name.address);
      this.#headers.writeWord(i * MESSAGE.size + MESSAGE.vectors, this.#vectors.address + i * IOVEC);
      this.#headers.writeWord(i * MESSAGE.size + MESSAGE.vectorCount, 1);
    }
    this.#control = native.allocate(2 * CONTROL);
    writeControl(this.#control, 0, 2, SOL_UDP, UDP_SEGMENT);
    if (v6) writeControl(this.#control, CONTROL, 4, IPPROTO_IPV6, IPV6_TCLASS);
    else writeControl(this.#control, CONTROL, 4, IPPROTO_IP, IP_TOS);
  }

  /** One datagram. @returns 0, or the number of the error */
  one(at: number, length: number, peer: SocketAddress, trafficClass: number): number {
    const octets = this.#sendOne(at, length, 0, peer, trafficClass);
    return octets < 0 ? -octets : 0;
  }

  /** As many as one call takes. @returns their octets, or the number of the error, negative, when there was not even one */
  many(at: number, length: number, segmentSize: number, peer: SocketAddress, trafficClass: number): number {
    if (length <= segmentSize) {
      const octets = this.#sendOne(at, length, 0, peer, trafficClass);
      return octets < 0 ? octets : length;
    }
    const most = Math.min(MOST_SEGMENTS, Math.floor(LARGEST_MESSAGE / segmentSize)) * segmentSize;
    if (most <= segmentSize || !this.usable || segmentSize >= peer.segmentLimit)
      return this.#sendEach(at, Math.min(length, MOST_SEGMENTS * segmentSize), segmentSize, peer, trafficClass);
    const octets = this.#sendOne(at, Math.min(length, most), segmentSize, peer, trafficClass);
    switch (-octets) {
      case ERRNO.EIO:
        // The interface cannot fill in checksums (or IPsec of the kernel stands in between), so it cannot cut either.
        this.usable = false;
        break;
      case ERRNO.EINVAL:
      case ERRNO.EMSGSIZE:
        // One segment is larger than the path takes. Each by itself may be fragmented, or is refused with a reason.
        peer.segmentLimit = segmentSize;
        break;
      default:
        return octets;
    }
    return this.#sendEach(at, Math.min(length, most), segmentSize, peer, trafficClass);
  }

  #sendOne(at: number, length: number, segmentSize: number, peer: SocketAddress, trafficClass: number): number {
    peer.writeTo(this.#name);
    this.#prepare(0, at, length, segmentSize, peer, trafficClass);
    const { libc } = this.#native;
    const octets = libc.sendmsg(this.#fd, this.#headers.address, SEND_FLAGS);
    if (octets >= 0) return octets;
    const errno = this.#native.errno();
    // A pending error is about something sent before, and passes with being told.
    if (errno !== ERRNO.ECONNREFUSED) return -errno;
    const again = libc.sendmsg(this.#fd, this.#headers.address, SEND_FLAGS);
    return again >= 0 ? again : -this.#native.errno();
  }

  #sendEach(at: number, length: number, segmentSize: number, peer: SocketAddress, trafficClass: number): number {
    let count = 0;
    peer.writeTo(this.#name);
    for (let from = 0; from < length; from += segmentSize)
      this.#prepare(count++, at + from, Math.min(segmentSize, length - from), 0, peer, trafficClass);
    const sent = this.#sendmmsg(this.#fd, this.#headers.address, count, SEND_FLAGS);
    return sent > 0 ? Math.min(length, sent * segmentSize) : -(this.#native.errno() || ERRNO.EIO);
  }

  #prepare(i: number, at: number, length: number, segmentSize: number, peer: SocketAddress, trafficClass: number): void {
    const headers = this.#headers;
    const header = i * MESSAGE.size;
    headers.u32[(header + MESSAGE.nameLength) >> 2] = peer.length;
    this.#vectors.writeWord(i * IOVEC, at);
    this.#vectors.writeWord(i * IOVEC + 8, length);
    const segmented = segmentSize > 0;
    const classed = trafficClass >= 0;
    if (segmented) this.#control.u16[CONTROL_DATA >> 1] = segmentSize;
    if (classed) this.#control.u32[(CONTROL + CONTROL_DATA) >> 2] = trafficClass;
    headers.writeWord(header + MESSAGE.control, this.#control.address + (segmented ? 0 : CONTROL));
    headers.writeWord(header + MESSAGE.controlLength, (segmented ? CONTROL : 0) + (classed ? CONTROL : 0));
  }
}

function writeControl(to: NativeBuffer, at: number, length: number, level: number, type: number): void {
  to.writeWord(at, CONTROL_DATA + length);
  to.u32[(at + 8) >> 2] = level;
  to.u32[(at + 12) >> 2] = type;
}

/** struct mmsghdr: a msghdr, and behind it how many octets came in. */
export const MESSAGE = {
  name: 0,
  nameLength: 8,
  vectors: 16,
  vectorCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
  size: 64,
  MSG_DONTWAIT: 0x40,
  MSG_CTRUNC: 0x8,
  MSG_TRUNC: 0x20,
} as const;
/** struct iovec: a pointer and a length. */
export const IOVEC = 16;
/** struct cmsghdr: its data stands behind a length, a level and a type. */
export const CONTROL_DATA = 16;

/** One cmsg with up to 8 octets of data. */
const CONTROL = 24;
const MSG_NOSIGNAL = 0x4000;
const SEND_FLAGS = MESSAGE.MSG_DONTWAIT | MSG_NOSIGNAL;
/** linux/udp.h, UDP_MAX_SEGMENTS of the kernels that have the fewest. */
const MOST_SEGMENTS = 64;
/** What one UDP datagram over IPv4 holds, which is what the kernel takes it for before it is cut. */
const LARGEST_MESSAGE = 65_507;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IPPROTO_IPV6 = 41;
const IPV6_TCLASS = 67;
