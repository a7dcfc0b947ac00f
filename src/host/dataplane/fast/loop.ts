import type { Address } from '../../../core/bytes/index.ts';
import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { Primitives } from '../../../core/crypto/primitives.ts';
import type { RandomSource } from '../../../core/crypto/random.ts';
import type { Deflate } from '../../../core/esp/index.ts';
import type { Observation } from '../../../core/ike/effects.ts';
import { type PacketBuffer, VNET_HEADER } from '../../../core/packet/offload/index.ts';
import type { Clock } from '../../platform/clock.ts';
import { EspPlane } from '../esp-plane.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { BEHIND, Transit } from '../transit.ts';
import { InboundPump } from './inbound.ts';
import type { FromLoop, Refusal, ToLoop } from './messages.ts';
import { OUTBOUND_BUFFERS, OutboundPump } from './outbound.ts';
import { PathTable } from './paths.ts';
import {
  type InnerSink,
  MOST_MESSAGES,
  type RawPort,
  type TakeDatagrams,
  type TakeTooLarge,
  type TakeWhole,
  type TunPort,
  type UdpPort,
} from './ports.ts';
import { RawPaths } from './raw-paths.ts';
import type { CounterSlots } from './slots.ts';

export interface FastLoopOptions<B extends PacketBuffer = PacketBuffer> {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly createPacketCipher: Primitives['createPacketCipher'];
  /** What compresses, for children that agreed on IPComp. */
  readonly deflate?: Deflate | undefined;
  /** Unless given, `tun`. */
  readonly backend?: string | undefined;
  readonly tun: TunPort<B>;
  readonly sink: InnerSink<B>;
  /** Where the inner side is hosts in this process. */
  readonly hosts?: HostsInside<B> | undefined;
  readonly counters: CounterSlots;
  /** Gives out parts of one memory: one of each of `LOOP_BUFFERS`, in any order. */
  readonly allocate: (length: number) => B;
  readonly openSocket: (fd: number, local: Address) => UdpPort<B>;
  readonly openRaw?: ((fd: number, ip: string, protocol: number) => RawPort) | undefined;
  readonly post: (message: FromLoop) => void;
}

/** Hosts in this process, which know less than a kernel does: what passes through on its way to somebody else is seen to here. */
export interface HostsInside<B extends PacketBuffer = PacketBuffer> {
  /** Inner addresses of our own, besides those that peers assign. */
  readonly addresses: readonly string[];
  readonly forward: boolean;
  /** For packets that no CHILD_SA takes, where there is somebody to answer them. */
  readonly behind: InnerSink<B> | undefined;
  /** Packets for which they had no room. */
  dropped(): number;
}

/** What of a turn is worth doing. */
export interface Ready {
  readonly tun: boolean;
  readonly sockets: boolean;
}

/**
 * Everything that the thread of a fast plane does, but for waiting: SAs come and go by message, packets pass in both directions. Synchronous;
 * devices, sockets, ciphers and time are arguments, so that a test drives it turn by turn.
 */
export class FastLoop<B extends PacketBuffer = PacketBuffer> {
  readonly paths: PathTable<B>;
  readonly #raw = new RawPaths();
  readonly #options: FastLoopOptions<B>;
  readonly #esp: EspPlane;
  readonly #outbound: OutboundPump<B>;
  readonly #inbound: InboundPump;
  readonly #slots = new Map<number, number>();
  readonly #own: OwnAddresses | undefined;
  readonly #transit: Transit | undefined;
  #toldMtu: number | undefined;
  /** What the packet at hand was read into. */
  #from: B | undefined;
  #aside: B | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #moved = false;
  /** That is not told yet. */
  #traffic: Observation[] = [];
  #toldAt = Number.NEGATIVE_INFINITY;
  closed = false;

