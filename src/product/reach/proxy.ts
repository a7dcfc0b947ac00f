import type { Address } from '../../core/bytes/index.ts';
import { type LocalPort, type LocalSocket, listenLocally } from '../../host/platform/local-ports.ts';
import type { Way } from '../../host/platform/way.ts';
import { HttpProxy } from './http-proxy.ts';
import type { ProxyUser } from './proxy-user.ts';
import { serveSocks } from './socks-session.ts';

export interface ProxyOptions {
  readonly way: Way;
  /** Where it listens. */
  readonly at: Address;
  /** Whoever else comes is refused; everybody who reaches the port may use it unless given. */
  readonly user?: ProxyUser | undefined;
  /** A connection failed: the client hears a number, somebody may want the words. */
  readonly onFailure?: ((target: string, error: unknown) => void) | undefined;
}

/**
 * One port for SOCKS5 (with UDP ASSOCIATE) and for HTTP proxy requests: the first octet tells which.
 * @throws DataPlaneError `ADDRESS_IN_USE`, `ADDRESS_NOT_OURS`, `PORT_NEEDS_PRIVILEGE`
 */
export async function openProxy({ way, at, user, onFailure }: ProxyOptions): Promise<LocalPort> {
  const http = new HttpProxy({ way, user, onFailure });
  const port = await listenLocally({ ...at, onConnection: (socket) => void begin(socket) });
  return {
    address: port.address,
    close: async () => {
      http.close();
      await port.close();
    },
  };

  async function begin(socket: LocalSocket): Promise<void> {
    const first = await firstOctet(socket);
    if (first === undefined) return void socket.destroy();
    if (first !== SOCKS_5) return http.accept(socket);
    await serveSocks(socket, { way, user, onFailure, localIp: socket.localAddress ?? at.ip, clientIp: socket.remoteAddress ?? '' });
  }
}

/** Looks without taking; undefined from whoever goes away, or says nothing for too long. */
function firstOctet(socket: LocalSocket): Promise<number | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish(undefined), SPEAK_WITHIN);
    const onReadable = (): void => {
      const chunk = socket.read() as Uint8Array | null;
      if (chunk === null) return;
      socket.off('readable', onReadable);
      socket.unshift(chunk);
      finish(chunk[0]);
    };
    const finish = (octet: number | undefined): void => {
      clearTimeout(timer);
      socket.off('readable', onReadable).off('close', onEnd).off('end', onEnd);
      resolve(octet);
    };
    const onEnd = (): void => finish(undefined);
    socket.on('readable', onReadable).on('close', onEnd).on('end', onEnd);
  });
}

const SOCKS_5 = 5;
const SPEAK_WITHIN = 30_000;
