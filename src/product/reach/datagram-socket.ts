import { EventEmitter } from 'node:events';
import { isIpv6, utf8 } from '../../core/bytes/index.ts';
import type { UdpPort } from '../../host/platform/way.ts';

/** Who sent a datagram, as `node:dgram` tells it. */
export interface RemoteInfo {
  readonly address: string;
  readonly family: 'IPv4' | 'IPv6';
  readonly port: number;
  readonly size: number;
}

/**
 * A UDP port behind a tunnel with the look of `dgram.Socket`: `send`, `address`, `close`, and the events `message` (octets, `RemoteInfo`), `error`
 * and `close`. It is bound when it is made. Errors are those of the network; they do not close it, and nobody has to hear them.
 */
export class DatagramSocket extends EventEmitter {
  readonly #port: UdpPort;
  #closed = false;

  constructor(port: UdpPort) {
    super();
    this.#port = port;
    port.onDatagram = (data, { ip, port: from }) => {
      const remote: RemoteInfo = { address: ip, family: isIpv6(ip) ? 'IPv6' : 'IPv4', port: from, size: data.length };
      this.emit('message', data, remote);
    };
    port.onError = (error) => {
      if (this.listenerCount('error') > 0) this.emit('error', error);
    };
    port.onEnd = () => this.#ended();
  }

  address(): { readonly address: string; readonly family: 'IPv4' | 'IPv6'; readonly port: number } {
    const { ip, port } = this.#port.local;
    return { address: ip, family: isIpv6(ip) ? 'IPv6' : 'IPv4', port };
  }

  /** @param address a literal, or a name, which is resolved behind the tunnel */
  send(data: string | Uint8Array, port: number, address: string, callback?: (error: Error | null) => void): void {
    if (this.#closed) return void queueMicrotask(() => callback?.(new Error('the socket was closed')));
    this.#port.send(typeof data === 'string' ? utf8(data) : data, { host: address, port });
    if (callback !== undefined) queueMicrotask(() => callback(null));
  }

  close(callback?: () => void): this {
    if (callback !== undefined) this.once('close', callback);
    this.#port.close();
    this.#ended();
    return this;
  }

  #ended(): void {
    if (this.#closed) return;
    this.#closed = true;
    queueMicrotask(() => this.emit('close'));
  }
}
