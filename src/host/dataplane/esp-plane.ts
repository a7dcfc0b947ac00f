import { type Address, DataPlaneError, isIpv6 } from '../../core/bytes/index.ts';
import { type InboundVerdict, IPCOMP, OpenedAhead, OpenedPacket, ReplayRings, spiOf } from '../../core/esp/index.ts';
import type { ChildSaChange, ChildSaSpec, Millis, Transport } from '../../core/ike/effects.ts';
import { IpProtocol, IpView } from '../../core/packet/index.ts';
import { ChildEntry, type EntryOptions } from './child-entry.ts';
import type { ChildCounters, DataPlaneOptions, SequenceNumbers, ShuntPolicy, TrapPolicy } from './data-plane.ts';
import { Dummies } from './dummies.ts';
import { EspSender, protocolOf } from './esp-sender.ts';
import { LaterFragments } from './later-fragments.ts';
import { formersOf } from './line.ts';
import { OutboundTable } from './outbound-table.ts';
import { comesFrom, heedOuterClass, isElsewhere } from './outer-arrival.ts';
import { clampSyn, isSyn } from './oversize.ts';
import { LEAST_PATH_MTU, PATH_MTU_LIFE } from './path-mtu.ts';
import { PortView } from './selectors.ts';
import { ShuntTable } from './shunt-table.ts';
import { TrapTable } from './trap-table.ts';
import { refuseUnfit } from './unfit.ts';

/** Packets that no CHILD_SA can be blamed for. */
export type PlaneDrop =
  /** To be sent, but no SA covers it. */
  | 'no outbound SA'
  /** Came in with an SPI that nobody here gave out. */
  | 'unknown SPI'
  /** To be sent, but not a whole IP packet. */
  | 'not an IP packet'
  | 'too large'
  /** To be sent, and no SA carries it by configuration. */
  | 'shunt'
  /** Came in whole, and is no packet, a piece of one, or nothing that IPsec has to do with. */
  | 'outer packet';

export interface EspPlaneOptions
  extends Pick<DataPlaneOptions, 'clock' | 'random' | 'openPath' | 'onObservation'>,
    Omit<EntryOptions, 'random' | 'rings'> {
  /** Where packets are put together, for planes that never work at the same time; each has its own otherwise. */
  readonly scratch?: Uint8Array | undefined;
  /** Takes one authentic inner packet that lies within the selectors, from `start` to `end` of the buffer; valid during the call only. */
  readonly deliver: (buffer: Uint8Array, start: number, end: number) => void;
  /** Who speaks when a packet that was to be sent is answered by ICMP; what the packet was sent to unless given. */
  readonly ownAddress?: (addressLength: 4 | 16) => Uint8Array | undefined;
}

/**
 * ESP in user space, whatever the packets come from and go to: SAD by inbound SPI, outbound SPD by selectors, tunnel mode for IPv4 and
 * IPv6 in either (RFC 4303 §3.1.2), transport mode between two hosts, always inside UDP. One packet costs no allocation beyond views.
 *
 * The outer IP header is written by the kernel, by the traffic class that it is handed (RFC 4301 §5.1.2). What does not fit the tunnel is cut
 * where its sender allows that, else its sender hears of it (§8).
 */
