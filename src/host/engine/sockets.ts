import { type Address, formatAddress, isIpv6 } from '../../core/bytes/index.ts';
import { classifyEncapsulated, KEEPALIVE, NON_ESP_MARKER_LENGTH } from '../../core/esp/index.ts';
import type { Datagram, Transport } from '../../core/ike/effects.ts';
import { isBareFirstRequest } from '../../core/wire/index.ts';
import type { EspPath } from '../dataplane/data-plane.ts';
import { PATH_MTU, UDP_ENCAPSULATION } from '../dataplane/path-mtu.ts';
import type { Platform } from '../platform/platform.ts';
import type { TcpServer } from '../platform/tcp.ts';
import type { Triage, UdpNetwork, UdpSocket } from '../platform/udp.ts';
import type { Counters } from './counters.ts';
import { handOn } from './encapsulated.ts';
import { type StreamSinks, Streams } from './streams.ts';

/** The two UDP sockets of one local address, told apart by role, whatever their numbers are (RFC 7296 §2.23). */
export interface LocalSockets {
  readonly ip: string;
  /** IKE alone; undefined where everything goes through the encapsulating socket. */
  readonly ike: UdpSocket | undefined;
  /** IKE behind the non-ESP marker, ESP, and keepalives. */
  readonly nat: UdpSocket;
  /** Where streams are taken (RFC 9329). */
  readonly tcp?: TcpServer | undefined;
}

export interface Ports {
  /** 0 lets the machine choose. Undefined or the same as `nat`: one encapsulating socket for everything. */
  readonly ike: number | undefined;
  readonly nat: number;
  /** TCP; undefined: no streams are taken. */
  readonly tcp?: number | undefined;
  /** Somebody asked for it: do not go on without. */
  readonly tcpNeeded?: boolean | undefined;
}

export interface SocketSinks extends StreamSinks {
  /** @returns false: nothing has become of it, and `onIke` is to have a copy */
  turnsAway(datagram: Datagram): boolean;
  /** An encapsulating socket is there: somebody else may read it. */
  onBound(socket: UdpSocket): Promise<void>;
  /** It is about to be closed. */
  onUnbinding(socket: UdpSocket): Promise<void>;
  /** The first datagram goes out since `rest`. */
  onStir(): void;
  /** Something that we can do without. */
  onFailure(what: string, error: unknown): void;
}

/**
 * Every socket of the engine, and the one reader of each: what comes in is told apart here (RFC 3948 §2.2), what goes out is marked here.
 * There is a pair of sockets per local address, because a datagram must be answered from the address it was sent to and NAT detection
 * hashes that address.
 */
export class SocketSet {
  readonly #udp: UdpNetwork;
  readonly streams: Streams;
  readonly #counters: Counters;
  readonly #sinks: SocketSinks;
  readonly #byIp = new Map<string, LocalSockets>();
  /** Ports that serve one measurement (`mapping-probe.ts`). */
  readonly #probes = new Map<string, UdpSocket>();
  /** Binding takes a moment; a second wish for the same address waits for the first. */
  readonly #opening = new Map<string, Promise<LocalSockets>>();
  #stirred = false;
  #closed = false;

  constructor({ udp, tcp, clock }: Pick<Platform, 'udp' | 'tcp' | 'clock'>, counters: Counters, sinks: SocketSinks) {
    this.#udp = udp;
    this.streams = new Streams(tcp, clock, counters, sinks);
    this.#counters = counters;
    this.#sinks = sinks;
  }

