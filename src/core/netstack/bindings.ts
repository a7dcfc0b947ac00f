import { ApiMisuse, formatAddress, parseIp } from '../bytes/index.ts';
import { sameOctets } from '../packet/index.ts';

/** Something bound to a port, on one address or on all of them. */
export interface Bound {
  readonly local: { readonly ip: string; readonly port: number };
  /** Takes every port that nothing else is bound to. */
  readonly anyPort: boolean;
}

/** Who is bound to which port. `::` stands for every address of both families, `0.0.0.0` for those of IPv4. */
export class Bindings<T extends Bound> {
  readonly #ports = new Map<number, Entry<T>[]>();
  #catchAll: Entry<T>[] = [];

  /** @throws ApiMisuse EADDRINUSE */
  add(item: T): void {
    const entry = { item, ip: parseIp(item.local.ip), wildcard: isWildcard(item.local.ip) };
    const others = item.anyPort ? this.#catchAll : (this.#ports.get(item.local.port) ?? []);
    if (others.some((other) => collide(other, entry))) {
      throw new ApiMisuse(item.anyPort ? 'all ports are taken already' : `${formatAddress(item.local)} is in use`, {
        code: 'EADDRINUSE',
        hint: 'Another listener or endpoint of this stack is bound to it: close that one, or choose another port.',
      });
    }
    if (item.anyPort) this.#catchAll.push(entry);
    else this.#ports.set(item.local.port, [...others, entry]);
  }

  remove(item: T): void {
    if (item.anyPort) {
      this.#catchAll = this.#catchAll.filter((entry) => entry.item !== item);
      return;
    }
    const rest = (this.#ports.get(item.local.port) ?? []).filter((entry) => entry.item !== item);
    if (rest.length === 0) this.#ports.delete(item.local.port);
    else this.#ports.set(item.local.port, rest);
  }

  /** Who answers for an address and port: a binding to that very address before one to all. */
  find(data: Uint8Array, at: number, length: number, port: number): T | undefined {
    const bound = this.#ports.get(port);
    return (bound && best(bound, data, at, length)) ?? best(this.#catchAll, data, at, length);
  }

  isFree(ip: Uint8Array, wildcard: boolean, port: number): boolean {
    return !(this.#ports.get(port) ?? []).some((entry) => entry.wildcard || wildcard || sameIp(entry.ip, ip));
  }

  all(): T[] {
    return [...this.#ports.values(), this.#catchAll].flat().map((entry) => entry.item);
  }
}

export const isWildcard = (ip: string): boolean => ip === '::' || ip === '0.0.0.0';

interface Entry<T> {
  readonly item: T;
  readonly ip: Uint8Array;
  readonly wildcard: boolean;
}

function collide(a: Entry<unknown>, b: Entry<unknown>): boolean {
  const families = a.ip.length === b.ip.length || (a.wildcard && a.ip.length === 16) || (b.wildcard && b.ip.length === 16);
  return families && (a.wildcard === b.wildcard ? a.wildcard || sameIp(a.ip, b.ip) : false);
}

function best<T>(entries: readonly Entry<T>[], data: Uint8Array, at: number, length: number): T | undefined {
  let general: T | undefined;
  for (const { item, ip, wildcard } of entries) {
    if (wildcard) {
      if (ip.length === 16 || length === 4) general ??= item;
    } else if (ip.length === length && sameOctets(ip, 0, data, at, length)) return item;
  }
  return general;
}

const sameIp = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && sameOctets(a, 0, b, 0, a.length);