  constructor(options: FastLoopOptions<B>) {
    this.#options = options;
    const { post, hosts } = options;
    this.#own = hosts && new OwnAddresses(hosts.addresses);
    this.paths = new PathTable((packet, local, remote, transport) =>
      post({ kind: 'send', packet: packet.slice(), local, remote, transport }),
    );
    this.#esp = new EspPlane({
      backend: options.backend ?? 'tun',
      clock: options.clock,
      random: options.random,
      createPacketCipher: options.createPacketCipher,
      deflate: options.deflate,
      openPath: (local, remote, encap, transport) =>
        (encap || transport === 'tcp' ? undefined : this.#raw.path(local, remote)) ?? this.paths.path(local, remote, transport),
      onObservation: (observation) => {
        // A thousand peers that send are told of at the pace of one.
        if (observation.kind === 'inbound-traffic') this.#traffic.push(observation);
        else post({ kind: 'observations', observations: [observation] });
      },
      deliver: (buffer, start, end) => this.#deliver(buffer, start, end),
      ...(hosts === undefined ? {} : { ownAddress: (addressLength) => this.#own?.ofFamily(addressLength) }),
    });
    if (hosts !== undefined && this.#own !== undefined)
      this.#transit = new Transit({ esp: this.#esp, own: this.#own, forwards: hosts.forward, behind: hosts.behind !== undefined });
    this.#outbound = new OutboundPump({ esp: this.#esp, tun: options.tun, allocate: options.allocate });
    this.#inbound = new InboundPump({
      esp: this.#esp.receiving,
      onIke: (datagram, local, ip, port) => post({ kind: 'ike', datagram, local, ip, port }),
    });
    // what is counted has its names from the beginning
    if (hosts !== undefined) this.#postDrops();
  }

  /** Nothing was counted that is not shown yet. */
  get resting(): boolean {
    return !this.#moved;
  }

