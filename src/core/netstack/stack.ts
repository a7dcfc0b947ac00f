import { InternalError } from '../bytes/index.ts';
import type { RandomSource } from '../crypto/random.ts';
import type { Ping, PingOptions } from './ping.ts';
import type { Endpoint, Millis } from './ready.ts';
import type { TcpConnection } from './tcp/connection.ts';
import type { TcpListener } from './tcp/listener.ts';
import type { UdpEndpoint, UdpOptions } from './udp.ts';

export interface StackOptions {
  /** Own IPv4 and IPv6 addresses, literals. */
  readonly addresses: readonly string[];
  /** Octets of the largest IP packet that may leave, 1280 to 65535. */
  readonly mtu: number;
  /** Secrets are drawn once, at construction: initial sequence numbers, ports and identifiers derive from them by keyed hash. */
  readonly random: Pick<RandomSource, 'secret'>;
  /** Takes packets to any destination: listeners without an address answer for all of them (userspace NAT). Off by default. */
  readonly promiscuous?: boolean | undefined;
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
  /** Connections that are established and wait to be accepted; 128. */
  readonly backlog?: number | undefined;
}

/**
 * An IPv4 and IPv6 host in memory: ICMP, UDP and TCP over a packet interface. Pure and synchronous: IP packets and time go in, IP
 * packets come out.
 *
 * After any call that may have caused something (`receive`, `expire`, a `write` or `read` on an endpoint) do, in this order:
 * `dispatch()` (or `nextReady()` until undefined), `poll(now)` until undefined, then arm one timer for `nextDeadline()` that
 * calls `expire(now)`.
 */
export class Stack {
  constructor(_options: StackOptions) {}

  /** One IP packet from the interface. It is read before this returns and may be overwritten afterwards. Bad ones are counted and dropped. */
  receive(_packet: Uint8Array, _now: Millis): void {
    throw new InternalError('not built');
  }

  /** The next IP packet to leave: a view that is valid until the next call of `poll`. */
  poll(_now: Millis): Uint8Array | undefined {
    throw new InternalError('not built');
  }

  /**
   * The same without a view: writes the packet into `buffer` from `at` on, where `mtu` octets of room must be.
   * @returns its length, 0 when there is nothing to send.
   */
  pollInto(_buffer: Uint8Array, _at: number, _now: Millis): number {
    throw new InternalError('not built');
  }

  /** When `expire` has to be called next, at the latest; undefined when nothing is pending. */
  nextDeadline(): Millis | undefined {
    throw new InternalError('not built');
  }

  /** Lets what is due happen. Calling it early does no harm. */
  expire(_now: Millis): void {
    throw new InternalError('not built');
  }

  /** The next endpoint to which something happened; `takeEvents` says what. */
  nextReady(): Endpoint | undefined {
    throw new InternalError('not built');
  }

  /** Calls `onReady` of every endpoint to which something happened. */
  dispatch(): void {
    throw new InternalError('not built');
  }

  /** Opens a connection; `Ready.CONNECTED` or `Ready.CLOSED` follows. @throws ApiMisuse when no own address has the family of `ip`, or the port is taken. */
  connect(_options: ConnectOptions, _now: Millis): TcpConnection {
    throw new InternalError('not built');
  }

  /** @throws ApiMisuse `EADDRINUSE`, `EADDRNOTAVAIL`. */
  listen(_options: ListenOptions): TcpListener {
    throw new InternalError('not built');
  }

  /** @throws ApiMisuse `EADDRINUSE`, `EADDRNOTAVAIL`. */
  bindUdp(_options: UdpOptions): UdpEndpoint {
    throw new InternalError('not built');
  }

  ping(_options: PingOptions, _now: Millis): Ping {
    throw new InternalError('not built');
  }

  /** Everything ends at once and in silence, with ENETDOWN: the packet interface is gone. */
  abandon(): void {
    throw new InternalError('not built');
  }

  get addresses(): readonly string[] {
    throw new InternalError('not built');
  }

  /** Replaces the own addresses. Connections from an address that went away end with EADDRNOTAVAIL. */
  setAddresses(_addresses: readonly string[]): void {
    throw new InternalError('not built');
  }

  get mtu(): number {
    throw new InternalError('not built');
  }

  setMtu(_mtu: number): void {
    throw new InternalError('not built');
  }

  /** Events since the stack was made, by stable names. */
  get counters(): Readonly<Record<string, number>> {
    throw new InternalError('not built');
  }
}
