import { ApiMisuse, formatIp, parseIp } from '../bytes/index.ts';
import { getI32, getU16, IPV6_MINIMUM_MTU, IpProtocol, IpView, ipv4HeaderValid } from '../packet/index.ts';
import type { VnetHeader } from '../packet/offload/index.ts';
import { Addresses, isImpossibleSource } from './addresses.ts';
import { isWildcard } from './bindings.ts';
import { Counters } from './counters.ts';
import { type EchoRequest, IcmpLayer, type IcmpSurroundings } from './icmp.ts';
import { IpOutput } from './ip-output.ts';
import { KeyedHash } from './keyed-hash.ts';
import { PathMtuCache } from './path-mtu.ts';
import type { Ping, PingOptions } from './ping.ts';
import { EphemeralPorts } from './ports.ts';
import { type Endpoint, type Millis, ReadyQueue } from './ready.ts';
import { Reassembly } from './reassembly.ts';
import { DEFAULT_TCP_CONFIG, type TcpConfig } from './tcp/config.ts';
import type { TcpConnection } from './tcp/connection.ts';
import { TcpLayer, type TcpSurroundings } from './tcp/layer.ts';
import type { TcpListener } from './tcp/listener.ts';
import { type UdpEndpoint, UdpLayer, type UdpOptions, type UdpSurroundings } from './udp.ts';

export interface StackOptions {
  /** Own IPv4 and IPv6 addresses, literals. */
  readonly addresses: readonly string[];
  /** Octets of the largest IP packet that may leave, 1280 to 65535. */
  readonly mtu: number;
  /** Secrets are drawn once, at construction: initial sequence numbers, ports and identifiers derive from them by keyed hash. */
  readonly random: { secret(length: number): Uint8Array };
  /** Takes packets to any destination: listeners without an address answer for all of them (userspace NAT). Off by default. */
  readonly promiscuous?: boolean | undefined;
  /** Departures from `DEFAULT_TCP_CONFIG`. */
  readonly tcp?: Partial<TcpConfig> | undefined;
}

export interface ConnectOptions {
  readonly ip: string;
  readonly port: number;
  readonly localIp?: string | undefined;
  readonly localPort?: number | undefined;
  /** Milliseconds until ETIMEDOUT; the standard's three minutes by default (RFC 9293 §3.8.3). */
  readonly timeout?: Millis | undefined;
}

export interface ListenOptions {
  /** Absent: every own address of both families. */
  readonly ip?: string | undefined;
  /** 0: one is chosen. `'any'`: every port that nothing else is bound to. */
  readonly port: number | 'any';
  /** Connections that are established, or about to be, and wait to be accepted; 128. */
  readonly backlog?: number | undefined;
  /** Nobody is answered before `Knock.admit`: see `TcpListener.nextKnock`. */
  readonly asks?: boolean | undefined;
}

/**
 * An IPv4 and IPv6 host in memory: ICMP, UDP and TCP over a packet interface. Pure and synchronous: IP packets and time go in, IP
 * packets come out.
 *
 * After any call that may have caused something (`receive`, `expire`, a `write` or `read` on an endpoint; `onWork` tells) do, in this
 * order: `dispatch()` (or `nextReady()` until undefined), `poll(now)` until undefined, then arm one timer for `nextDeadline()` that calls
 * `expire(now)`. `StackDriver` of the platform does all of it.
 */
export class Stack {
  /** Events since the stack was made. */
  readonly counters = new Counters();
  /**
   * Called whenever there may be something to dispatch or to poll: the place to schedule that, and nothing else; it runs in the middle of
   * other calls.
   */
  onWork: () => void = () => {};
  readonly #addresses: Addresses;
  readonly #ready = new ReadyQueue(() => this.onWork());
  readonly #pathMtu = new PathMtuCache();
  readonly #output: IpOutput;
  readonly #reassembly: Reassembly;
  readonly #tcp: TcpLayer;
  readonly #udp: UdpLayer;
  readonly #icmp: IcmpLayer;
  readonly #view = new IpView();
  #mtu: number;
  #now: Millis = 0;
  /** Whose turn it is when both have something to send. */
  #segmentsFirst = false;
  #buffer: Uint8Array;