  /** Milliseconds that it may wait when nothing comes; -1 for ever. @param most while something was counted that is not shown yet */
  patience(most: number): number {
    const { due } = this.#esp;
    if (due === Number.POSITIVE_INFINITY) return this.resting ? -1 : most;
    return Math.max(0, Math.min(most, Math.ceil(due - this.#options.clock.now())));
  }

  /** One turn over what is ready. @returns whether there may be more */
  turn(ready: Ready): boolean {
    let more = false;
    if (this.#esp.due <= this.#options.clock.now()) {
      this.#esp.runDue();
      this.#moved = true;
    }
    if (ready.sockets) {
      if (this.#raw.size > 0 && this.#receiveWhole()) more = true;
      for (const socket of this.paths.sockets) if (this.#receive(socket)) more = true;
      // who is told of a packet may ask at once what its SA has carried
      this.#writeFew();
      this.#flushInner();
    }
    if (ready.tun && this.#outbound.pump(PACKETS_PER_TURN)) {
      more = true;
      // answers to what was too large
      this.#flushInner();
    }
    if (this.#transit !== undefined) this.#tellMtu();
    this.#moved ||= more;
    if (more) this.#writeFew();
    if (this.#moved) this.#writeCounters();
    if (this.#traffic.length > 0) this.#tellTraffic();
    return more;
  }

  tell(message: ToLoop): void {
    switch (message.kind) {
      case 'start':
        return;
      case 'socket':
        this.paths.add(this.#options.openSocket(message.fd, message.local));
        return;
      case 'raw':
        if (this.#options.openRaw !== undefined) this.#raw.add(this.#options.openRaw(message.fd, message.ip, message.protocol));
        return;
      case 'socket-gone':
        this.paths.remove(message.local);
        return this.#done(message.token);
      case 'install':
        return this.#install(message);
      case 'update':
        return this.#esp.update(message.child, message.change);
      case 'remove':
        this.#slots.delete(message.child);
        return this.#esp.remove(message.child);
      case 'traps':
        return this.#esp.setTraps(message.traps);
      case 'shunts':
        return this.#esp.setShunts(message.shunts);
      case 'esp':
        this.#esp.receive(message.packet, message.ip, message.port, message.local, message.transport);
        this.#moved = true;
        if (this.#traffic.length > 0) this.#tellTraffic();
        return this.#flushInner();
      case 'close':
        this.#esp.close();
        this.paths.closeAll();
        this.#raw.closeAll();
        this.closed = true;
        return this.#done(message.token);
    }
  }

  /** Everything that was counted is there for the other thread to see. */
  writeCounters(): void {
    this.#writeSlots();
    this.#postDrops();
    this.#moved = false;
  }

  #writeSlots(): void {
    for (const [child, slot] of this.#slots) {
      const entry = this.#esp.entry(child);
      if (entry !== undefined) this.#options.counters.write(slot, entry);
    }
  }

  #writeFew(): void {
    if (this.#slots.size <= FEW_CHILDREN) this.#writeSlots();
  }

  #postDrops(): void {
    const { hosts, post } = this.#options;
    const { forwarded = 0, hopsRanOut = 0 } = this.#transit ?? {};
    const inside = hosts === undefined ? undefined : { 'hop limit': hopsRanOut, 'inner queue': hosts.dropped() };
    post({ kind: 'drops', drops: { ...this.#esp.drops(), ...this.#outbound.drops, ...inside }, forwarded });
  }

  /** Before whatever made it different is done: hosts go by it as soon as they may send. */
  #tellMtu(): void {
    const { mtu } = this.#esp;
    if (mtu === this.#toldMtu) return;
    this.#toldMtu = mtu;
    this.#options.post({ kind: 'mtu', mtu });
  }

  /** At once when traffic sets in, then now and then: `resting` sees to it that there is another turn. */
  #tellTraffic(): void {
    const now = this.#options.clock.now();
    if (now - this.#toldAt < COUNTERS_INTERVAL) {
      this.#moved = true;
      return;
    }
    this.#toldAt = now;
    this.#options.post({ kind: 'observations', observations: this.#traffic });
    this.#traffic = [];
  }

  /** Several times where datagrams come singly, so that what is put together of them is worth a write. @returns whether there was anything */
  #receive(socket: UdpPort<B>): boolean {
    const { sink } = this.#options;
    if (isCrowded(sink)) return false;
    let came = socket.receive(this.#take);
    if (came === 0) {
      // poll says that there is something, and it is no packet
      socket.receiveErrors?.(this.#takeTooLarge);
      return false;
    }
    for (let i = 1; came === MOST_MESSAGES && i < RECEIVES_PER_TURN && !isCrowded(sink); i++) came = socket.receive(this.#take);
    return true;
  }

  #take: TakeDatagrams<B> = (from, start, end, step, length, local, ip, port, trafficClass) => {
    this.#from = from;
    this.#inbound.take(from, start, end, step, length, local, ip, port, trafficClass);
  };

  #receiveWhole(): boolean {
    let came = false;
    for (const port of this.#raw.all) {
      if (port.receive(this.#takeWhole)) came = true;
      else port.receiveErrors(this.#takeTooLarge);
    }
    return came;
  }

  #takeWhole: TakeWhole = (packet, start, end) => void this.#esp.receiving.receiveWhole(packet, start, end);

  #takeTooLarge: TakeTooLarge = (ip, mtu, quoted) => void this.#esp.learnPathMtu(ip, mtu, quoted);

  /** Where a packet was opened there is room before it; what transport mode has put together elsewhere gets some. */
  #deliver(buffer: Uint8Array, start: number, end: number): void {
    const { allocate, hosts } = this.#options;
    const host = this.#transit?.hostOf(buffer, start, end);
    if (this.#transit !== undefined && host === undefined) return;
    const sink = (host === BEHIND ? hosts?.behind : undefined) ?? this.#options.sink;
    if (this.#from?.octets === buffer && start >= VNET_HEADER) return sink.push(this.#from, start, end);
    this.#aside ??= allocate(ASIDE);
    this.#aside.octets.set(buffer.subarray(start, end), VNET_HEADER);
    sink.push(this.#aside, VNET_HEADER, VNET_HEADER + end - start);
  }

  #install({ token, slot, spec, resume }: Extract<ToLoop, { kind: 'install' }>): void {
    try {
      this.#esp.install(spec, resume);
    } catch (error) {
      if (!(error instanceof DataPlaneError)) throw error;
      return this.#done(token, { message: error.message, code: error.code, hint: error.hint });
    } finally {
      for (const keys of [spec.inbound, spec.outbound]) {
        keys.encryptionKey.fill(0);
        keys.integrityKey.fill(0);
      }
    }
    this.#options.counters.clear(slot);
    this.#slots.set(spec.id, slot);
    this.#own?.assign(spec);
    if (this.#transit !== undefined) this.#tellMtu();
    this.#done(token);
  }

  #writeCounters(): void {
    const now = this.#options.clock.now();
    if (now - this.#writtenAt < COUNTERS_INTERVAL) return;
    this.#writtenAt = now;
    this.writeCounters();
  }

  #flushInner(): void {
    this.#options.sink.flush();
    this.#options.hosts?.behind?.flush();
  }

  #done(token: number, refusal?: Refusal): void {
    this.#options.post({ kind: 'done', token, refusal });
  }
}

/** Asked anew each time: it changes with every packet. */
const isCrowded = (sink: InnerSink): boolean => sink.crowded === true;

/** What transport mode has put together, behind its virtio header. */
const ASIDE = VNET_HEADER + 65_536;
/** Octets. */
export const LOOP_BUFFERS: readonly number[] = [ASIDE, ...OUTBOUND_BUFFERS];
/** Both directions get their turn. */
const PACKETS_PER_TURN = 16;
const RECEIVES_PER_TURN = 4;
/** Milliseconds. */
const COUNTERS_INTERVAL = 100;
/** Whose counters cost less than the calls of a turn do: they are shown after each. */
const FEW_CHILDREN = 8;
