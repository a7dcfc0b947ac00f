import { ApiMisuse } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from './ffi.ts';
import { type AddressTexts, AF_INET6, SOCKADDR } from './socket-address.ts';
import { CONTROL_DATA, IOVEC, MESSAGE } from './udp-segments.ts';

/**
 * What one call receives: messages of one datagram or, where the kernel joined those of one peer, of several. Made once and filled again;
 * what it tells is about the last `FastUdp.receive`, and the octets stay until the next one.
 */
export class UdpBatch {
  /** Messages that one call takes at most. */
  readonly capacity: number;
  /** Where the datagrams stand, to be worked on in place. */
  readonly buffer: NativeBuffer;
  readonly headers: NativeBuffer;
  readonly #room: number;
  readonly #headroom: number;
  readonly #vectors: NativeBuffer;
  readonly #names: NativeBuffer;
  readonly #control: NativeBuffer;
  readonly #lengths: Int32Array;
  readonly #segments: Int32Array;
  readonly #ports: Int32Array;
  readonly #classes: Int32Array;
  readonly #ips: string[];
  readonly #destinations: (string | undefined)[];
  /** Headers that the kernel wrote to. */
  #used: number;

  /** How many octets so many messages take. */
  static octets(capacity: number, headroom = 0): number {
    return capacity * (headroom + LARGEST);
  }

