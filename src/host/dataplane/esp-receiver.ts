import type { Address } from '../../core/bytes/index.ts';
import { type InboundVerdict, IPCOMP, OpenedAhead, OpenedPacket, spiOf } from '../../core/esp/index.ts';
import type { Millis, Transport } from '../../core/ike/effects.ts';
import { IpProtocol, IpView } from '../../core/packet/index.ts';
import type { ChildEntry } from './child-entry.ts';
import type { DataPlaneOptions } from './data-plane.ts';
import { protocolOf } from './esp-sender.ts';
import type { LaterFragments } from './later-fragments.ts';
import { comesFrom, heedOuterClass, isElsewhere } from './outer-arrival.ts';
import { clampSyn, isSyn } from './oversize.ts';
import { PortView } from './selectors.ts';
import type { ShuntTable } from './shunt-table.ts';
import type { SpiTable } from './spi-table.ts';

interface EspReceiverOptions extends Pick<DataPlaneOptions, 'clock' | 'onObservation'> {
  readonly bySpi: Pick<SpiTable<ChildEntry>, 'get'>;
  readonly shunts: ShuntTable;
  readonly laterFragments: LaterFragments;
  /** As `EspPlaneOptions` has it. */
  readonly deliver: (buffer: Uint8Array, start: number, end: number) => void;
  /** Counts a packet that no CHILD_SA can be blamed for. */
  readonly drop: (cause: 'unknown SPI' | 'outer packet') => false;
  /** Its incoming SA has done more by now: a limit may be reached. */
  readonly onOpened: (entry: ChildEntry) => void;
}

/**
 * The way in: finds the SA by the SPI, has it judge and decrypt (RFC 4303 §3.4), undoes what belongs to transport mode and compression, holds
 * what comes out against the selectors, and notes what its arrival tells of the peer.
 */
export class EspReceiver {
  readonly #around: EspReceiverOptions;
  #lastStray = Number.NEGATIVE_INFINITY;
  readonly #inner = new IpView();
  readonly #ports = new PortView();
  readonly #outer = new IpView();
  readonly #opened = new OpenedPacket();
  readonly #ahead = new OpenedAhead();

  constructor(options: EspReceiverOptions) {
    this.#around = options;
  }

