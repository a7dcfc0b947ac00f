import type { Address } from '../../core/bytes/index.ts';
import { Ready, type UdpEndpoint, type UdpOptions } from '../../core/netstack/index.ts';
import { socketError } from './stream-socket.ts';
import type { UdpPort } from './way.ts';

/** Who drives the stack. */
interface UdpDriver {
  bindUdp(options: UdpOptions): UdpEndpoint;
  wake(): void;
}

/** A UDP port on the inner side of the tunnels. Names are resolved once for each port and kept while it is open. */
export class StackUdp implements UdpPort {
  readonly local: Address;
  onDatagram: UdpPort['onDatagram'];
  onError: UdpPort['onError'];
  onEnd: UdpPort['onEnd'];
  readonly #driver: UdpDriver;
  readonly #endpoint: UdpEndpoint;
  readonly #resolve: (host: string) => Promise<string>;
  readonly #known = new Map<string, Promise<string>>();
  #closed = false;

  constructor(driver: UdpDriver, port: number, resolve: (host: string) => Promise<string>) {
    this.#driver = driver;
    this.#resolve = resolve;
    this.#endpoint = driver.bindUdp({ port });
    this.local = this.#endpoint.local;
    this.#endpoint.onReady = (events) => this.#onReady(events);
  }

  send(data: Uint8Array, { host, port }: { readonly host: string; readonly port: number }): void {
    if (isLiteral(host)) return this.#send(data, { ip: host, port });
    const copy = Uint8Array.from(data);
    this.#address(host).then(
      (ip) => this.#send(copy, { ip, port }),
      (error: Error) => this.onError?.(error),
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endpoint.onReady = undefined;
    this.#endpoint.close();
    this.#driver.wake();
  }

  /** What no room is left for is lost. */
  #send(data: Uint8Array, to: Address): void {
    if (this.#closed) return;
    try {
      this.#endpoint.send(data, to);
    } catch (error) {
      this.onError?.(error as Error);
    }
  }

  #onReady(events: number): void {
    for (let datagram = this.#endpoint.receive(); datagram !== undefined; datagram = this.#endpoint.receive())
      this.onDatagram?.(datagram.data, datagram.remote);
    const failed = (events & Ready.ERROR) === 0 ? undefined : this.#endpoint.takeError();
    if (failed !== undefined) this.onError?.(socketError(failed.code, 'send', failed.remote));
  }

  #address(host: string): Promise<string> {
    let found = this.#known.get(host);
    if (found === undefined) {
      if (this.#known.size >= MOST_NAMES) this.#known.clear();
      found = this.#resolve(host);
      this.#known.set(host, found);
      // the next datagram asks again
      found.catch(() => this.#known.delete(host));
    }
    return found;
  }
}

/** Only what can be an address; `parseIp` says the rest. */
const isLiteral = (host: string): boolean => host.includes(':') || /^[\d.]+$/.test(host);
const MOST_NAMES = 256;