  /**
   * @param headroom octets before each message that are the reader's own; a multiple of 8 keeps messages aligned
   * @param buffer where the datagrams are to stand, of `UdpBatch.octets` at least
   */
  constructor(native: Native, capacity = 16, headroom = 0, buffer = native.allocate(UdpBatch.octets(capacity, headroom))) {
    if (buffer.octets.length < UdpBatch.octets(capacity, headroom))
      throw new ApiMisuse(`${capacity} messages do not fit a buffer of ${buffer.octets.length} octets`, { code: 'BUFFER_TOO_SHORT' });
    this.capacity = capacity;
    this.#headroom = headroom;
    this.#room = headroom + LARGEST;
    this.buffer = buffer;
    this.headers = native.allocate(capacity * MESSAGE.size);
    this.#vectors = native.allocate(capacity * IOVEC);
    this.#names = native.allocate(capacity * SOCKADDR);
    this.#control = native.allocate(capacity * CONTROL);
    this.#lengths = new Int32Array(capacity);
    this.#segments = new Int32Array(capacity);
    this.#ports = new Int32Array(capacity);
    this.#classes = new Int32Array(capacity);
    this.#ips = new Array<string>(capacity).fill('');
    this.#destinations = new Array<string | undefined>(capacity).fill(undefined);
    for (let i = 0; i < capacity; i++) {
      const header = i * MESSAGE.size;
      this.headers.writeWord(header + MESSAGE.name, this.#names.address + i * SOCKADDR);
      this.headers.writeWord(header + MESSAGE.vectors, this.#vectors.address + i * IOVEC);
      this.headers.writeWord(header + MESSAGE.vectorCount, 1);
      this.headers.writeWord(header + MESSAGE.control, this.#control.address + i * CONTROL);
      this.#vectors.writeWord(i * IOVEC, this.buffer.address + this.offset(i));
      this.#vectors.writeWord(i * IOVEC + 8, LARGEST);
    }
    this.#used = capacity;
    this.reset();
  }

  /** Messages that came in last. */
  get count(): number {
    return this.#used;
  }

  /** Where message `i` begins in `buffer`. */
  offset(i: number): number {
    return i * this.#room + this.#headroom;
  }

  /** Octets of message `i`; 0 for one that did not fit its place. */
  length(i: number): number {
    return this.#lengths[i]!;
  }

  /** Octets of each of its datagrams but the last, which may be shorter. */
  segment(i: number): number {
    return this.#segments[i]!;
  }

  datagrams(i: number): number {
    return this.length(i) === 0 ? 0 : Math.ceil(this.length(i) / this.segment(i));
  }

  /** Who sent it, or pretends to have. */
  ip(i: number): string {
    return this.#ips[i]!;
  }

  port(i: number): number {
    return this.#ports[i]!;
  }

  /** The address of ours that it was sent to; undefined unless the socket was asked to tell. */
  destination(i: number): string | undefined {
    return this.#destinations[i];
  }

  /** DSCP and ECN as one octet; -1 unless the socket was asked to tell. */
  trafficClass(i: number): number {
    return this.#classes[i]!;
  }

  /** Makes it ready to be filled. The kernel has written how much of names and control it used. */
  reset(): void {
    for (let i = 0; i < this.#used; i++) {
      const header = i * MESSAGE.size;
      this.headers.u32[(header + MESSAGE.nameLength) >> 2] = SOCKADDR;
      this.headers.writeWord(header + MESSAGE.controlLength, CONTROL);
    }
    this.#used = 0;
  }

  /** Takes in what the kernel wrote. @returns how many messages did not fit, and tell nothing */
  read(count: number, texts: AddressTexts): number {
    this.#used = count;
    let truncated = 0;
    for (let i = 0; i < count; i++) {
      const header = i * MESSAGE.size;
      const whole = (this.headers.u32[(header + MESSAGE.flags) >> 2]! & (MESSAGE.MSG_TRUNC | MESSAGE.MSG_CTRUNC)) === 0;
      if (!whole) truncated++;
      const length = whole ? this.headers.u32[(header + MESSAGE.length) >> 2]! : 0;
      this.#lengths[i] = length;
      this.#segments[i] = length;
      this.#classes[i] = -1;
      this.#destinations[i] = undefined;
      this.#readName(i, texts);
      if (whole) this.#readControl(i, this.headers.u32[(header + MESSAGE.controlLength) >> 2]!, texts);
    }
    return truncated;
  }

  #readName(i: number, texts: AddressTexts): void {
    const at = i * SOCKADDR;
    const { octets, u16 } = this.#names;
    const v6 = u16[at >> 1] === AF_INET6;
    this.#ports[i] = (octets[at + 2]! << 8) | octets[at + 3]!;
    this.#ips[i] = texts.text(this.#names, v6 ? at + 8 : at + 4, v6 ? 16 : 4);
  }

  #readControl(i: number, length: number, texts: AddressTexts): void {
    const control = this.#control;
    const end = i * CONTROL + Math.min(length, CONTROL);
    for (let at = i * CONTROL; at + CONTROL_DATA <= end; ) {
      const octets = control.u32[at >> 2]!;
      if (octets < CONTROL_DATA) return;
      const data = at + CONTROL_DATA;
      switch ((control.u32[(at + 8) >> 2]! << 8) | control.u32[(at + 12) >> 2]!) {
        case UDP_GRO:
          if (control.u32[data >> 2]! > 0) this.#segments[i] = Math.min(this.#lengths[i]!, control.u32[data >> 2]!);
          break;
        case IP_TOS:
        case IPV6_TCLASS:
          this.#classes[i] = control.octets[data]!;
          break;
        case IP_PKTINFO:
          // struct in_pktinfo: interface, local address, destination of the header
          this.#destinations[i] = texts.text(control, data + 8, 4);
          break;
        case IPV6_PKTINFO:
          this.#destinations[i] = texts.text(control, data, 16);
          break;
      }
      at += (octets + 7) & ~7;
    }
  }
}

/** Any datagram, and what the kernel joins of several. */
const LARGEST = 65_536;
/** Room for segment size, traffic class and destination: 24, 24 and 40 octets. */
const CONTROL = 96;
/** Level and type of a cmsg in one number. */
const UDP_GRO = (17 << 8) | 104;
const IP_TOS = 1;
const IP_PKTINFO = 8;
const IPV6_TCLASS = (41 << 8) | 67;
const IPV6_PKTINFO = (41 << 8) | 50;
