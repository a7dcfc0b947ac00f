import type { RandomSource } from '../../core/crypto/random.ts';
import { EXHAUSTED, IPCOMP, outerClass } from '../../core/esp/index.ts';
import { IpProtocol, type IpView } from '../../core/packet/index.ts';
import type { Clock } from '../platform/clock.ts';
import type { ChildEntry } from './child-entry.ts';
import { OuterPackets } from './outer-packets.ts';
import { cut, mtuOf, TooBigAnswers } from './oversize.ts';

export interface EspSenderOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Pick<RandomSource, 'childSpi'>;
  /** Takes ICMP answers to what was to be sent. */
  readonly answer: (packet: Uint8Array) => void;
  readonly ownAddress: ((addressLength: 4 | 16) => Uint8Array | undefined) | undefined;
  /** Counts a packet that no CHILD_SA can be blamed for. */
  readonly drop: (cause: 'no outbound SA' | 'too large') => void;
  /** Something was sealed: has the SA reached a limit? */
  readonly onSealed: (entry: ChildEntry) => void;
  /** An SA has no sequence number left; told once. */
  readonly onExhausted: (entry: ChildEntry) => void;
  /** Where packets are made, `LARGEST_DATAGRAM` octets, for planes that take turns; one of its own unless given. */
  readonly scratch?: Uint8Array | undefined;
  /** The path of an SA is believed to be wider again. */
  readonly onWider: () => void;
}

/**
 * The sending half of the plane, once the SA of a packet is found: compression, ESP or AH, the outer header where it is ours, and what
 * becomes of packets that are too large (RFC 4301 §5.1, §8).
 */
export class EspSender {
  readonly #options: EspSenderOptions;
  readonly #tooBig: TooBigAnswers;
  readonly #outer: OuterPackets;
  readonly #buffer: Uint8Array;

  constructor(options: EspSenderOptions) {
    this.#options = options;
    this.#buffer = options.scratch ?? new Uint8Array(LARGEST_DATAGRAM);
    this.#tooBig = new TooBigAnswers(options.answer, options.ownAddress);
    this.#outer = new OuterPackets(options.random.childSpi());
  }

  /** @param view of the packet; may be used for others on return. @returns false when it was dropped */
  send(entry: ChildEntry, packet: Uint8Array, view: IpView): boolean {
    return view.end - view.start > entry.mtu ? this.#sendLarge(entry, packet, view) : this.#send(entry, packet, view);
  }

