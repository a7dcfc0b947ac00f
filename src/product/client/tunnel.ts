import { TimedOut } from '../../core/bytes/index.ts';
import type { Notice } from '../../core/ike/effects.ts';
import type { IkeSaStatus } from '../../host/engine/engine.ts';
import type { Unsubscribe } from '../../host/engine/events.ts';
import type { Destination } from '../../host/engine/inside.ts';
import type { PingAnswer } from '../../host/platform/stack-driver.ts';
import type { StreamServer, StreamSocket } from '../../host/platform/stream-socket.ts';
import type { Way } from '../../host/platform/way.ts';
import { createFetch, DatagramSocket, type Fetch, WayAgent } from '../reach/index.ts';
import type { Client } from './client.ts';

/** One connection that stands, and what passes through it. It stays the same across rekeys, and across reconnecting where the configuration asks for that. */
export class Tunnel implements AsyncDisposable {
  readonly client: Client;
  readonly connection: string;
  /** Resolves when the tunnel is gone for good: with `undefined` after `close`, else with the reason. One that reconnects by itself ends only by `close`. */
  readonly closed: Promise<Error | undefined>;
  #fetch: Fetch | undefined;
  #agent: WayAgent | undefined;
  readonly #end: (reason: Error | undefined) => void;

  constructor(client: Client, connection: string) {
    this.client = client;
    this.connection = connection;
    let end = (_reason: Error | undefined): void => undefined;
    this.closed = new Promise((resolve) => {
      end = resolve;
    });
    this.#end = end;
    const policy = client.connections().find(({ name }) => name === connection);
    const comesBack = policy?.children.some((child) => child.dpdAction === 'start' || child.closeAction === 'start') ?? false;
    client.onNotice(({ notice }) => {
      if (notice.kind !== 'ike-down' || notice.connection !== connection || comesBack || this.status !== undefined) return;
      end(notice.error ?? new TimedOut(`${connection}: ${notice.reason}`, { code: 'CONNECTION_ENDED' }));
    });
  }

  /** The IKE SA with its children and their counters; undefined while there is none. */
  get status(): IkeSaStatus | undefined {
    return this.client.engine.ofConnection(this.connection).find(({ state }) => state === 'established' || state === 'rekeying');
  }

  /** Addresses that the peer assigned to us. */
  get addresses(): readonly string[] {
    return this.status?.assigned ?? [];
  }

  /** DNS servers behind the tunnel. */
  get dnsServers(): readonly string[] {
    return this.client.dnsServers;
  }

  /**
   * A TCP connection through the tunnel: a `Duplex` that looks like a `net.Socket`.
   * @throws DataPlaneError with the codes of `node:net`: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENOTFOUND, …
   */
  connect(destination: Destination): Promise<StreamSocket> {
    return this.client.inside.connect(destination);
  }

  /** Answers on a TCP port of our inner addresses; 0 takes a free one. */
  listen(port: number, onConnection?: (socket: StreamSocket) => void): StreamServer {
    return this.client.inside.listen({ port }, onConnection);
  }

  /** A UDP port of our inner address, with the look of `dgram.Socket`; port 0 takes a free one. @throws ApiMisuse EADDRINUSE */
  dgram(port = 0): DatagramSocket {
    return new DatagramSocket(this.client.inside.openUdp(port));
  }

  /** The address of a name, from the DNS servers behind the tunnel. @throws DataPlaneError ENOTFOUND, ETIMEDOUT, NO_DNS */
  resolve(host: string, signal?: AbortSignal): Promise<string> {
    return this.client.inside.resolve(host, signal);
  }

  /** What proxies, forwarded ports, agents and `fetch` go through. */
  get way(): Way {
    return this.client.inside.way;
  }

  /** `fetch` through the tunnel: names are resolved behind it. */
  get fetch(): Fetch {
    this.#fetch ??= createFetch(this.way);
    return this.#fetch;
  }

  /** For `http.request({agent})`; for `https` there is `SecureWayAgent`, for undici `wayConnector`. */
  get agent(): WayAgent {
    this.#agent ??= new WayAgent(this.way);
    return this.#agent;
  }

  /** One echo request through the tunnel. @throws DataPlaneError ETIMEDOUT, EHOSTUNREACH, … */
  ping(
    host: string,
    options: { readonly size?: number; readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<PingAnswer> {
    return this.client.inside.ping(host, options);
  }

  /** Every notice of the client; `at` is wall clock time, milliseconds since 1970. */
  onNotice(listener: (event: { readonly at: number; readonly notice: Notice }) => void): Unsubscribe {
    return this.client.onNotice(listener);
  }

  /** Fresh keys: the IKE SA's own, and those of its children. */
  async rekey(signal?: AbortSignal): Promise<void> {
    await this.client.rekey({ connection: this.connection, children: true }, signal);
  }

  /** Says goodbye to the peer and lets go of everything. @param grace milliseconds to wait for its answer */
  async close(grace?: number): Promise<void> {
    this.#end(undefined);
    this.#agent?.destroy();
    await this.client.close(grace);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