  get all(): readonly LocalSockets[] {
    return [...this.#byIp.values()];
  }

  get(ip: string): LocalSockets | undefined {
    return this.#byIp.get(ip);
  }

  /** @throws DataPlaneError when a port cannot be opened; neither stays open then. */
  open(ip: string, ports: Ports): Promise<LocalSockets> {
    const there = this.#byIp.get(ip);
    if (there !== undefined) return Promise.resolve(there);
    let opening = this.#opening.get(ip);
    if (opening === undefined) {
      opening = this.#bind(ip, ports).finally(() => this.#opening.delete(ip));
      this.#opening.set(ip, opening);
    }
    return opening;
  }

  async shut(ip: string): Promise<void> {
    const sockets = this.#byIp.get(ip);
    if (sockets === undefined) return;
    this.#byIp.delete(ip);
    await this.#sinks.onUnbinding(sockets.nat);
    await Promise.all([sockets.ike?.close(), sockets.nat.close(), sockets.tcp?.close()]);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.streams.close();
    await Promise.allSettled(this.#opening.values());
    await Promise.all([...[...this.#byIp.keys()].map((ip) => this.shut(ip)), ...[...this.#probes.values()].map((probe) => probe.close())]);
    this.#probes.clear();
  }

  /** Sends an IKE message. @returns false when no socket fits or its queue is full; retransmission heals both. */
  transmit(datagram: Datagram): boolean {
    if (datagram.transport === 'tcp') return this.streams.transmit(datagram);
    const sockets = this.#byIp.get(datagram.local.ip);
    const probe = this.#probes.size === 0 ? undefined : this.#probes.get(formatAddress(datagram.local));
    const socket = probe ?? (datagram.encap ? sockets?.nat : sockets?.ike);
    const { ip, port } = datagram.remote;
    if (!this.#stirred) this.#stir();
    if (socket === undefined) {
      this.#counters.add('datagrams', 'no socket for this address');
      return false;
    }
    const sent = socket.send(datagram.encap ? behindMarker(datagram.data) : datagram.data, ip, port);
    this.#counters.add('datagrams', sent ? 'ike out' : 'send failed');
    return sent;
  }

  /** A port beside those of an address. @param onIke what comes in there; true passes it on like anything else. */
  async openProbe(ip: string, onIke: (data: Uint8Array, from: Address) => boolean): Promise<{ readonly local: Address; close(): void }> {
    const socket: UdpSocket = await this.#udp.bind({
      ip,
      port: 0,
      onDatagram: (data, from, port) => {
        if (classifyEncapsulated(data) !== 'ike') return;
        const remote = { ip: from, port };
        const message = data.subarray(NON_ESP_MARKER_LENGTH);
        if (onIke(message, remote)) this.#sinks.onIke({ local: socket.local, remote, data: message, encap: true });
      },
    });
    const key = formatAddress(socket.local);
    this.#probes.set(key, socket);
    const close = (): void => {
      this.#probes.delete(key);
      socket.close().catch(() => undefined);
    };
    if (this.#closed) close();
    return { local: socket.local, close };
  }

  isProbe(local: Address): boolean {
    return this.#probes.size > 0 && this.#probes.has(formatAddress(local));
  }

  /** RFC 3948 §2.3. */
  keepalive(local: Address, remote: Address): void {
    if (this.#byIp.get(local.ip)?.nat.send(KEEPALIVE, remote.ip, remote.port) === true) this.#counters.add('datagrams', 'keepalive out');
  }

  /** Whoever wants to know when something goes out again. */
  rest(): void {
    this.#stirred = false;
  }

  /** The way of ESP packets. It survives sockets: one that is opened again for the same address is used from then on. */
  path(local: Address, remote: Address, transport?: Transport): EspPath {
    if (transport === 'tcp') return this.streams.path(local, remote);
    return new UdpPath(local.ip, remote, this.#sending);
  }

  readonly #sending = (localIp: string): UdpSocket | undefined => {
    if (!this.#stirred) this.#stir();
    return this.#byIp.get(localIp)?.nat;
  };

  #stir(): void {
    this.#stirred = true;
    this.#sinks.onStir();
  }

  async #bind(ip: string, ports: Ports): Promise<LocalSockets> {
    const nat = await this.#udp.bind({
      ip,
      port: ports.nat,
      onDatagram: (data, from, port) => this.#onEncapsulated(nat.local, data, from, port),
      triage: this.#triage(() => nat.local, NON_ESP_MARKER_LENGTH),
    });
    let ike: UdpSocket | undefined;
    try {
      if (ports.ike !== undefined && (ports.ike === 0 || ports.ike !== ports.nat))
        ike = await this.#udp.bind({
          ip,
          port: ports.ike,
          onDatagram: (data, from, port) => this.#onPlain(ike!.local, data, from, port),
          triage: this.#triage(() => ike!.local, 0),
        });
    } catch (error) {
      await nat.close();
      throw error;
    }
    let tcp: TcpServer | undefined;
    try {
      if (ports.tcp !== undefined) tcp = await this.streams.listen(ip, ports.tcp);
    } catch (error) {
      if (ports.tcpNeeded) {
        await Promise.all([ike?.close(), nat.close()]);
        throw error;
      }
      this.#sinks.onFailure(`listening on TCP ${ip}`, error);
    }
    const sockets: LocalSockets = { ip, ike, nat, tcp };
    this.#byIp.set(ip, sockets);
    await this.#sinks.onBound(nat);
    if (this.#closed) await this.shut(ip);
    return sockets;
  }

  #onPlain(local: Address, data: Uint8Array, ip: string, port: number): void {
    this.#counters.add('datagrams', 'ike in');
    this.#sinks.onIke({ local, remote: { ip, port }, data, encap: false });
  }

  /** First requests without a cookie come behind peers that we know and strangers that have shown one (RFC 7296 §2.6). */
  #triage(local: () => Address, marker: number): Triage {
    const message = (data: Uint8Array): Uint8Array => (marker === 0 ? data : data.subarray(marker));
    return {
      waits: (data) => (marker === 0 || classifyEncapsulated(data) === 'ike') && isBareFirstRequest(message(data)),
      patient: (data) => marker === 0 || classifyEncapsulated(data) === 'ike',
      onWaiting: (data, ip, port) => {
        this.#counters.add('datagrams', 'ike in');
        const datagram = { local: local(), remote: { ip, port }, data: message(data), encap: marker !== 0 };
        if (!this.#sinks.turnsAway(datagram)) this.#sinks.onIke(detached(datagram));
      },
      onShed: (count) => this.#counters.add('datagrams', 'ike in, shed unread', count),
    };
  }

  #onEncapsulated(local: Address, data: Uint8Array, ip: string, port: number): void {
    handOn(this.#sinks, this.#counters, data, { local, remote: { ip, port } });
  }
}

/** There is one for each CHILD_SA: no closure, and nothing that all have alike. */
class UdpPath implements EspPath {
  readonly #localIp: string;
  readonly #remote: Address;
  readonly #socketOf: (localIp: string) => UdpSocket | undefined;

  constructor(localIp: string, remote: Address, socketOf: (localIp: string) => UdpSocket | undefined) {
    this.#localIp = localIp;
    this.#remote = remote;
    this.#socketOf = socketOf;
  }

  get mtu(): number {
    return PATH_MTU;
  }

  get overhead(): number {
    return UDP_ENCAPSULATION[isIpv6(this.#remote.ip) ? 6 : 4];
  }

  get socket(): UdpSocket | undefined {
    return this.#socketOf(this.#localIp);
  }

  send(packet: Uint8Array): boolean {
    return this.socket?.send(packet, this.#remote.ip, this.#remote.port) ?? false;
  }
}

/** With octets of its own. */
const detached = ({ local, remote, data, encap }: Datagram): Datagram => ({ local, remote, data: data.slice(), encap });

function behindMarker(message: Uint8Array): Uint8Array {
  const marked = new Uint8Array(NON_ESP_MARKER_LENGTH + message.length);
  marked.set(message, NON_ESP_MARKER_LENGTH);
  return marked;
}