  /** RFC 4303 §2.6. It is no use of the SA, so an idle one still counts as idle. */
  sendDummy(entry: ChildEntry, length: number): void {
    const { outbound, lastOut } = entry;
    if (outbound.protocol !== 'ESP') return;
    const buffer = this.#buffer;
    const header = entry.path.sendWhole === undefined ? 0 : this.#outer.tunnelHeader(entry);
    buffer.fill(0, header + outbound.payloadOffset, header + outbound.payloadOffset + length);
    const sealed = this.sealInPlace(entry, buffer, header, length, IpProtocol.IPV6_NONXT);
    entry.lastOut = lastOut;
    if (sealed === EXHAUSTED) return;
    if (header > 0) this.#outer.write(entry, undefined, IpProtocol.ESP, buffer, header + sealed);
    if (!this.#hand(entry, header + sealed, 0)) entry.drops.send++;
  }

  /**
   * Makes the ESP packet around a payload that stands at `at + entry.outbound.payloadOffset` of `out` already, and counts it; sending is the caller's.
   * @returns octets of the ESP packet, or `EXHAUSTED` when the SA must send no more
   */
  sealInPlace(entry: ChildEntry, out: Uint8Array, at: number, payloadLength: number, nextHeader: number): number {
    const { outbound } = entry;
    if (entry.expired || outbound.protocol !== 'ESP') return this.#refuse(entry);
    return this.#sealed(entry, outbound.sealInPlace(out, at, payloadLength, nextHeader, nextHeader === IPCOMP ? 0 : entry.tfcLength));
  }

  /**
   * As `sealInPlace` for `count` payloads, each at its place in packets that stand one behind the other.
   * @param lastLength octets of the last payload, which may be shorter than the others
   * @returns octets of all packets, or `EXHAUSTED` where each has to be sealed by itself, since a limit may lie between them
   */
  sealBurst(
    entry: ChildEntry,
    out: Uint8Array,
    at: number,
    count: number,
    payloadLength: number,
    lastLength: number,
    nextHeader: number,
  ): number {
    const { outbound } = entry;
    const payloads = (count - 1) * payloadLength + lastLength;
    if (entry.expired || outbound.protocol !== 'ESP' || entry.nearsLimit(payloads, count)) return EXHAUSTED;
    const length = outbound.sealBurst(out, at, count, payloadLength, lastLength, nextHeader, entry.tfcLength);
    if (length !== EXHAUSTED) entry.lastOut = this.#options.clock.now();
    return length;
  }

  /** Larger than what leaves in one outer packet. */
  #sendLarge(entry: ChildEntry, packet: Uint8Array, view: IpView): boolean {
    const now = this.#options.clock.now();
    if (entry.agePath(now)) this.#options.onWider();
    const mtu = mtuOf(entry, view.version);
    // RFC 4301 §8.1: where DF is cleared outside, routers cut the outer packet
    if (view.end - view.start <= mtu || entry.outer.df === 'clear') return this.#send(entry, packet, view);
    const pieces = cut(view, mtu);
    if (pieces === undefined) {
      this.#tooBig.send(view, mtu, now);
      entry.drops['too big']++;
      return false;
    }
    // in transport mode nothing is cut before it is protected (RFC 4303 §3.1.1), nor where the peer does not take pieces (RFC 4301 §7.3)
    if (entry.transport !== undefined || (entry.selectors.looksAtPorts && !entry.laterFragments)) return this.#send(entry, packet, view);
    let sent = true;
    for (const piece of pieces) if (!view.parse(piece) || !this.#send(entry, piece, view)) sent = false;
    return sent;
  }

  #send(entry: ChildEntry, packet: Uint8Array, view: IpView): boolean {
    const { transport, path, ipcomp } = entry;
    const buffer = this.#buffer;
    if (transport !== undefined && !transport.carries(view)) return this.#drop('no outbound SA');
    const from = transport === undefined ? 0 : view.payload;
    let payloadLength = view.end - from;
    let nextHeader = transport === undefined ? protocolOf(view) : view.protocol;
    const header = path.sendWhole === undefined ? 0 : this.#outer.headerLength(entry, view);
    const front = header + entry.front;
    if (front + payloadLength + LONGEST_TRAILER > LARGEST_DATAGRAM) return this.#drop('too large');
    const payload = from === 0 && view.end === packet.length ? packet : packet.subarray(from, view.end);
    const compressed = ipcomp === undefined ? 0 : ipcomp.outbound.compress(payload, nextHeader, buffer, front);
    if (compressed > 0) {
      payloadLength = compressed;
      nextHeader = IPCOMP;
    } else buffer.set(payload, front);
    const length = this.#protect(entry, view, header, payloadLength, nextHeader);
    if (length === EXHAUSTED) return false;
    const sent = this.#hand(entry, length, view.trafficClass);
    if (!sent) entry.drops.send++;
    return sent;
  }

  /** @returns octets of what leaves, outer header included where it is ours */
  #protect(entry: ChildEntry, view: IpView, header: number, payloadLength: number, nextHeader: number): number {
    const { outbound } = entry;
    const buffer = this.#buffer;
    if (outbound.protocol === 'AH') {
      // the header is covered, so it comes first
      const end = header + entry.front + payloadLength;
      if (entry.expired || header === 0) return this.#refuse(entry);
      this.#outer.write(entry, view, IpProtocol.AH, buffer, end);
      return this.#sealed(entry, outbound.seal(buffer, 0, header, end, nextHeader));
    }
    const length = this.sealInPlace(entry, buffer, header, payloadLength, nextHeader);
    if (length === EXHAUSTED || header === 0) return length;
    this.#outer.write(entry, view, IpProtocol.ESP, buffer, header + length);
    return header + length;
  }

  #hand(entry: ChildEntry, length: number, innerClass: number): boolean {
    const packet = this.#buffer.subarray(0, length);
    if (entry.path.sendWhole !== undefined) return this.#outer.send(entry, packet);
    return entry.path.send(packet, outerClass(innerClass, entry.outer));
  }

  #sealed(entry: ChildEntry, length: number): number {
    if (length === EXHAUSTED) {
      if (entry.exhaust()) this.#options.onExhausted(entry);
      return this.#refuse(entry);
    }
    entry.lastOut = this.#options.clock.now();
    this.#options.onSealed(entry);
    return length;
  }

  #refuse(entry: ChildEntry): number {
    entry.drops.expired++;
    return EXHAUSTED;
  }

  #drop(cause: 'no outbound SA' | 'too large'): false {
    this.#options.drop(cause);
    return false;
  }
}

/** What the ESP trailer calls an inner packet in tunnel mode. */
export const protocolOf = (packet: IpView): number => (packet.version === 4 ? IpProtocol.IPV4 : IpProtocol.IPV6);

/** Octets behind a UDP header that IPv4 carries. */
export const LARGEST_DATAGRAM = 65_507;
/** Padding, its length, next header, and the longest ICV. */
const LONGEST_TRAILER = 16 + 2 + 32;