  constructor(options: StackOptions) {
    this.#mtu = checkedMtu(options.mtu);
    this.#buffer = new Uint8Array(this.#mtu);
    this.#addresses = new Addresses(options.addresses, options.promiscuous ?? false);
    const secret = options.random.secret(SECRET);
    if (secret.length !== SECRET) throw new ApiMisuse(`the random source gave ${secret.length} octets instead of ${SECRET}`);
    this.#output = new IpOutput(this.counters, getI32(secret, 64) >>> 0, () => this.onWork());
    this.#reassembly = new Reassembly(this.counters);
    const around = this.#surroundings();
    this.#tcp = new TcpLayer({ ...DEFAULT_TCP_CONFIG, ...options.tcp }, around, secret.subarray(0, 64));
    this.#udp = new UdpLayer(around, new EphemeralPorts(new KeyedHash(secret.subarray(72, 88))));
    this.#icmp = new IcmpLayer(around, getU16(secret, 68));
  }

  /**
   * One IP packet from the interface. It is read before this returns and may be overwritten afterwards. Bad ones are counted and dropped.
   * @param offload of an interface that puts segments of TCP together and has verified their checksums (`gsoSize`); such a packet has 65535
   *   octets at most
   */
  receive(packet: Uint8Array, now: Millis, offload?: VnetHeader): void {
    this.#advance(now);
    const { counters } = this;
    const view = this.#view;
    const { length } = packet;
    const packets = packetsOf(length, offload);
    counters.packetsIn += packets;
    counters.octetsIn += octetsOf(length, packets, offload);
    const parsed = view.parse(packet);
    if (!parsed || (view.version === 4 && !ipv4HeaderValid(view))) {
      counters.ipMalformed++;
      if (!parsed && view.problemCode >= 0 && this.#addresses.accepts(view)) this.#icmp.parameterProblem(view, now);
      return;
    }
    if (!this.#addresses.accepts(view)) {
      counters.ipNotOurs++;
      return;
    }
    if (isImpossibleSource(view) || this.#addresses.holds(view.data, view.sourceAt, view.addressLength)) {
      counters.ipBadSource++;
      return;
    }
    if (view.fragment && !this.#reassemble(view, now)) return;
    this.#deliver(view, now, offload?.gsoSize ?? 0);
  }

  /** The next IP packet to leave: a view that is valid until the next call of `poll`. */
  poll(now: Millis): Uint8Array | undefined {
    const length = this.pollInto(this.#buffer, 0, now);
    return length === 0 ? undefined : this.#buffer.subarray(0, length);
  }

  /**
   * The same without a view: writes the packet into `buffer` from `at` on, where `mtu` octets of room must be.
   * @param offload filled in for an interface that cuts segments of TCP and fills in their checksums: there must be room for 65535 octets
   * @returns its length, 0 when there is nothing to send.
   */
  pollInto(buffer: Uint8Array, at: number, now: Millis, offload?: VnetHeader): number {
    this.#advance(now);
    offload?.clear();
    const first = this.#segmentsFirst ? this.#tcp.nextSegment(buffer, at, offload) : this.#output.take(buffer, at, this.#mtu);
    const length =
      first > 0 ? first : this.#segmentsFirst ? this.#output.take(buffer, at, this.#mtu) : this.#tcp.nextSegment(buffer, at, offload);
    if (length === 0) return 0;
    this.#segmentsFirst = !this.#segmentsFirst;
    const packets = packetsOf(length, offload);
    this.counters.packetsOut += packets;
    this.counters.octetsOut += octetsOf(length, packets, offload);
    this.#udp.offerRoom();
    return length;
  }

  /** When `expire` has to be called next, at the latest; undefined when nothing is pending. */
  nextDeadline(): Millis | undefined {
    const earliest = Math.min(
      this.#tcp.deadline ?? Number.POSITIVE_INFINITY,
      this.#icmp.deadline ?? Number.POSITIVE_INFINITY,
      this.#reassembly.deadline ?? Number.POSITIVE_INFINITY,
    );
    return earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  }

  /** Lets what is due happen. Calling it early does no harm. */
  expire(now: Millis): void {
    this.#advance(now);
    this.#tcp.expire();
    this.#icmp.expire(now);
    this.#reassembly.expire(now, (packet) => {
      // The first fragment alone parses again; what is said about it is that the rest never came.
      this.#view.parse(packet, 0, packet.length);
      this.#icmp.reassemblyTimedOut(this.#view, now);
    });
  }

  /** The next endpoint to which something happened; `takeEvents` says what. */
  nextReady(): Endpoint | undefined {
    return this.#ready.next();
  }

  /** Calls `onReady` of every endpoint to which something happened. */
  dispatch(): void {
    for (let endpoint = this.#ready.next(); endpoint !== undefined; endpoint = this.#ready.next())
      endpoint.onReady?.(endpoint.takeEvents());
  }

  /**
   * Opens a connection; `Ready.CONNECTED` or `Ready.CLOSED` follows.
   * @throws ApiMisuse EADDRNOTAVAIL when no own address has the family of `ip`, EADDRINUSE when the local port is connected there already.
   */
  connect(options: ConnectOptions, now: Millis): TcpConnection {
    this.#advance(now);
    const remote = parseIp(options.ip);
    if (!(options.port > 0 && options.port <= 0xffff))
      throw new ApiMisuse(`${options.port} is not a TCP port`, { code: 'ERR_SOCKET_BAD_PORT' });
    const local = options.localIp === undefined ? this.#addresses.sourceFor(remote) : parseIp(options.localIp);
    if (local === undefined || local.length !== remote.length || !this.#mayUse(local)) {
      throw new ApiMisuse(`no own address to reach ${formatIp(remote)} from`, {
        code: 'EADDRNOTAVAIL',
        hint: `The own addresses are: ${this.#addresses.texts.join(', ') || 'none'}.`,
      });
    }
    if (this.#addresses.holds(remote, 0, remote.length)) {
      throw new ApiMisuse(`${formatIp(remote)} is an own address: packets to it would leave and never come back`, {
        code: 'EADDRNOTAVAIL',
      });
    }
    return this.#tcp.openings.connect(
      local,
      options.localPort ?? 0,
      remote,
      options.port,
      options.timeout ?? this.#tcp.config.connectTimeout,
    );
  }

  /** @throws ApiMisuse EADDRINUSE, EADDRNOTAVAIL. */
  listen(options: ListenOptions): TcpListener {
    const ip = parseIp(options.ip ?? '::');
    const text = formatIp(ip);
    if (!isWildcard(text) && !this.#mayUse(ip)) throw new ApiMisuse(`${text} is not an own address`, { code: 'EADDRNOTAVAIL' });
    const anyPort = options.port === 'any';
    const port = options.port === 'any' ? 0 : options.port !== 0 ? options.port : this.#tcp.openings.freePort(ip, isWildcard(text));
    if (port === undefined) throw new ApiMisuse('no TCP port is left', { code: 'EADDRINUSE' });
    return this.#tcp.openings.listen({ ip: text, port }, anyPort, options.backlog ?? 128, options.asks ?? false);
  }

  /** @throws ApiMisuse EADDRINUSE, EADDRNOTAVAIL. */
  bindUdp(options: UdpOptions): UdpEndpoint {
    const ip = parseIp(options.ip ?? '::');
    if (!isWildcard(formatIp(ip)) && !this.#mayUse(ip))
      throw new ApiMisuse(`${formatIp(ip)} is not an own address`, { code: 'EADDRNOTAVAIL' });
    return this.#udp.bind(options);
  }

  /** Sends an echo request; `Ready.DONE` follows. @throws ApiMisuse EADDRNOTAVAIL. */
  ping(options: PingOptions, now: Millis): Ping {
    this.#advance(now);
    return this.#icmp.ping(options, now);
  }

  /** Echo requests to addresses that are not our own, where packets to any destination are taken; nobody answers them unless set. */
  set onEcho(listener: ((request: EchoRequest) => void) | undefined) {
    this.#icmp.onEcho = listener;
  }

  /** Answers one, in the name of the host that was asked. */
  answerEcho(request: EchoRequest): void {
    this.#icmp.answerForeignEcho(request);
  }

  get addresses(): readonly string[] {
    return this.#addresses.texts;
  }

  /** Replaces the own addresses. Connections from an address that went away end with EADDRNOTAVAIL. */
  setAddresses(addresses: readonly string[]): void {
    this.#addresses.replace(addresses);
    this.#tcp.addressesChanged();
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** @throws ApiMisuse outside of 1280 to 65535. */
  setMtu(mtu: number): void {
    this.#mtu = checkedMtu(mtu);
    if (this.#buffer.length < mtu) this.#buffer = new Uint8Array(mtu);
    this.#tcp.mtuChanged();
  }

  /** TCP connections in whatever state, TIME-WAIT included. */
  get connectionCount(): number {
    return this.#tcp.connectionCount;
  }

  /** Octets of memory that TCP buffers hold. */
  get bufferMemory(): number {
    return this.#tcp.pool.used;
  }

  /** Everything ends at once and in silence, with ENETDOWN: the packet interface is gone. */
  abandon(): void {
    this.#tcp.abandon();
    this.#icmp.abandon();
    this.#reassembly.clear();
    this.#output.clear();
  }

  #deliver(view: IpView, now: Millis, unit: number): void {
    switch (view.protocol) {
      case IpProtocol.TCP:
        this.#tcp.receive(view, unit);
        return;
      case IpProtocol.UDP:
        if (!this.#udp.receive(view)) this.#icmp.portUnreachable(view, now);
        return;
      case IpProtocol.ICMP:
        if (view.version === 4) this.#icmp.receive(view, now);
        return;
      case IpProtocol.IPV6_ICMP:
        if (view.version === 6) this.#icmp.receive(view, now);
        return;
      case IpProtocol.IPV6_NONXT:
        return;
      default:
        this.counters.ipUnknownProtocol++;
        this.#icmp.protocolUnreachable(view, now);
    }
  }

  /** @returns true when `view` shows a whole packet now. */
  #reassemble(view: IpView, now: Millis): boolean {
    const whole = this.#reassembly.add(view, now);
    if (whole === undefined) return false;
    if (view.parse(whole) && !view.fragment) return true;
    this.counters.ipMalformed++;
    return false;
  }

  /** Time never runs backwards here, whatever the caller's clock does. */
  #advance(now: Millis): void {
    if (now > this.#now) this.#now = now;
    this.#tcp.now = this.#now;
  }

  #mayUse(ip: Uint8Array): boolean {
    return this.#addresses.promiscuous || this.#addresses.holds(ip, 0, ip.length);
  }

  /** What the layers see of the stack and of one another. */
  #surroundings(): TcpSurroundings & UdpSurroundings & IcmpSurroundings {
    const stack = this;
    return {
      addresses: this.#addresses,
      counters: this.counters,
      output: this.#output,
      pathMtu: this.#pathMtu,
      ready: this.#ready,
      onWork: () => this.onWork(),
      get mtu() {
        return stack.#mtu;
      },
      get now() {
        return stack.#now;
      },
      tcpError: (key, seq, meaning) => this.#tcp.icmpError(key, seq, meaning),
      udpError: (key, code) => this.#udp.icmpError(key, code),
      hostUnreachable: (packet, code) => {
        if (this.#view.parse(packet)) this.#icmp.hostUnreachable(this.#view, code, this.#now);
      },
      pathMtuLearned: (destination) => this.#tcp.pathMtuLearned(destination),
    };
  }
}

function checkedMtu(mtu: number): number {
  if (Number.isInteger(mtu) && mtu >= IPV6_MINIMUM_MTU && mtu <= 65535) return mtu;
  throw new ApiMisuse(`an MTU of ${mtu} is outside of ${IPV6_MINIMUM_MTU} to 65535`, { code: 'BAD_MTU' });
}

/** What a packet stands for on the way, with headers for each. */
const packetsOf = (length: number, offload: VnetHeader | undefined): number =>
  offload === undefined || offload.gsoSize === 0 ? 1 : Math.ceil((length - offload.hdrLen) / offload.gsoSize);
const octetsOf = (length: number, packets: number, offload: VnetHeader | undefined): number =>
  packets === 1 ? length : length + (packets - 1) * offload!.hdrLen;

/** Octets: four keys for TCP, an identification, an echo identifier, a key for UDP ports. */
const SECRET = 88;