  /**
   * One ESP packet from the network, from `start` to `end` of a buffer, worked on in place.
   * @param trafficClass DSCP and ECN of the outer header, -1 where nobody tells
   */
  receiveAt(
    packet: Uint8Array,
    start: number,
    end: number,
    ip: string,
    port: number,
    local?: Address,
    transport?: Transport,
    trafficClass = -1,
  ): boolean {
    const isWhole = end - start >= SPI_LENGTH;
    const spi = isWhole ? spiOf(packet, start) : -1;
    const entry = isWhole ? this.#around.bySpi.get(spi) : undefined;
    if (entry === undefined) {
      this.#around.drop('unknown SPI');
      if (end - start >= WORTH_AN_ANSWER && local !== undefined && transport !== 'tcp') this.#noteStray(spi, { ip, port }, local);
      return false;
    }
    const { inbound } = entry;
    // AH covers the outer header, which nobody has here
    const verdict = inbound.protocol === 'ESP' ? inbound.open(packet, this.#opened, start, end) : 'malformed';
    const overTcp = transport === 'tcp';
    if (!this.#isAccepted(entry, verdict, isElsewhere(entry, ip, port, local, overTcp)))
      return verdict !== 'icv' && verdict !== 'malformed';
    this.#noteSource(entry, ip, port, overTcp ? local : undefined);
    this.#deliver(entry, packet, trafficClass, undefined);
    return true;
  }

  /**
   * As `receiveAt` for datagrams of one sender and one SPI, every `step` octets from `start` to `end`, each of `length` octets but the last:
   * verified and decrypted together, judged and handed on one by one. `MOST_IN_BURST` at most.
   */
  receiveBurst(
    packet: Uint8Array,
    start: number,
    end: number,
    step: number,
    length: number,
    ip: string,
    port: number,
    local: Address,
    trafficClass: number,
  ): void {
    const entry = this.#around.bySpi.get(spiOf(packet, start));
    if (entry === undefined || entry.inbound.protocol !== 'ESP') {
      for (let at = start; at < end; at += step)
        this.receiveAt(packet, at, Math.min(at + length, end), ip, port, local, 'udp', trafficClass);
      return;
    }
    const { inbound } = entry;
    const elsewhere = isElsewhere(entry, ip, port, local, false);
    const { ip: expectedIp, port: expectedPort } = entry.seenAt ?? entry.remote;
    const expected = !entry.overTcp && expectedPort === port && expectedIp === ip;
    inbound.openAhead(packet, start, end, step, length, this.#ahead);
    for (let at = start; at < end; at += step) {
      const verdict = inbound.open(packet, this.#opened, at, Math.min(at + length, end), this.#ahead);
      if (!this.#isAccepted(entry, verdict, elsewhere)) continue;
      if (expected) this.#noteNewest(entry);
      else this.#noteSource(entry, ip, port, undefined);
      this.#deliver(entry, packet, trafficClass, undefined);
    }
  }

  /**
   * One whole IP packet from the network that holds ESP or AH, put together already if it came in pieces; worked on in place.
   * @returns false for what belongs to no SA or is not authentic
   */
  receiveWhole(packet: Uint8Array, start = 0, end = packet.length): boolean {
    const outer = this.#outer;
    if (!outer.parse(packet, start, end) || outer.fragment) return this.#around.drop('outer packet');
    const isAh = outer.protocol === IpProtocol.AH;
    const spiAt = outer.payload + (isAh ? AH_SPI_AT : 0);
    if ((!isAh && outer.protocol !== IpProtocol.ESP) || outer.end - spiAt < SPI_LENGTH) return this.#around.drop('outer packet');
    const entry = this.#around.bySpi.get(spiOf(packet, spiAt));
    if (entry === undefined || (entry.inbound.protocol === 'AH') !== isAh) return this.#around.drop('unknown SPI');
    const { inbound } = entry;
    const verdict =
      inbound.protocol === 'AH'
        ? inbound.open(packet, this.#opened, outer.start, outer.payload, outer.end)
        : inbound.open(packet, this.#opened, outer.payload, outer.end);
    if (!this.#isAccepted(entry, verdict, !comesFrom(outer, entry))) return verdict !== 'icv' && verdict !== 'malformed';
    this.#deliver(entry, packet, outer.trafficClass, outer);
    return true;
  }

  /** What an SA said of a packet. @returns whether there is something to be handed on */
  #isAccepted(entry: ChildEntry, verdict: InboundVerdict, elsewhere: boolean): boolean {
    if (verdict !== 'ok') {
      // the peer lives, and nobody uses the SA
      if (verdict === 'dummy') this.#tellTraffic(entry, this.#around.clock.now(), elsewhere);
      return false;
    }
    const now = this.#around.clock.now();
    entry.lastIn = now;
    this.#tellTraffic(entry, now, elsewhere);
    this.#around.onOpened(entry);
    if (entry.expired) entry.drops.expired++;
    return !entry.expired;
  }

  /** Anybody can send such packets; a few are told, so that a peer that holds on to what we forgot can hear of it. */
  #noteStray(spi: number, remote: Address, local: Address): void {
    const now = this.#around.clock.now();
    if (now - this.#lastStray < STRAY_INTERVAL) return;
    this.#lastStray = now;
    this.#around.onObservation({ kind: 'unknown-spi', spi, local, remote, encap: true });
  }

  /** @param outer the header it came with, where that is known */
  #deliver(entry: ChildEntry, packet: Uint8Array, trafficClass: number, outer: IpView | undefined): void {
    const { nextHeader, start, length } = this.#opened;
    if (nextHeader === IPCOMP) return this.#decompress(entry, packet, trafficClass, outer);
    const { transport } = entry;
    if (transport === undefined) return this.#deliverInner(entry, packet, start, start + length, nextHeader, trafficClass);
    const payload = packet.subarray(start, start + length);
    const whole =
      outer === undefined
        ? transport.restore(payload, nextHeader, entry.encap, Math.max(0, trafficClass))
        : transport.rejoin(outer, payload, nextHeader);
    this.#deliverInner(entry, whole, 0, whole.length, undefined, trafficClass);
  }

  /** RFC 3173 §2.3, and on as if it had come like that. */
  #decompress(entry: ChildEntry, packet: Uint8Array, trafficClass: number, outer: IpView | undefined): void {
    const opened = this.#opened;
    const inbound = entry.ipcomp?.inbound;
    const payload = inbound?.open(packet, opened.start, opened.start + opened.length);
    if (inbound === undefined || payload === undefined) {
      entry.drops.ipcomp++;
      return;
    }
    opened.nextHeader = inbound.nextHeader;
    opened.start = 0;
    opened.length = payload.length;
    this.#deliver(entry, payload, trafficClass, outer);
  }

  /** @param nextHeader what the ESP trailer said the inner packet is; undefined when its header is our own work */
  #deliverInner(
    entry: ChildEntry,
    packet: Uint8Array,
    start: number,
    end: number,
    nextHeader: number | undefined,
    trafficClass: number,
  ): void {
    const view = this.#inner;
    // RFC 4303 §2.7: TFC padding lies behind what the inner packet says of its own length.
    if (!view.parse(packet, start, end) || (nextHeader !== undefined && nextHeader !== protocolOf(view))) {
      entry.drops.inner++;
      return;
    }
    this.#ports.read(view);
    // RFC 4301 §5.2 step 4.
    const fits = entry.selectors.fitsInbound(view, this.#ports) || this.#around.laterFragments.fits(entry, view, this.#ports);
    if (!fits || this.#around.shunts.takesInbound(view, this.#ports)) {
      entry.drops.selectors++;
      return;
    }
    if (view.fragment) this.#around.laterFragments.received(entry, view, this.#ports);
    if (trafficClass >= 0 && trafficClass !== view.trafficClass && !heedOuterClass(entry, view, trafficClass)) return;
    if (entry.largestMss > 0 && isSyn(view)) clampSyn(entry, view);
    this.#around.deliver(packet, start, view.end);
  }

  /** Told at once when traffic sets in, then at a pace that costs nothing. */
  #tellTraffic(entry: ChildEntry, now: Millis, elsewhere: boolean): void {
    if (now - entry.toldTrafficAt < TRAFFIC_INTERVAL) return;
    entry.toldTrafficAt = now;
    this.#around.onObservation({ kind: 'inbound-traffic', child: entry.id, ...(elsewhere ? { elsewhere } : {}) });
  }

  /** RFC 7296 §2.23: only an authentic packet, and only the newest, tells where the peer's NAT now has it. */
  #noteSource(entry: ChildEntry, ip: string, port: number, stream: Address | undefined): void {
    if (!this.#noteNewest(entry)) return;
    // from one transport to the other only MOBIKE leads (RFC 9329 §7.1)
    if (entry.overTcp !== (stream !== undefined)) return;
    const expected: Address = entry.seenAt ?? entry.remote;
    if (expected.port === port && expected.ip === ip) return;
    entry.seenAt = { ip, port };
    this.#around.onObservation({ kind: 'mapping-changed', child: entry.id, remote: entry.seenAt, ...(stream ? { stream } : {}) });
  }

  /** @returns whether the packet is newer than all before */
  #noteNewest(entry: ChildEntry): boolean {
    const { sequenceHigh, sequenceLow } = this.#opened;
    const sequence = sequenceHigh * 2 ** 32 + sequenceLow;
    if (sequence <= entry.newest) return false;
    entry.newest = sequence;
    return true;
  }
}

/** Octets that an SPI takes. */
export const SPI_LENGTH = 4;
/** Next header, length and two octets of nothing stand before it. */
const AH_SPI_AT = 4;
const TRAFFIC_INTERVAL: Millis = 100;
/** Octets of ESP: an answer is no longer than this, so nobody is made to send more than he was sent. */
const WORTH_AN_ANSWER = 40;
/** Milliseconds. */
const STRAY_INTERVAL = 200;
