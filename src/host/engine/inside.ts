import { ApiMisuse, DataPlaneError, tryParseIp } from '../../core/bytes/index.ts';
import type { ListenOptions } from '../../core/netstack/index.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { isNetstack } from '../dataplane/netstack-hosts.ts';
import type { PingAnswer, StackDriver } from '../platform/stack-driver.ts';
import type { StreamServer, StreamSocket, StreamSocketOptions } from '../platform/stream-socket.ts';
import type { EchoOptions, UdpPort, Way } from '../platform/way.ts';

/** Where to connect to, beyond the tunnel. */
export interface Destination extends StreamSocketOptions {
  /** An IP literal, or a name where the tunnel brought DNS servers. */
  readonly host: string;
  readonly port: number;
  /** Milliseconds until it is given up. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type Resolve = (host: string, signal?: AbortSignal) => Promise<string>;

/** Sockets on the inner side of the tunnels, from the in-process stack: they look like those of `node:net`. */
export class Inside {
  readonly driver: StackDriver;
  readonly #resolve: Resolve;

  /** @throws DataPlaneError `NO_SOCKETS` when the plane hands packets to the system instead: use the system's sockets then. */
  constructor(plane: DataPlane, resolve: Resolve) {
    if (!isNetstack(plane)) {
      throw new DataPlaneError(`the data plane ${plane.backend} has no sockets of its own`, {
        code: 'NO_SOCKETS',
        backend: plane.backend,
        hint: 'With this data plane the tunnel belongs to the system: use ordinary sockets, or set plane: netstack.',
      });
    }
    this.driver = plane.driver;
    this.#resolve = resolve;
  }

  /** A TCP connection that stands. @throws DataPlaneError with the codes of `node:net`: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, … */
  async connect({ host, port, timeout, signal, ...options }: Destination): Promise<StreamSocket> {
    const ip = await this.resolve(host, signal);
    signal?.throwIfAborted();
    const socket = this.driver.connect({ ...options, ip, port, timeout });
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        socket.off('connect', onConnect);
        socket.off('error', onError);
        signal?.removeEventListener('abort', onAbort);
        act();
      };
      const onConnect = (): void => finish(() => resolve(socket));
      const onError = (error: unknown): void => finish(() => reject(error));
      const onAbort = (): void =>
        finish(() => {
          socket.on('error', () => undefined);
          socket.destroy();
          reject(signal?.reason);
        });
      socket.on('connect', onConnect);
      socket.on('error', onError);
      signal?.addEventListener('abort', onAbort);
    });
  }

  /** Answers on a port of our inner addresses. @throws ApiMisuse EADDRINUSE, EADDRNOTAVAIL */
  listen(options: ListenOptions & StreamSocketOptions, onConnection?: (socket: StreamSocket) => void): StreamServer {
    return this.driver.listen(options, onConnection);
  }

  /** A UDP port of our inner addresses. @throws ApiMisuse EADDRINUSE */
  openUdp(port = 0): UdpPort {
    return this.driver.openUdp(port, (host) => this.resolve(host));
  }

  /** What those use who do not mind how the tunnel is reached. */
  get way(): Way {
    return {
      connect: (to) => this.connect({ ...to, allowHalfOpen: true, noDelay: true }),
      listenTcp: (port, onConnection) => {
        const server = this.listen({ port, allowHalfOpen: true, noDelay: true }, (socket) =>
          onConnection(socket, { ip: socket.remoteAddress, port: socket.remotePort }),
        );
        const { address, port: bound } = server.address();
        return Promise.resolve({ address: { ip: address, port: bound }, onEnd: undefined, close: () => void server.close() });
      },
      openUdp: (port) => Promise.resolve(this.openUdp(port)),
      resolve: (host, signal) => this.resolve(host, signal),
      ping: (host, options) => this.ping(host, options),
    };
  }

  /** One echo request. @throws DataPlaneError ETIMEDOUT, EHOSTUNREACH, … */
  async ping(host: string, { signal, size, timeout }: EchoOptions = {}): Promise<PingAnswer> {
    const ip = await this.resolve(host, signal);
    signal?.throwIfAborted();
    return this.driver.ping({ ip, ...(size === undefined ? {} : { size }), ...(timeout === undefined ? {} : { timeout }) });
  }

  /** An address for a name, from the DNS servers behind the tunnel; a literal is its own. @throws DataPlaneError ENOTFOUND, ETIMEDOUT, NO_DNS */
  async resolve(host: string, signal?: AbortSignal): Promise<string> {
    if (tryParseIp(host) !== undefined) return host;
    if (host === '' || host.length > LONGEST_NAME) throw new ApiMisuse(`not a host: ${host.slice(0, 64)}`, { code: 'NOT_A_HOST' });
    return this.#resolve(host, signal);
  }
}

/** RFC 1035 §2.3.4. */
const LONGEST_NAME = 253;
