import { type Address, compareBytes, formatAddress, parseIp } from '../../core/bytes/index.ts';
import { matchIdentity } from '../../core/pki/identity-pattern.ts';
import { IpProtocol } from '../../core/wire/iana.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import type { BehindNetworks } from '../config/index.ts';

/** A client that is connected. */
export interface Inhabitant {
  readonly id: Identification | undefined;
  readonly connection: string | undefined;
}

export type Carried = 'tcp' | 'udp' | 'icmp';

export interface AllowListOptions {
  readonly rules: readonly Omit<BehindNetworks, 'name'>[];
  /** Who has an inner address; undefined for nobody that is connected. */
  readonly identify: (ip: string) => Inhabitant | undefined;
  /** A client was kept from something; told at most once a second for each. */
  readonly onRefused?:
    | ((what: { readonly id: Identification | undefined; readonly from: string; readonly to: string }) => void)
    | undefined;
}

/** Which clients may reach what behind the gateway: what no rule names nobody reaches. */
export class AllowList {
  readonly #options: AllowListOptions;
  readonly #told = new Map<string, number>();

  constructor(options: AllowListOptions) {
    this.#options = options;
  }

  /** @param to port 0 for echo requests */
  allows(protocol: Carried, from: Address, to: Address): boolean {
    const { identify, rules } = this.#options;
    const who = identify(from.ip);
    const ip = parseIp(to.ip);
    const allowed =
      who !== undefined &&
      rules.some(({ ranges, ...rule }) => ranges.some((range) => holds(range, protocol, ip, to.port)) && isMeant(rule, who));
    if (!allowed) this.#tell(who?.id, from, to);
    return allowed;
  }

  #tell(id: Identification | undefined, from: Address, to: Address): void {
    const { onRefused } = this.#options;
    if (onRefused === undefined) return;
    const now = performance.now();
    if (now - (this.#told.get(from.ip) ?? Number.NEGATIVE_INFINITY) < 1000) return;
    if (this.#told.size >= MOST_TOLD) this.#told.clear();
    this.#told.set(from.ip, now);
    onRefused({ id, from: from.ip, to: formatAddress(to) });
  }
}

function isMeant({ ids, connections }: Pick<BehindNetworks, 'ids' | 'connections'>, { id, connection }: Inhabitant): boolean {
  if (connections.length > 0 && !(connection !== undefined && connections.includes(connection))) return false;
  return ids.length === 0 || (id !== undefined && ids.some((pattern) => matchIdentity(pattern, id)));
}

function holds(range: BehindNetworks['ranges'][number], carried: Carried, ip: Uint8Array, port: number): boolean {
  const { start, end } = range.addresses;
  if (start.length !== ip.length || compareBytes(start, ip) > 0 || compareBytes(ip, end) > 0) return false;
  if (range.protocol === 0) return true;
  return PROTOCOLS[carried].has(range.protocol) && (carried === 'icmp' || (range.startPort <= port && port <= range.endPort));
}

const PROTOCOLS: Readonly<Record<Carried, ReadonlySet<number>>> = {
  tcp: new Set([IpProtocol.TCP]),
  udp: new Set([IpProtocol.UDP]),
  icmp: new Set([IpProtocol.ICMP, IpProtocol.ICMPv6]),
};
const MOST_TOLD = 4096;
