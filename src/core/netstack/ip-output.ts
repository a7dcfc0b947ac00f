import {
  IPV4_HEADER,
  IPV6_FRAGMENT_HEADER,
  IPV6_HEADER,
  IpProtocol,
  type Ipv4Fields,
  type Ipv6Fields,
  writeIpv4,
  writeIpv6,
  writeIpv6Fragment,
} from '../packet/index.ts';
import type { Counters } from './counters.ts';

/** RFC 1700's recommendation, kept by IANA. */
export const DEFAULT_HOP_LIMIT = 64;

/**
 * Writes the IP header of a packet that will not be fragmented on its way: DF for IPv4, whose identification then means nothing
 * (RFC 6864 §4.1).
 * @returns octets of the header.
 */
export function writeIpHeader(
  out: Uint8Array,
  at: number,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  payload: number,
  hopLimit = DEFAULT_HOP_LIMIT,
): number {
  if (source.length === 4) {
    v4.length = IPV4_HEADER + payload;
    v4.protocol = protocol;
    v4.source = source;
    v4.destination = destination;
    v4.hopLimit = hopLimit;
    v4.identification = 0;
    v4.dontFragment = true;
    v4.moreFragments = false;
    v4.fragmentOffset = 0;
    writeIpv4(out, at, v4);
    return IPV4_HEADER;
  }
  v6.payloadLength = payload;
  v6.nextHeader = protocol;
  v6.source = source;
  v6.destination = destination;
  v6.hopLimit = hopLimit;
  writeIpv6(out, at, v6);
  return IPV6_HEADER;
}

/** What a datagram needs besides its octets. */
export interface Outgoing {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly hopLimit: number;
  readonly dontFragment: boolean;
  /** Octets that pass whole. */
  readonly mtu: number;
}

/** Packets made ready, waiting to be polled: everything but TCP's segments, which are made when they leave. Bounded. */
export class IpOutput {
  readonly #counters: Counters;
  readonly #onWork: () => void;
  readonly #packets: Uint8Array[] = [];
  #first = 0;
  #octets = 0;
  #identification: number;

  /** @param identification start of the counter for fragments, @param onWork called when a packet was queued. */
  constructor(counters: Counters, identification: number, onWork: () => void) {
    this.#counters = counters;
    this.#onWork = onWork;
    this.#identification = identification;
  }

  get empty(): boolean {
    return this.#first === this.#packets.length;
  }

  /** Whether a datagram of this size would be taken now. */
  hasRoom(octets: number): boolean {
    return this.#octets + octets <= MAX_OCTETS && this.#packets.length - this.#first < MAX_PACKETS;
  }

  /**
   * Queues an upper-layer datagram, checksum included, in fragments when it is larger than the MTU.
   * @returns false when it was dropped: the queue is full, or it may not be fragmented.
   */
  push(upper: Uint8Array, to: Outgoing): boolean {
    if (!this.hasRoom(upper.length)) {
      this.#counters.queueFull++;
      return false;
    }
    const header = to.source.length === 4 ? IPV4_HEADER : IPV6_HEADER;
    if (header + upper.length > to.mtu) return to.dontFragment ? false : this.#pushFragments(upper, to, header);
    const packet = new Uint8Array(header + upper.length);
    if (to.source.length === 4 && !to.dontFragment) this.#writeIpv4(packet, upper.length, to, 0, false, this.#nextIdentification());
    else writeIpHeader(packet, 0, to.source, to.destination, to.protocol, upper.length, to.hopLimit);
    packet.set(upper, header);
    this.#append(packet);
    return true;
  }

  /** Copies the oldest packet into `out`. @param mtu of the interface, as it is now. @returns its length, 0 when there is none. */
  take(out: Uint8Array, at: number, mtu: number): number {
    for (let packet = this.#shift(); packet !== undefined; packet = this.#shift()) {
      if (packet.length > mtu) {
        this.#counters.packetsTooLarge++;
        continue;
      }
      out.set(packet, at);
      return packet.length;
    }
    return 0;
  }

  clear(): void {
    this.#packets.length = 0;
    this.#first = 0;
    this.#octets = 0;
  }

  #shift(): Uint8Array | undefined {
    const packet = this.#packets[this.#first];
    if (packet === undefined) return undefined;
    this.#first++;
    this.#octets -= packet.length;
    if (this.#first === this.#packets.length || this.#first >= COMPACT) {
      this.#packets.splice(0, this.#first);
      this.#first = 0;
    }
    return packet;
  }

  /** RFC 791 §3.2; RFC 8200 §4.5. */
  #pushFragments(upper: Uint8Array, to: Outgoing, header: number): true {
    const six = to.source.length === 16;
    const overhead = six ? header + IPV6_FRAGMENT_HEADER : header;
    const step = Math.max(8, (to.mtu - overhead) & ~7);
    const identification = this.#nextIdentification();
    for (let offset = 0; offset < upper.length; offset += step) {
      const piece = upper.subarray(offset, offset + step);
      const more = offset + piece.length < upper.length;
      const packet = new Uint8Array(overhead + piece.length);
      if (six) {
        writeIpHeader(packet, 0, to.source, to.destination, IpProtocol.IPV6_FRAG, IPV6_FRAGMENT_HEADER + piece.length, to.hopLimit);
        writeIpv6Fragment(packet, header, to.protocol, offset, more, identification);
      } else this.#writeIpv4(packet, piece.length, to, offset, more, identification & 0xffff);
      packet.set(piece, overhead);
      this.#append(packet);
      this.#counters.fragmentsOut++;
    }
    return true;
  }

  #writeIpv4(packet: Uint8Array, payload: number, to: Outgoing, offset: number, more: boolean, identification: number): void {
    v4.length = IPV4_HEADER + payload;
    v4.protocol = to.protocol;
    v4.source = to.source;
    v4.destination = to.destination;
    v4.hopLimit = to.hopLimit;
    v4.identification = identification & 0xffff;
    v4.dontFragment = false;
    v4.moreFragments = more;
    v4.fragmentOffset = offset;
    writeIpv4(packet, 0, v4);
  }

  #nextIdentification(): number {
    this.#identification = (this.#identification + 1) >>> 0;
    return this.#identification;
  }

  #append(packet: Uint8Array): void {
    this.#packets.push(packet);
    this.#octets += packet.length;
    this.#onWork();
  }
}

// Filled in again for every packet.
const v4: { -readonly [K in keyof Ipv4Fields]: Ipv4Fields[K] } = {
  length: 0,
  protocol: 0,
  source: new Uint8Array(4),
  destination: new Uint8Array(4),
  hopLimit: 0,
  identification: 0,
  dontFragment: true,
  moreFragments: false,
  fragmentOffset: 0,
  trafficClass: 0,
};
const v6: { -readonly [K in keyof Ipv6Fields]: Ipv6Fields[K] } = {
  payloadLength: 0,
  nextHeader: 0,
  source: new Uint8Array(16),
  destination: new Uint8Array(16),
  hopLimit: 0,
  trafficClass: 0,
  flowLabel: 0,
};

const MAX_OCTETS = 1024 * 1024;
const MAX_PACKETS = 4096;
const COMPACT = 512;
