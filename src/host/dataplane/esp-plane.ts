import { type Address, DataPlaneError, isIpv6 } from '../../core/bytes/index.ts';
import { ReplayRings, spiOf } from '../../core/esp/index.ts';
import type { ChildSaChange, ChildSaSpec, Millis, Transport } from '../../core/ike/effects.ts';
import { IpView } from '../../core/packet/index.ts';
import { ChildEntry, type EntryOptions } from './child-entry.ts';
import type { ChildCounters, DataPlaneOptions, SequenceNumbers, ShuntPolicy, TrapPolicy } from './data-plane.ts';
import { Dummies } from './dummies.ts';
import { EspReceiver, SPI_LENGTH } from './esp-receiver.ts';
import { EspSender } from './esp-sender.ts';
import { LaterFragments } from './later-fragments.ts';
import { formersOf } from './line.ts';
import { OutboundTable } from './outbound-table.ts';
import { clampSyn, isSyn } from './oversize.ts';
import { LEAST_PATH_MTU, PATH_MTU_LIFE } from './path-mtu.ts';
import { PortView } from './selectors.ts';
import { ShuntTable } from './shunt-table.ts';
import { SpiTable } from './spi-table.ts';
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
 * IPv6 in either (RFC 4303 §3.1.2), transport mode between two hosts, inside UDP, TCP or bare. One packet costs no allocation beyond views.
 *
 * The outer IP header is written by the kernel, by the traffic class that it is handed (RFC 4301 §5.1.2). What does not fit the tunnel is cut
 * where its sender allows that, else its sender hears of it (§8).
 */
export class EspPlane {
  readonly #options: EspPlaneOptions & EntryOptions;
  readonly #children = new Map<number, ChildEntry>();
  readonly #bySpi = new SpiTable<ChildEntry>();
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
  #told = 0;
  readonly #packet = new IpView();
  readonly #ports = new PortView();
  readonly #sender: EspSender;
  readonly #dummies: Dummies;
  readonly #laterFragments: LaterFragments;
  /** For callers that have packets in larger buffers, many at a time, or with their outer headers. */
  readonly receiving: EspReceiver;

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
    this.receiving = new EspReceiver({
      clock: options.clock,
      onObservation: options.onObservation,
      deliver: options.deliver,
      bySpi: this.#bySpi,
      shunts: this.#shunts,
      laterFragments: this.#laterFragments,
      drop: (cause) => this.#drop(cause),
      onOpened: (entry) => this.#checkLimit(entry, entry.inbound),
    });
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
    return this.receiving.receiveAt(packet, 0, packet.length, ip, port, local, transport);
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

  #checkLimit(entry: ChildEntry, sa: Parameters<ChildEntry['reachedLimit']>[0]): void {
    const limit = entry.reachedLimit(sa);
    if (limit !== undefined) this.#options.onObservation({ kind: limit === 'soft' ? 'soft-expire' : 'hard-expire', child: entry.id });
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
