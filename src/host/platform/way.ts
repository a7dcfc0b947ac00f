import type { Duplex } from 'node:stream';
import type { Address } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';

/** Where to, beyond a tunnel. */
export interface WayTo {
  /** An IP literal, or a name, which is resolved at the far end. */
  readonly host: string;
  readonly port: number;
  /** Milliseconds until it is given up. */
  readonly timeout?: Millis | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An open UDP port. Datagrams that find no room are lost, as UDP's are. */
export interface UdpPort {
  readonly local: Address;
  /** `data` is copied, or gone when this returns. */
  send(data: Uint8Array, to: { readonly host: string; readonly port: number }): void;
  /** `data` belongs to the receiver. */
  onDatagram: ((data: Uint8Array, from: Address) => void) | undefined;
  /** Something that was sent did not arrive, and somebody said why. The port lives on. */
  onError: ((error: Error) => void) | undefined;
  /** It is over: the way is gone. Not told after `close`. */
  onEnd: ((error: Error | undefined) => void) | undefined;
  close(): void;
}

export interface WayListener {
  readonly address: Address;
  /** It is over: the way is gone. Not told after `close`. */
  onEnd: (() => void) | undefined;
  /** Connections that were accepted live on. */
  close(): void;
}

export interface EchoOptions {
  /** Octets of data. */
  readonly size?: number | undefined;
  /** Milliseconds. */
  readonly timeout?: Millis | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Echo {
  /** Milliseconds. */
  readonly rtt: Millis;
  readonly from: string;
}

/**
 * How a program reaches the networks behind a tunnel, whoever carries it: the in-process TCP/IP host, another process, or the machine itself.
 * Streams are half-open (`allowHalfOpen`): each direction ends by itself.
 */
export interface Way {
  /** A connection that stands. @throws DataPlaneError, RemoteError with the codes of `node:net`: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENOTFOUND … */
  connect(to: WayTo): Promise<Duplex>;
  /** Takes connections at our address beyond the tunnel; port 0 takes a free one. @throws EADDRINUSE, EADDRNOTAVAIL */
  listenTcp(port: number, onConnection: (stream: Duplex, from: Address) => void): Promise<WayListener>;
  /** Port 0 takes a free one. */
  openUdp(port?: number): Promise<UdpPort>;
  /** The address of a name, from whoever knows names at the far end; a literal is its own. @throws ENOTFOUND, ETIMEDOUT, NO_DNS */
  resolve(host: string, signal?: AbortSignal): Promise<string>;
  /** One echo request. @throws ETIMEDOUT, EHOSTUNREACH … */
  ping(host: string, options?: EchoOptions): Promise<Echo>;
}
