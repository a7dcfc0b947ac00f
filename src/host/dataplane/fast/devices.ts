import type { Address } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from '../../platform/linux/ffi.ts';
import { ErrorQueue, pathMtuTowards } from '../../platform/linux/path-mtu.ts';
import { SocketAddress } from '../../platform/linux/socket-address.ts';
import type { FastUdp } from '../../platform/linux/udp.ts';
import { UdpBatch } from '../../platform/linux/udp-batch.ts';
import { type BatchTarget, MOST_MESSAGES, RECEIVE_BUFFER, type TakeDatagrams, type TakeTooLarge, type UdpPort } from './ports.ts';

/** What all sockets of one thread receive into: one at a time is read, and done with before the next. */
export class Arrivals {
  readonly batch: UdpBatch;
  /** Where in the buffer the octets begin that are somebody else's. */
  readonly behind: number;

  /** How many octets of memory it takes. @param more for what is gathered from the packets */
  static octets(more: number): number {
    return UdpBatch.octets(MOST_MESSAGES, APART) + more;
  }

  /** @param buffer of `Arrivals.octets` */
  constructor(native: Native, buffer: NativeBuffer) {
    this.behind = Arrivals.octets(0);
    this.batch = new UdpBatch(native, MOST_MESSAGES, APART, buffer);
  }
}

/** A UDP socket that many datagrams leave and enter by at a time. It was opened elsewhere, and is closed there. */
export class UdpDevice implements UdpPort<NativeBuffer> {
  readonly local: Address;
  readonly #native: Native;
  readonly #udp: FastUdp;
  readonly #arrivals: Arrivals;
  readonly #scratch: NativeBuffer;
  readonly #errors: ErrorQueue;
  /** The peers that were asked for last; an SA keeps its own in any case. */
  readonly #targets = new Map<string, UdpTarget>();

  constructor(native: Native, udp: FastUdp, arrivals: Arrivals) {
    this.#native = native;
    this.#udp = udp;
    this.#arrivals = arrivals;
    this.#scratch = native.allocate(LARGEST_DATAGRAM);
    this.local = udp.local;
    udp.enlargeReceiveBuffer(RECEIVE_BUFFER);
    udp.joinReceived(true);
    udp.tellTrafficClass(true);
    this.#errors = new ErrorQueue(native, udp.fd, udp.isV6);
  }

  receive(take: TakeDatagrams<NativeBuffer>): number {
    const { batch } = this.#arrivals;
    const count = this.#udp.receive(batch);
    for (let i = 0; i < count; ) {
      const last = lastOfRow(batch, i);
      const at = batch.offset(i);
      const end = batch.offset(last) + batch.length(last);
      const length = batch.segment(i);
      const step = last > i ? batch.offset(i + 1) - at : length;
      if (length > 0) take(batch.buffer, at, end, step, length, this.local, batch.ip(i), batch.port(i), batch.trafficClass(i));
      i = last + 1;
    }
    return count;
  }

  receiveErrors(take: TakeTooLarge): void {
    this.#errors.drain(({ ip, mtu, quoted }) => take(ip, mtu, quoted));
  }

  /** The SAs to one peer share it, so that their packets leave together. */
  towards({ ip, port }: Address): UdpTarget {
    const mtu = pathMtuTowards(this.#native, this.#udp.fd, this.#udp.local, { ip, port });
    const key = `${ip} ${port}`;
    const target = this.#targets.get(key) ?? new UdpTarget(this.#udp, this.#scratch, SocketAddress.of(this.#native, ip, port));
    target.mtu = mtu;
    this.#targets.delete(key);
    this.#targets.set(key, target);
    for (const oldest of this.#targets.keys()) if (this.#targets.size > MOST_TARGETS) this.#targets.delete(oldest);
    return target;
  }

  close(): void {
    this.#errors.close();
    this.#udp.joinReceived(false);
    this.#udp.tellTrafficClass(false);
  }
}

/** Of messages of one datagram each, from one sender and of one length, but for the last: they are worked on together as if the kernel had joined them. */
function lastOfRow(batch: UdpBatch, first: number): number {
  const length = batch.length(first);
  if (batch.segment(first) < length) return first;
  const ip = batch.ip(first);
  const port = batch.port(first);
  const trafficClass = batch.trafficClass(first);
  let last = first;
  for (let i = first + 1; i < batch.count && batch.length(last) === length; last = i++) {
    const own = batch.length(i);
    if (own === 0 || own > length || batch.segment(i) < own) break;
    if (batch.ip(i) !== ip || batch.port(i) !== port || batch.trafficClass(i) !== trafficClass) break;
  }
  return last;
}

/** The way to one peer. */
class UdpTarget implements BatchTarget<NativeBuffer> {
  mtu: number | undefined;
  readonly #udp: FastUdp;
  readonly #scratch: NativeBuffer;
  readonly #peer: SocketAddress;

  constructor(udp: FastUdp, scratch: NativeBuffer, peer: SocketAddress) {
    this.#udp = udp;
    this.#scratch = scratch;
    this.#peer = peer;
  }

  sendBatch(from: NativeBuffer, at: number, length: number, segment: number, trafficClass: number): number {
    // a class of 0 is what a socket has by itself
    return this.#udp.sendBatch(from, at, length, segment, this.#peer, trafficClass || -1);
  }

  send(packet: Uint8Array, trafficClass = 0): boolean {
    this.#scratch.octets.set(packet);
    return this.#udp.send(this.#scratch, 0, packet.length, this.#peer, trafficClass || -1);
  }
}

/** Octets: single datagrams, each at the beginning of its 64 KiB, would all want the same few lines of the processor's cache. */
const APART = 1472;
const LARGEST_DATAGRAM = 65_536;
const MOST_TARGETS = 64;
