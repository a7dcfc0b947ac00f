import { createConnection, createServer, type Server, type Socket } from 'node:net';
import {
  type Address,
  DataPlaneError,
  formatAddress,
  isIpv6,
  PeerRefused,
  TimedOut,
  type TunnelwrightError,
} from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';
import { connected } from './dial.ts';

/** Who reads a stream. */
export interface StreamHandlers {
  /** `data` belongs to the receiver from here on: it may be worked on in place. */
  onData(data: Uint8Array): void;
  /** It is over, and nothing comes any more; told once, also after `close` and `abort`. @param reason undefined: the peer closed it */
  onClose(reason: string | undefined): void;
}

/** A TCP connection. Neither sending nor anything that comes in from the network makes it throw. */
export interface TcpStream {
  readonly local: Address;
  readonly remote: Address;
  /** Octets that were taken and that the kernel has not. */
  readonly waiting: number;
  /** What came before the handlers stand waits for them. */
  start(handlers: StreamHandlers): void;
  /** `data` is the stream's from here on. How much may wait is the caller's to decide. @returns false when the stream is closed */
  write(data: Uint8Array): boolean;
  /** Sends what waits, then says that it is over; the rest of a peer that goes on all the same is cut off. */
  close(): void;
  /** At once, with a reset. */
  abort(): void;
}

export interface TcpServer {
  readonly local: Address;
  /** Streams that were accepted live on. */
  close(): Promise<void>;
}

/** The machine's TCP, for IKE and ESP. */
export interface TcpNetwork {
  /** @throws DataPlaneError `ADDRESS_IN_USE`, `ADDRESS_NOT_OURS`, `PORT_NEEDS_PRIVILEGE` or `SOCKET_FAILED` */
  listen(options: { readonly ip: string; readonly port: number; onStream(stream: TcpStream): void }): Promise<TcpServer>;
  /**
   * Opens a stream from an own address to a peer.
   * @throws PeerRefused `TCP_REFUSED`, TimedOut `TCP_SILENT`, DataPlaneError `NO_ROUTE`, `ADDRESS_NOT_OURS`, `SOCKET_FAILED`
   */
  connect(options: { readonly localIp: string; readonly remote: Address; readonly within: Millis }): Promise<TcpStream>;
}

export const systemTcp: TcpNetwork = { listen, connect };

async function listen({ ip, port, onStream }: Parameters<TcpNetwork['listen']>[0]): Promise<TcpServer> {
  // one that is accepted and not read costs kernel memory alone; who reads decides how many there are (`host/engine/streams.ts`)
  const server = createServer(
    { pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_AFTER },
    (socket) => {
      const stream = streamOf(socket);
      if (stream === undefined) socket.destroy();
      else onStream(stream);
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, { ip, port })));
    server.listen({ host: ip, port, ipv6Only: isIpv6(ip), exclusive: true }, resolve);
  });
  server.removeAllListeners('error');
  // too many open files, say: those that are there go on
  server.on('error', () => undefined);
  return serverOf(server);
}

function serverOf(server: Server): TcpServer {
  const bound = server.address() as { readonly address: string; readonly port: number };
  return {
    local: { ip: bound.address, port: bound.port },
    // does not wait for streams: whoever has them closes them
    close: () => {
      if (server.listening) server.close();
      return Promise.resolve();
    },
  };
}

async function connect({ localIp, remote, within }: Parameters<TcpNetwork['connect']>[0]): Promise<TcpStream> {
  const socket = createConnection({
    host: remote.ip,
    port: remote.port,
    localAddress: localIp,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_AFTER,
  });
  socket.pause();
  await connected(socket, { within, failure: (errno, cause) => connectError(errno, remote, cause) });
  const stream = streamOf(socket);
  if (stream === undefined) throw connectError('ECONNRESET', remote);
  return stream;
}

/** @returns undefined for one that is gone already */
function streamOf(socket: Socket): TcpStream | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  socket.on('error', () => undefined);
  if (localAddress === undefined || localPort === undefined || remoteAddress === undefined || remotePort === undefined) {
    socket.destroy();
    return undefined;
  }
  return new SocketStream(socket, { ip: localAddress, port: localPort }, { ip: remoteAddress, port: remotePort });
}

class SocketStream implements TcpStream {
  readonly local: Address;
  readonly remote: Address;
  readonly #socket: Socket;
  #reason: string | undefined;
  #ending: NodeJS.Timeout | undefined;

