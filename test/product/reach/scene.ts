import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DataPlaneError } from '../../../src/core/bytes/index.ts';
import { connectFromHere, listenLocally, openLocalUdp } from '../../../src/host/platform/local-ports.ts';
import type { Way } from '../../../src/host/platform/way.ts';

/** Loopback in the place of a tunnel: every name but `nowhere` and its like is this machine. */
export class Scene {
  readonly asked: string[] = [];
  readonly way: Way;
  readonly #closing: (() => unknown)[] = [];

  constructor() {
    this.way = {
      connect: async ({ host, port, signal }) => {
        this.asked.push(`${host}:${port}`);
        const code = REFUSALS[host];
        if (code === 'never')
          return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
        if (code !== undefined) throw new DataPlaneError(`connect ${host}: ${code}`, { code });
        return connectFromHere({ host: '127.0.0.1', port });
      },
      listenTcp: async (port, onConnection) => {
        const listening = await listenLocally({
          ip: '127.0.0.1',
          port,
          onConnection: (socket) => onConnection(socket, { ip: '127.0.0.1', port: socket.remotePort! }),
        });
        return { address: listening.address, onEnd: undefined, close: () => void listening.close() };
      },
      openUdp: (port = 0) => openLocalUdp({ ip: '127.0.0.1', port }),
      resolve: (host) => {
        const code = REFUSALS[host];
        return code === undefined ? Promise.resolve('127.0.0.1') : Promise.reject(new DataPlaneError(`resolve ${host}: ${code}`, { code }));
      },
      ping: (host) => Promise.resolve({ rtt: 1.5, from: host }),
    };
  }

  /** Closes it when the scene ends. */
  keep<T extends { close(): unknown }>(what: T): T {
    this.#closing.push(() => what.close());
    return what;
  }

  /** @returns its port */
  async http(listener: RequestListener): Promise<number> {
    const server = createHttpServer(listener);
    this.#closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return listening(server);
  }

  async tcp(onConnection: (socket: Socket) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    this.#closing.push(() => server.close());
    return listening(server);
  }

  /** Says back what it hears, and ends when the other does. */
  echo(): Promise<number> {
    return this.tcp((socket) => socket.pipe(socket));
  }

  async end(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
  }
}

/** All that comes until the other end has ended. */
export async function everything(stream: Duplex): Promise<string> {
  let text = '';
  for await (const chunk of stream as AsyncIterable<Uint8Array>) text += new TextDecoder('latin1').decode(chunk);
  return text;
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as { port: number }).port;
}

const REFUSALS: Readonly<Record<string, string | undefined>> = {
  'refused.test': 'ECONNREFUSED',
  'silent.test': 'ETIMEDOUT',
  'unknown.test': 'ENOTFOUND',
  'unreachable.test': 'ENETUNREACH',
  'forbidden.test': 'EACCES',
  'odd.test': 'ODD',
  'never.test': 'never',
};
