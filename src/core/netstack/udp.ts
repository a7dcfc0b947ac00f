import { type Address, ApiMisuse, formatAddress, formatIp, parseIp } from '../bytes/index.ts';
import { IpProtocol, type IpView, UDP_HEADER, UdpView, writeUdp } from '../packet/index.ts';
import type { Addresses } from './addresses.ts';
import { Bindings, type Bound, isWildcard } from './bindings.ts';
import type { Counters } from './counters.ts';
import { DEFAULT_HOP_LIMIT, type IpOutput } from './ip-output.ts';
import type { PathMtuCache } from './path-mtu.ts';
import type { EphemeralPorts } from './ports.ts';
import { Endpoint, type FailureCode, type Millis, Ready, type ReadyQueue } from './ready.ts';
import type { FlowKey } from './tcp/flow-table.ts';

export interface UdpDatagram {
  readonly local: Address;
  readonly remote: Address;
  /** Owned by whoever receives it. */
  readonly data: Uint8Array;
}

export interface UdpOptions {
  /** Absent: every own address of both families. */
  readonly ip?: string | undefined;
  /** 0 or absent: one is chosen. `'any'`: every port that nothing else is bound to. */
  readonly port?: number | 'any' | undefined;
  /** Only datagrams from there are received. */
  readonly remote?: Address | undefined;
  /** Octets of datagrams that may wait to be fetched; 1 MiB. */
  readonly receiveBuffer?: number | undefined;
}

/** What an ICMP error said about a datagram that was sent. */
export interface UdpError {
  readonly code: FailureCode;
  readonly remote: Address;
}

/** A UDP port (RFC 768). `Ready.READABLE`: datagrams wait. `Ready.ERROR`: see `takeError`. */
export class UdpEndpoint extends Endpoint implements Bound {
  readonly local: Address;
  readonly anyPort: boolean;
  readonly remote: Address | undefined;
  readonly #layer: UdpLayer;
  readonly #limit: number;
  #waiting: UdpDatagram[] = [];
  #octets = 0;
  #error: UdpError | undefined;

  constructor(layer: UdpLayer, local: Address, options: UdpOptions) {
    super();
    this.#layer = layer;
    this.local = local;
    this.anyPort = options.port === 'any';
    this.remote = options.remote;
    this.#limit = options.receiveBuffer ?? 1024 * 1024;
  }

  /**
   * Queues one datagram; the octets are copied. It leaves in fragments when it is larger than the path MTU.
   * @param from own source address, where several could be used; an endpoint with any port must say.
   * @returns false when the queue is full: the datagram was not taken, `Ready.WRITABLE` follows.
   * @throws ApiMisuse EMSGSIZE when it is larger than a datagram can be, EADDRNOTAVAIL when no own address reaches `to`.
   */
  send(data: Uint8Array, to: Address, from?: Address): boolean {
    return this.#layer.send(this, data, to, from);
  }

  /** The oldest datagram that waits. */
  receive(): UdpDatagram | undefined {
    const datagram = this.#waiting.shift();
    if (datagram !== undefined) this.#octets -= datagram.data.length + OVERHEAD;
    return datagram;
  }

  /** The last ICMP error about something sent here, once. */
  takeError(): UdpError | undefined {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }

  close(): void {
    this.#waiting = [];
    this.#octets = 0;
    this.#layer.close(this);
  }

  /** The layer hands over a datagram. @returns false when there is no room. */
  offer(datagram: UdpDatagram): boolean {
    const octets = datagram.data.length + OVERHEAD;
    if (this.#octets + octets > this.#limit) return false;
    this.#octets += octets;
    this.#waiting.push(datagram);
    return true;
  }

  hearError(error: UdpError): void {
    this.#error = error;
  }
}

/** What UDP shares with the rest of the stack. */
export interface UdpSurroundings {
  readonly addresses: Addresses;
  readonly counters: Counters;
  readonly output: IpOutput;
  readonly pathMtu: PathMtuCache;
  readonly ready: ReadyQueue;
  readonly mtu: number;
  readonly now: Millis;
}

/** All UDP endpoints of a stack. */
export class UdpLayer {
  readonly #around: UdpSurroundings;
  readonly #ports: EphemeralPorts;
  readonly #bindings = new Bindings<UdpEndpoint>();
  readonly #blocked = new Set<UdpEndpoint>();
  readonly #view = new UdpView();

  constructor(around: UdpSurroundings, ports: EphemeralPorts) {
    this.#around = around;
    this.#ports = ports;
  }

  /** @throws ApiMisuse EADDRINUSE, EADDRNOTAVAIL */
  bind(options: UdpOptions): UdpEndpoint {
    const ip = parseIp(options.ip ?? '::');
    const text = formatIp(ip);
    const wanted = options.port === 'any' ? 0 : (options.port ?? 0);
    const port = wanted !== 0 || options.port === 'any' ? wanted : this.#choosePort(ip, isWildcard(text));
    const endpoint = new UdpEndpoint(this, { ip: text, port }, options);
    this.#bindings.add(endpoint);
    return endpoint;
  }

