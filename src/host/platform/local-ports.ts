import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createConnection, createServer, type Socket } from 'node:net';
import { type Address, DataPlaneError, formatAddress, isIpv6 } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';
import { connected } from './dial.ts';
import type { UdpPort, WayTo } from './way.ts';

/** A TCP connection of this machine. */
export type LocalSocket = Socket;

/** A port of this machine that takes TCP connections. */
export interface LocalPort {
  readonly address: Address;
  /** Takes no more, and ends those that were taken. */
  close(): Promise<void>;
}

export interface LocalPortOptions {
  /** A literal. */
  readonly ip: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Gets streams that are paused and half-open; errors of theirs that nobody hears are not the process's end. */
  onConnection(socket: LocalSocket): void;
  /** How many may be there at once: the next is closed at once. */
  readonly most?: number | undefined;
}

/** @throws DataPlaneError `ADDRESS_IN_USE`, `ADDRESS_NOT_OURS`, `PORT_NEEDS_PRIVILEGE` or `SOCKET_FAILED` */
export async function listenLocally({ ip, port, onConnection, most = MOST }: LocalPortOptions): Promise<LocalPort> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.maxConnections = most;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError('TCP', error, { ip, port })));
    server.listen({ host: ip, port, ipv6Only: isIpv6(ip) }, resolve);
  });
  server.removeAllListeners('error');
  // too many open files, say: those that are there go on
  server.on('error', () => undefined);
  const bound = server.address() as { readonly address: string; readonly port: number };
  return {
    address: { ip: bound.address, port: bound.port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** A connection from this machine itself, outside of any tunnel of the in-process stack. @throws DataPlaneError with the codes of `node:net` */
export async function connectFromHere({ host, port, timeout = CONNECT_WITHIN, signal }: WayTo): Promise<LocalSocket> {
  signal?.throwIfAborted();
  const socket = createConnection({ host, port, allowHalfOpen: true, noDelay: true });
  await connected(socket, { within: timeout, signal, failure: (errno, cause) => connectError(errno, { host, port }, cause) });
  return socket;
}

/** A UDP port of this machine. @throws as `listenLocally` */
export async function openLocalUdp({ ip, port }: Address): Promise<UdpPort> {
  const socket = createSocket({ type: isIpv6(ip) ? 'udp6' : 'udp4', ipv6Only: isIpv6(ip) });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error: NodeJS.ErrnoException) => reject(portError('UDP', error, { ip, port })));
    socket.bind({ address: ip, port }, resolve);
  });
  socket.removeAllListeners('error');
  return new LocalUdp(socket);
}

class LocalUdp implements UdpPort {
  readonly local: Address;
  onDatagram: UdpPort['onDatagram'];
  onError: UdpPort['onError'];
  onEnd: UdpPort['onEnd'];
  readonly #socket: UdpSocket;
  #closed = false;

  constructor(socket: UdpSocket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.local = { ip: address, port };
    socket.on('message', (data, from) => this.onDatagram?.(data, { ip: from.address, port: from.port }));
    // an ICMP error of an earlier datagram: the port lives on
    socket.on('error', (error) => this.onError?.(error));
  }

  send(data: Uint8Array, { host, port }: { readonly host: string; readonly port: number }): void {
    if (this.#closed) return;
    this.#socket.send(Uint8Array.from(data), port, host, (error) => {
      if (error !== null) this.onError?.(error);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}

function connectError(errno: string, { host, port }: { host: string; port: number }, cause?: unknown): DataPlaneError {
  const known = CONNECT_ERRORS[errno];
  return new DataPlaneError(`connect ${host} port ${port}: ${known?.why ?? errno}`, {
    code: known === undefined ? 'SOCKET_FAILED' : errno,
    errno,
    cause,
    ...(known === undefined ? {} : { hint: known.hint }),
  });
}

function portError(protocol: string, error: NodeJS.ErrnoException, address: Address): DataPlaneError {
  const errno = error.code ?? 'unknown';
  const known = PORT_ERRORS[errno];
  return new DataPlaneError(`${protocol} ${formatAddress(address)} cannot be opened: ${known?.why ?? error.message}`, {
    code: known?.code ?? 'SOCKET_FAILED',
    errno,
    cause: error,
    ...(known ? { hint: known.hint } : {}),
    ...(errno === 'EACCES' ? { privilege: 'CAP_NET_BIND_SERVICE' } : {}),
  });
}

const CONNECT_ERRORS: Readonly<Record<string, { readonly why: string; readonly hint: string } | undefined>> = {
  ECONNREFUSED: { why: 'connection refused', hint: 'The host is up, but nothing listens on that port.' },
  ETIMEDOUT: { why: 'no answer in time', hint: 'Check the address, and that no firewall drops the packets.' },
  EHOSTUNREACH: { why: 'host unreachable', hint: 'Check the address and that the host is switched on.' },
  ENETUNREACH: { why: 'network unreachable', hint: 'Check the network connection of this machine.' },
  ENOTFOUND: { why: 'there is no such name', hint: 'Check the spelling.' },
};

const PORT_ERRORS: Readonly<Record<string, { readonly code: string; readonly why: string; readonly hint: string } | undefined>> = {
  EACCES: {
    code: 'PORT_NEEDS_PRIVILEGE',
    why: 'ports below 1024 need a privilege this process lacks (CAP_NET_BIND_SERVICE)',
    hint: 'Choose a port from 1024 on.',
  },
  EADDRINUSE: {
    code: 'ADDRESS_IN_USE',
    why: 'another program already uses this port',
    hint: 'Choose another port; `ss -lpn` tells who has it.',
  },
  EADDRNOTAVAIL: {
    code: 'ADDRESS_NOT_OURS',
    why: 'no interface of this machine has that address',
    hint: 'Choose an address that `ip address` lists; 127.0.0.1 is for this machine alone.',
  },
};

const CONNECT_WITHIN: Millis = 30_000;
const MOST = 4096;