export class EspPlane {
  readonly #options: EspPlaneOptions & EntryOptions;
  readonly #children = new Map<number, ChildEntry>();
  readonly #bySpi = new Map<number, ChildEntry>();
  readonly #outbound = new OutboundTable<ChildEntry>();
  readonly #traps: TrapTable;
  readonly #shunts = new ShuntTable();
  readonly #drops: Record<PlaneDrop, number> = {
    'no outbound SA': 0,
    'unknown SPI': 0,
    'not an IP packet': 0,
    'too large': 0,
    shunt: 0,
    'outer packet': 0,
  };
  /** How many SAs have which MTU: few differ. */
  readonly #mtus = new Map<number, number>();
  #lastStray = Number.NEGATIVE_INFINITY;
  #told = 0;
  readonly #packet = new IpView();
  readonly #ports = new PortView();
  readonly #sender: EspSender;
  readonly #outer = new IpView();
  readonly #dummies: Dummies;
  readonly #laterFragments: LaterFragments;
  readonly #opened = new OpenedPacket();
  readonly #ahead = new OpenedAhead();

  constructor(options: EspPlaneOptions) {
    this.#options = { ...options, rings: new ReplayRings() };
    this.#sender = new EspSender({
      clock: options.clock,
      random: options.random,
      answer: (packet) => options.deliver(packet, 0, packet.length),
      ownAddress: options.ownAddress,
      drop: (cause) => this.#drop(cause),
      onSealed: (entry) => this.#checkLimit(entry, entry.outbound),
      onExhausted: ({ id }) => options.onObservation({ kind: 'hard-expire', child: id }),
      onWider: () => this.#recountMtus(),
      scratch: options.scratch,
    });
    this.#dummies = new Dummies(options.random);
    this.#laterFragments = new LaterFragments(options.clock, this.#outbound);
    this.#traps = new TrapTable(options.clock, ({ connection, child }, packet) =>
      options.onObservation({ kind: 'acquire', connection, child, packet }),
    );
  }

  /** @throws DataPlaneError */
  install(spec: ChildSaSpec, resume?: SequenceNumbers): ChildEntry {
    const path = this.#options.openPath(spec.local, spec.remote, spec.encap, spec.transport);
    refuseUnfit(spec, path, this.#options.backend);
    if (this.#children.has(spec.id) || this.#bySpi.has(spec.inbound.spi))
      throw new DataPlaneError(`CHILD_SA ${spec.id} has the number or the inbound SPI of one that stands`, {
        code: 'SPI_IN_USE',
        backend: this.#options.backend,
        hint: 'Delete the other one first.',
      });
    const entry = new ChildEntry(spec, path, this.#options, resume);
    this.#children.set(entry.id, entry);
    this.#bySpi.set(entry.inbound.spi, entry);
    this.#countMtu(entry.mtu, 1);
    if (entry.laterFragments) this.#laterFragments.carriers++;
    this.#dummies.add(entry, this.#options.clock.now());
    if (entry.sends) this.#startSending(entry);
    return entry;
  }

  update(child: number, change: ChildSaChange): void {
    const entry = this.#children.get(child);
    if (entry === undefined) return;
    if (change.kind === 'activate-outbound') this.#startSending(entry);
    else if (change.kind === 'stop-outbound') this.#stopSending(entry);
    else if (change.kind === 'skip') entry.skip(change.direction, change.by);
    else if (change.kind === 'addresses') {
      this.#countMtu(entry.mtu, -1);
      entry.path = this.#options.openPath(change.local, change.remote, change.encap, change.transport);
      this.#countMtu(entry.mtu, 1);
      entry.setEnds(change.local, change.remote);
      entry.encap = change.encap;
      entry.overTcp = change.transport === 'tcp';
      entry.seenAt = undefined;
    }
  }

  remove(child: number): void {
    const entry = this.#children.get(child);
    if (entry === undefined) return;
    this.#children.delete(child);
    this.#bySpi.delete(entry.inbound.spi);
    this.#countMtu(entry.mtu, -1);
    if (entry.laterFragments) this.#laterFragments.carriers--;
    this.#dummies.remove(entry);
    this.#stopSending(entry);
    entry.destroy();
  }

  #stopSending(entry: ChildEntry): void {
    this.#outbound.remove(entry);
    if (!entry.sends) return;
    entry.sends = false;
    // whatever was to take over from it does so now, in its place: an SA that only receives would leave us mute
    for (const successor of this.#children.values())
      if (successor.replaces === entry.id && !successor.sends && !this.#gaveWay(successor)) this.#startSending(successor, entry.told);
  }

  #gaveWay({ id }: ChildEntry): boolean {
    return [...this.#children.values()].some(({ replaces, sends }) => replaces === id && sends);
  }

  entry(child: number): ChildEntry | undefined {
    return this.#children.get(child);
  }

  counters(child: number): ChildCounters | undefined {
    return this.#children.get(child)?.counters();
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    return this.#children.get(child)?.sequenceNumbers();
  }

  drops(): Readonly<Record<string, number>> {
    return { ...this.#drops };
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#traps.set(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#shunts.set(shunts);
  }

  /**
   * Somebody says that outer packets to a peer were too large. That may be anybody: what is quoted must be a packet of ours (RFC 4301 §8.2.1),
   * no path is believed to be narrower than any path may be, and none gets wider this way.
   * @param mtu octets of an outer packet that pass
   * @param quoted ESP as it is quoted, from its SPI; undefined where the kernel of this machine says so
   * @returns whether it changed anything
   */
  learnPathMtu(remote: string, mtu: number, quoted?: Uint8Array): boolean {
    const spi = quoted === undefined ? undefined : quoted.length < SPI_LENGTH ? -1 : spiOf(quoted);
    const believed = Math.max(mtu, LEAST_PATH_MTU[isIpv6(remote) ? 6 : 4]);
    let learnt = false;
    for (const entry of this.#children.values()) {
      if (entry.remote.ip !== remote || believed >= entry.pathMtu || (spi !== undefined && entry.outbound.spi !== spi)) continue;
      entry.limitPath(believed, this.#options.clock.now() + PATH_MTU_LIFE);
      learnt = true;
    }
    if (!learnt) return false;
    this.#recountMtus();
    this.#options.onObservation({ kind: 'path-mtu', remote: { ip: remote, port: 0 }, mtu: believed });
    return true;
  }

  /** The largest inner packet that no SA has to split; undefined without SAs. */
  get mtu(): number | undefined {
    return this.#mtus.size === 0 ? undefined : Math.min(...this.#mtus.keys());
  }

  /** When `runDue` has something to do, on the plane's clock; infinite when it never has. */
  get due(): Millis {
    return this.#dummies.due;
  }

  runDue(): void {
    this.#dummies.run(this.#options.clock.now(), (entry, length) => this.#sender.sendDummy(entry, length));
  }

  close(): void {
    this.#traps.set([]);
    for (const child of [...this.#children.keys()]) this.remove(child);
  }

  /** One inner packet to protect and send; the view may be reused on return. @returns false when it was dropped; true also when it waits for an SA that was asked for. */
  send(packet: Uint8Array): boolean {
    const view = this.#packet;
    const entry = this.lookup(packet, 0, packet.length, view);
    if (entry !== undefined) {
      if (entry.largestMss > 0 && isSyn(view)) clampSyn(entry, view);
      return this.#sender.send(entry, packet, view);
    }
    if (view.fault !== undefined) return this.#drop('not an IP packet');
    if (this.#shunts.takesOutbound(view, this.#ports)) return this.#drop('shunt');
    return this.#traps.hit(packet.subarray(0, view.end), view, this.#ports) || this.#drop('no outbound SA');
  }

  /**
   * The SA that an inner packet leaves on (RFC 4301 §5.1), for callers that seal by themselves; nothing is counted.
   * @param view is filled; its `fault` says where there is none because it is no IP packet
   */
  lookup(buffer: Uint8Array, start: number, end: number, view: IpView): ChildEntry | undefined {
    if (!view.parse(buffer, start, end)) return undefined;
    this.#ports.read(view);
    if (!this.#shunts.isEmpty && this.#shunts.takesOutbound(view, this.#ports)) return undefined;
    const entry = this.#outbound.find(view, this.#ports);
    return view.fragment ? this.#laterFragments.find(view, this.#ports, entry) : entry;
  }

  /** For callers that have found the SA by `lookup`. */
  get sealing(): Pick<EspSender, 'sealInPlace' | 'sealBurst'> {
    return this.#sender;
  }

  /** One ESP packet from the network, worked on in place. @returns false for what belongs to no SA or is not authentic */
  receive(packet: Uint8Array, ip: string, port: number, local?: Address, transport?: Transport): boolean {
    return this.receiveAt(packet, 0, packet.length, ip, port, local, transport);
  }

  /**
   * As `receive`, for a packet from `start` to `end` of a buffer.
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
    const spi = end - start < SPI_LENGTH ? -1 : spiOf(packet, start);
    const entry = this.#bySpi.get(spi);
    if (entry === undefined) {
      this.#drop('unknown SPI');
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
    const entry = this.#bySpi.get(spiOf(packet, start));
    if (entry === undefined || entry.inbound.protocol !== 'ESP') {
      for (let at = start; at < end; at += step)
        this.receiveAt(packet, at, Math.min(at + length, end), ip, port, local, 'udp', trafficClass);
      return;
    }
    const { inbound } = entry;
    const elsewhere = isElsewhere(entry, ip, port, local, false);
    inbound.openAhead(packet, start, end, step, length, this.#ahead);
    for (let at = start; at < end; at += step) {
      const verdict = inbound.open(packet, this.#opened, at, Math.min(at + length, end), this.#ahead);
      if (!this.#isAccepted(entry, verdict, elsewhere)) continue;
      this.#noteSource(entry, ip, port, undefined);
      this.#deliver(entry, packet, trafficClass, undefined);
    }
  }

  /**
   * One whole IP packet from the network that holds ESP or AH, put together already if it came in pieces; worked on in place.
   * @returns false for what belongs to no SA or is not authentic
   */
  receiveWhole(packet: Uint8Array, start = 0, end = packet.length): boolean {
    const outer = this.#outer;
    if (!outer.parse(packet, start, end) || outer.fragment) return this.#drop('outer packet');
    const isAh = outer.protocol === IpProtocol.AH;
    const spiAt = outer.payload + (isAh ? AH_SPI_AT : 0);
    if ((!isAh && outer.protocol !== IpProtocol.ESP) || outer.end - spiAt < SPI_LENGTH) return this.#drop('outer packet');
    const entry = this.#bySpi.get(spiOf(packet, spiAt));
    if (entry === undefined || (entry.inbound.protocol === 'AH') !== isAh) return this.#drop('unknown SPI');
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
      if (verdict === 'dummy') this.#tellTraffic(entry, this.#options.clock.now(), elsewhere);
      return false;
    }
    entry.lastIn = this.#options.clock.now();
    this.#tellTraffic(entry, entry.lastIn, elsewhere);
    this.#checkLimit(entry, entry.inbound);
    if (entry.expired) entry.drops.expired++;
    return !entry.expired;
  }

  /** Anybody can send such packets; a few are told, so that a peer that holds on to what we forgot can hear of it. */
  #noteStray(spi: number, remote: Address, local: Address): void {
    const now = this.#options.clock.now();
    if (now - this.#lastStray < STRAY_INTERVAL) return;
    this.#lastStray = now;
    this.#options.onObservation({ kind: 'unknown-spi', spi, local, remote, encap: true });
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
    const view = this.#packet;
    // RFC 4303 §2.7: TFC padding lies behind what the inner packet says of its own length.
    if (!view.parse(packet, start, end) || (nextHeader !== undefined && nextHeader !== protocolOf(view))) {
      entry.drops.inner++;
      return;
    }
    this.#ports.read(view);
    // RFC 4301 §5.2 step 4.
    const fits = entry.selectors.fitsInbound(view, this.#ports) || this.#laterFragments.fits(entry, view, this.#ports);
    if (!fits || this.#shunts.takesInbound(view, this.#ports)) {
      entry.drops.selectors++;
      return;
    }
    if (view.fragment) this.#laterFragments.received(entry, view, this.#ports);
    if (trafficClass >= 0 && trafficClass !== view.trafficClass && !heedOuterClass(entry, view, trafficClass)) return;
    if (entry.largestMss > 0 && isSyn(view)) clampSyn(entry, view);
    this.#options.deliver(packet, start, view.end);
  }

  #startSending(entry: ChildEntry, told = ++this.#told): void {
    entry.sends = true;
    this.#outbound.remove(entry);
    entry.told = told;
    this.#outbound.add(entry);
    for (const former of formersOf(entry, this.#children, ({ replaces }) => replaces)) {
      former.sends = false;
      this.#outbound.remove(former);
    }
    for (const packet of this.#traps.release()) this.send(packet);
  }

  #checkLimit(entry: ChildEntry, sa: { readonly bytes: number; readonly packets: number }): void {
    const limit = entry.reachedLimit(sa);
    if (limit !== undefined) this.#options.onObservation({ kind: limit === 'soft' ? 'soft-expire' : 'hard-expire', child: entry.id });
  }

  /** Told at once when traffic sets in, then at a pace that costs nothing. */
  #tellTraffic(entry: ChildEntry, now: Millis, elsewhere: boolean): void {
    if (now - entry.toldTrafficAt < TRAFFIC_INTERVAL) return;
    entry.toldTrafficAt = now;
    this.#options.onObservation({ kind: 'inbound-traffic', child: entry.id, ...(elsewhere ? { elsewhere } : {}) });
  }

  /** RFC 7296 §2.23: only an authentic packet, and only the newest, tells where the peer's NAT now has it. */
  #noteSource(entry: ChildEntry, ip: string, port: number, stream: Address | undefined): void {
    const { sequenceHigh, sequenceLow } = this.#opened;
    const sequence = sequenceHigh * 2 ** 32 + sequenceLow;
    if (sequence <= entry.newest) return;
    entry.newest = sequence;
    // from one transport to the other only MOBIKE leads (RFC 9329 §7.1)
    if (entry.overTcp !== (stream !== undefined)) return;
    const expected: Address = entry.seenAt ?? entry.remote;
    if (expected.port === port && expected.ip === ip) return;
    entry.seenAt = { ip, port };
    this.#options.onObservation({ kind: 'mapping-changed', child: entry.id, remote: entry.seenAt, ...(stream ? { stream } : {}) });
  }

  #recountMtus(): void {
    this.#mtus.clear();
    for (const { mtu } of this.#children.values()) this.#countMtu(mtu, 1);
  }

  #countMtu(mtu: number, by: 1 | -1): void {
    const count = (this.#mtus.get(mtu) ?? 0) + by;
    if (count > 0) this.#mtus.set(mtu, count);
    else this.#mtus.delete(mtu);
  }

  #drop(cause: PlaneDrop): false {
    this.#drops[cause]++;
    return false;
  }
}

const SPI_LENGTH = 4;
/** Next header, length and two octets of nothing stand before it. */
const AH_SPI_AT = 4;
const TRAFFIC_INTERVAL: Millis = 100;
/** Octets of ESP: an answer is no longer than this, so nobody is made to send more than he was sent. */
const WORTH_AN_ANSWER = 40;
/** Milliseconds. */
const STRAY_INTERVAL = 200;