  /** @returns false when nobody listens on that port: the sender is to be told. */
  receive(ip: IpView): boolean {
    const { counters, ready } = this.#around;
    const view = this.#view;
    if (!view.parse(ip)) {
      counters.udpMalformed++;
      return true;
    }
    const endpoint = this.#bindings.find(ip.data, ip.destinationAt, ip.addressLength, view.destinationPort);
    const remote = { ip: addressAt(ip, ip.sourceAt), port: view.sourcePort };
    if (endpoint === undefined || !isFrom(endpoint, remote)) {
      counters.udpNoPort++;
      return false;
    }
    const local = { ip: addressAt(ip, ip.destinationAt), port: view.destinationPort };
    if (endpoint.offer({ local, remote, data: new Uint8Array(ip.data.subarray(view.start, view.end)) })) {
      counters.udpIn++;
      ready.mark(endpoint, Ready.READABLE);
    } else counters.udpReceiveFull++;
    return true;
  }

  send(endpoint: UdpEndpoint, data: Uint8Array, to: Address, from: Address | undefined): boolean {
    const { addresses, output, counters, pathMtu, mtu, now } = this.#around;
    const destination = parseIp(to.ip);
    const limit = destination.length === 4 ? 65507 : 65527;
    if (data.length > limit) {
      throw new ApiMisuse(`a UDP datagram to ${formatAddress(to)} holds ${limit} octets, not ${data.length}`, { code: 'EMSGSIZE' });
    }
    const source = this.#sourceOf(endpoint, destination, from, addresses);
    const upper = new Uint8Array(UDP_HEADER + data.length);
    upper.set(data, UDP_HEADER);
    writeUdp(upper, 0, source, from?.port ?? endpoint.local.port, destination, to.port, data.length);
    const sent = output.push(upper, {
      source,
      destination,
      protocol: IpProtocol.UDP,
      hopLimit: DEFAULT_HOP_LIMIT,
      dontFragment: false,
      mtu: Math.min(mtu, pathMtu.get(destination, now)?.mtu ?? mtu),
    });
    if (sent) counters.udpOut++;
    else this.#blocked.add(endpoint);
    return sent;
  }

  close(endpoint: UdpEndpoint): void {
    this.#bindings.remove(endpoint);
    this.#blocked.delete(endpoint);
  }

  /** An ICMP error quoted a datagram between these ends. @returns false when nobody here sent it. */
  icmpError(key: FlowKey, code: FailureCode): boolean {
    const endpoint = this.#bindings.find(key.data, key.localAt, key.length, key.localPort);
    if (endpoint === undefined) return false;
    const remote = { ip: formatIp(key.data.subarray(key.remoteAt, key.remoteAt + key.length)), port: key.remotePort };
    if (!isFrom(endpoint, remote)) return false;
    // The datagram is lost either way; that the next one will be smaller is all there is to say.
    if (code === 'EMSGSIZE') return true;
    endpoint.hearError({ code, remote });
    this.#around.ready.mark(endpoint, Ready.ERROR);
    return true;
  }

  /** Packets left: whoever was refused may try again. */
  offerRoom(): void {
    if (this.#blocked.size === 0 || !this.#around.output.hasRoom(ROOM)) return;
    for (const endpoint of this.#blocked) this.#around.ready.mark(endpoint, Ready.WRITABLE);
    this.#blocked.clear();
  }

  #sourceOf(endpoint: UdpEndpoint, destination: Uint8Array, from: Address | undefined, addresses: Addresses): Uint8Array {
    const bound = isWildcard(endpoint.local.ip) ? undefined : endpoint.local.ip;
    const chosen = from?.ip ?? bound;
    const source = chosen === undefined ? addresses.sourceFor(destination) : parseIp(chosen);
    const usable = source !== undefined && source.length === destination.length;
    if (usable && (addresses.promiscuous || addresses.holds(source, 0, source.length))) return source;
    throw new ApiMisuse(`no own address to reach ${formatIp(destination)} from`, { code: 'EADDRNOTAVAIL' });
  }

  #choosePort(ip: Uint8Array, wildcard: boolean): number {
    const port = this.#ports.choose(ip, (candidate) => this.#bindings.isFree(ip, wildcard, candidate));
    if (port === undefined) throw new ApiMisuse('no UDP port is left', { code: 'EADDRINUSE' });
    return port;
  }
}

const isFrom = (endpoint: UdpEndpoint, remote: Address): boolean =>
  endpoint.remote === undefined || (endpoint.remote.ip === remote.ip && endpoint.remote.port === remote.port);

const addressAt = (ip: IpView, at: number): string => formatIp(ip.data.subarray(at, at + ip.addressLength));

/** What a waiting datagram costs besides its octets: empty ones must not be free. */
const OVERHEAD = 64;
/** Room that makes another try worthwhile. */
const ROOM = 65536;
