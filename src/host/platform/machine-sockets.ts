import { createConnection, createServer, type Socket } from 'node:net';
import { type Address, DataPlaneError, formatAddress, isIpv6 } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';
import { connected } from './dial.ts';

/** A TCP connection of the machine's. Both ends of it are known, and each direction ends by itself. */
export type MachineStream = Socket;

export interface MachineDial {
  /** An address of ours: what is sent has it as its source. */
  readonly from: string;
  readonly to: Address;
  readonly timeout: Millis;
  readonly signal?: AbortSignal | undefined;
}

/** Ordinary TCP sockets of a network: the machine's, or that of a namespace. */
export interface MachineSockets {
  /** A connection that stands. @throws DataPlaneError with the codes of `node:net`; the signal's reason */
  connect(dial: MachineDial): Promise<MachineStream>;
  /** Takes connections at this address alone. @throws DataPlaneError EADDRINUSE, EADDRNOTAVAIL @returns how to stop that; connections live on */
  listen(at: Address, onConnection: (stream: MachineStream) => void): Promise<() => void>;
  close(): void;
}

/** Those of the network in which this process is. */
export const machineSockets: MachineSockets = {
  connect: (dial) => connectFrom(dial, false),
  listen: (at, onConnection) => listenAt(at, onConnection, false),
  close: () => undefined,
};

/** @param unread nothing of it is read here: it is for another process */
export async function connectFrom({ from, to, timeout, signal }: MachineDial, unread: boolean): Promise<MachineStream> {
  signal?.throwIfAborted();
  const socket = createConnection({ host: to.ip, port: to.port, localAddress: from, noDelay: true, allowHalfOpen: true });
  if (unread) socket.pause();
  await connected(socket, { within: timeout, signal, failure: (errno) => socketError(errno, to) });
  return socket;
}

/** @param unread as for `connectFrom` */
export async function listenAt(at: Address, onConnection: (stream: MachineStream) => void, unread: boolean): Promise<() => void> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: unread }, onConnection);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(socketError(error.code ?? error.message, at)));
    server.listen({ host: at.ip, port: at.port, ipv6Only: isIpv6(at.ip), exclusive: true }, resolve);
  });
  server.removeAllListeners('error');
  // too many open files, say: those that are there go on
  server.on('error', () => undefined);

  return () => void server.close();
}

export function socketError(errno: string, address: Address): DataPlaneError {
  const says = ERRORS[errno] ?? `TCP failed (${errno})`;
  return new DataPlaneError(`${formatAddress(address)}: ${says}`, { code: errno, errno });
}

const ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was reset',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'there is no way there',
  ENETUNREACH: 'there is no way there',
  EADDRINUSE: 'another program listens there already',
  EADDRNOTAVAIL: 'that address is not ours',
};