  constructor(socket: Socket, local: Address, remote: Address) {
    this.#socket = socket;
    this.local = local;
    this.remote = remote;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason = reasonOf(error);
    });
    socket.on('close', () => clearTimeout(this.#ending));
  }

  get waiting(): number {
    return this.#socket.writableLength;
  }

  start({ onData, onClose }: StreamHandlers): void {
    const socket = this.#socket;
    if (socket.destroyed) return onClose(this.#reason ?? 'it was closed');
    socket.on('data', onData);
    socket.on('close', () => onClose(this.#reason));
    socket.resume();
  }

  write(data: Uint8Array): boolean {
    const socket = this.#socket;
    if (!socket.writable) return false;
    socket.write(data);
    return true;
  }

  close(): void {
    if (this.#socket.destroyed || this.#ending !== undefined) return;
    this.#socket.end();
    this.#ending = setTimeout(() => this.#socket.destroy(), CLOSE_WITHIN);
    this.#ending.unref();
  }

  abort(): void {
    if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
  }
}

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string => REASONS[code ?? ''] ?? message;

const REASONS: Readonly<Record<string, string>> = {
  ECONNRESET: 'it was reset',
  EPIPE: 'it was reset',
  ETIMEDOUT: 'nothing was heard any more',
  EHOSTUNREACH: 'the way is gone',
  ENETUNREACH: 'the way is gone',
};

function connectError(errno: string, remote: Address, cause?: unknown): TunnelwrightError {
  const where = formatAddress(remote);
  switch (errno) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return new PeerRefused(`${where} does not take TCP connections`, {
        code: 'TCP_REFUSED',
        notify: 0,
        section: 'RFC 9329 §2',
        hint: 'Does the gateway listen for TCP there (listen: tcp), and is remote_tcp_port the right one?',
        cause,
      });
    case 'ETIMEDOUT':
      return new TimedOut(`${where} does not answer over TCP`, {
        code: 'TCP_SILENT',
        hint: `Do firewalls let TCP ${remote.port} through?`,
        cause,
      });
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new TimedOut(`there is no way to ${where}`, { code: 'NO_ROUTE', hint: 'Check the network connection.', cause });
    case 'EADDRNOTAVAIL':
      return new DataPlaneError(`our address is gone before TCP to ${where} was open`, { code: 'ADDRESS_NOT_OURS', errno, cause });
    default:
      return new DataPlaneError(`TCP to ${where} cannot be opened: ${errno}`, { code: 'SOCKET_FAILED', errno, cause });
  }
}

function listenError(error: NodeJS.ErrnoException, address: Address): DataPlaneError {
  const errno = error.code ?? 'unknown';
  const known = LISTEN_ERRORS[errno];
  return new DataPlaneError(`TCP ${formatAddress(address)} cannot be opened: ${known?.why ?? error.message}`, {
    code: known?.code ?? 'SOCKET_FAILED',
    errno,
    cause: error,
    ...(known ? { hint: known.hint } : {}),
    ...(errno === 'EACCES' ? { privilege: 'CAP_NET_BIND_SERVICE' } : {}),
  });
}

const LISTEN_ERRORS: Readonly<Record<string, { code: string; why: string; hint: string } | undefined>> = {
  EACCES: {
    code: 'PORT_NEEDS_PRIVILEGE',
    why: 'ports below 1024 need a privilege this process lacks (CAP_NET_BIND_SERVICE)',
    hint: 'Choose a port from 1024 on, or grant the capability (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE).',
  },
  EADDRINUSE: {
    code: 'ADDRESS_IN_USE',
    why: 'another program already uses this port',
    hint: 'Find it with `ss -tlpn`; stop it, choose another tcp_port, or do without TCP: listen: {tcp: no}.',
  },
  EADDRNOTAVAIL: {
    code: 'ADDRESS_NOT_OURS',
    why: 'no interface of this machine has that address',
    hint: 'List the addresses with `ip address`, then listen on one of those.',
  },
};

/** RFC 9329 §6.7: what the kernel asks of a silent peer shows that the stream lives, never that the peer does. */
const KEEPALIVE_AFTER: Millis = 60_000;
/** A peer that does not end its side. */
const CLOSE_WITHIN: Millis = 5000;
