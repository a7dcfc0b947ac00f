import { type Address, isIpv6 } from '../../../core/bytes/index.ts';
import { IPV4_HEADER, IPV6_HEADER } from '../../../core/packet/index.ts';
import type { EspPath } from '../data-plane.ts';
import { PATH_MTU } from '../path-mtu.ts';
import type { RawPort } from './ports.ts';

/** The raw sockets of the loop, and the ways to peers through them: for bare ESP and for AH. */
export class RawPaths {
  readonly #byIp = new Map<string, RawPort[]>();

  get all(): readonly RawPort[] {
    return [...this.#byIp.values()].flat();
  }

  get size(): number {
    return this.#byIp.size;
  }

  add(port: RawPort): void {
    const ports = this.#byIp.get(port.ip) ?? [];
    if (ports.some(({ protocol }) => protocol === port.protocol)) port.close();
    else this.#byIp.set(port.ip, [...ports, port]);
  }

  /** Undefined where no raw socket has the address. */
  path(local: Address, remote: Address): EspPath | undefined {
    // whole packets leave by any of them
    const way = this.#byIp.get(local.ip)?.[0]?.towards(remote);
    if (way === undefined) return undefined;
    return {
      mtu: way.mtu ?? PATH_MTU,
      overhead: isIpv6(remote.ip) ? IPV6_HEADER : IPV4_HEADER,
      send: () => false,
      sendWhole: (packet) => way.send(packet),
    };
  }

  closeAll(): void {
    for (const port of this.all) port.close();
    this.#byIp.clear();
  }
}
