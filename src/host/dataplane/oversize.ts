import type { Millis } from '../../core/ike/effects.ts';
import {
  clampTcpMss,
  fragmentIpv4,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  type IpView,
  offersMssAbove,
  TCP_HEADER,
  TcpFlag,
} from '../../core/packet/index.ts';
import type { ChildEntry } from './child-entry.ts';
import { packetTooBig } from './icmp-answers.ts';

/** Octets of an inner packet that pass. RFC 8200 §5: for IPv6 never less than this, the rest is the outer header's business. */
export const mtuOf = (entry: ChildEntry, version: 4 | 6): number => Math.max(entry.mtu, version === 4 ? LEAST_IPV4 : LEAST_IPV6);

/** Is that a SYN, whose MSS says how large segments of the other side may be? */
export function isSyn({ data, protocol, payload, end, fragmentOffset }: IpView): boolean {
  return protocol === IpProtocol.TCP && end - payload >= TCP_HEADER && fragmentOffset === 0 && (data[payload + 13]! & TcpFlag.SYN) !== 0;
}

/** Lowers the MSS of a SYN to what the tunnel takes (RFC 4459 §3.2), in place. */
export function clampSyn(entry: ChildEntry, packet: IpView): void {
  clampTcpMss(packet, largestMssOf(entry, packet));
}

/** Whether `clampSyn` has something to lower: a host behind an interface with the MTU of the tunnel offers what fits. */
export const mustClamp = (entry: ChildEntry, packet: IpView): boolean =>
  entry.largestMss > 0 && isSyn(packet) && offersMssAbove(packet, largestMssOf(entry, packet));

function largestMssOf(entry: ChildEntry, { version }: IpView): number {
  const headers = (version === 4 ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER;
  return Math.min(entry.largestMss, mtuOf(entry, version) - headers);
}

/**
 * The pieces of an IPv4 packet that its sender lets us cut, each a packet of its own (RFC 4301 §8.1).
 * @returns undefined where it must not be cut, or cannot
 */
export function cut(packet: IpView, mtu: number): readonly Uint8Array[] | undefined {
  if (packet.version === 6 || packet.dontFragment) return undefined;
  const pieces: Uint8Array[] = [];
  return fragmentIpv4(packet, mtu, (piece) => pieces.push(piece)) ? pieces : undefined;
}

/** Tells senders that their packets are too large, at a pace that cannot be made a flood of (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)). */
export class TooBigAnswers {
  readonly #answer: (packet: Uint8Array) => void;
  readonly #ownAddress: ((addressLength: 4 | 16) => Uint8Array | undefined) | undefined;
  #left = ANSWERS;
  #since: Millis = Number.NEGATIVE_INFINITY;

  /** @param ownAddress where none is known, the packet's destination speaks: whoever sent the packet takes that for possible */
  constructor(answer: (packet: Uint8Array) => void, ownAddress?: (addressLength: 4 | 16) => Uint8Array | undefined) {
    this.#answer = answer;
    this.#ownAddress = ownAddress;
  }

  send(packet: IpView, mtu: number, now: Millis): void {
    if (now - this.#since >= SECOND) {
      this.#since = now;
      this.#left = ANSWERS;
    }
    if (this.#left === 0) return;
    const { data, destinationAt, addressLength } = packet;
    const from = this.#ownAddress?.(addressLength) ?? data.slice(destinationAt, destinationAt + addressLength);
    const answer = packetTooBig(packet, from, mtu);
    if (answer === undefined) return;
    this.#left--;
    this.#answer(answer);
  }
}

/** RFC 791 §3.1. */
const LEAST_IPV4 = 68;
const LEAST_IPV6 = 1280;
const SECOND: Millis = 1000;
/** Each second. */
const ANSWERS = 200;
