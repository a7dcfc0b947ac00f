import { DataPlaneError, formatIp } from '../../core/bytes/index.ts';
import type { IkeSaInfo, Notice } from '../../core/ike/effects.ts';
import { ConfigAttributeType } from '../../core/wire/iana.ts';
import type { ConfigurationAttribute } from '../../core/wire/payloads/types.ts';
import type { Platform } from '../platform/platform.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import type { Lookup } from './gateway-names.ts';
import { type InnerDns, placeOf, resolveInside, resolveOutside } from './inner-dns.ts';

/** What peers told us of names, and who is asked for one. What we told peers is theirs. */
export class InnerNames {
  readonly #told = new Map<number, InnerDns>();
  readonly #infoOf: (ikeSa: number) => Pick<IkeSaInfo, 'assignedToUs'> | undefined;

  constructor(infoOf: (ikeSa: number) => Pick<IkeSaInfo, 'assignedToUs'> | undefined) {
    this.#infoOf = infoOf;
  }

  /** DNS servers (RFC 7296 §3.15.1). */
  get servers(): readonly string[] {
    return [...new Set([...this.#told.values()].flatMap(({ servers }) => servers))];
  }

  /** @returns whether it may have changed something */
  note(notice: Notice): boolean {
    switch (notice.kind) {
      case 'addresses':
        if (this.#infoOf(notice.ikeSa)?.assignedToUs !== true) return false;
        this.#told.set(notice.ikeSa, { servers: serversOf(notice.attributes), domains: domainsOf(notice.splitDns) });
        return true;
      case 'ike-up': {
        const { splitDns } = notice.info;
        if (splitDns) this.#told.set(notice.ikeSa, { servers: splitDns.servers, domains: domainsOf(splitDns) });
        return splitDns !== undefined;
      }
      case 'ike-down':
        return this.#told.delete(notice.ikeSa);
      case 'ike-rekeyed': {
        const known = this.#told.get(notice.from);
        if (known) this.#told.set(notice.to, known);
        return known !== undefined;
      }
      default:
        return false;
    }
  }

  /** @throws DataPlaneError `NO_DNS`, and what `resolveInside` and `resolveOutside` throw */
  async resolve(
    host: string,
    { clock, random }: Pick<Platform, 'clock' | 'random'>,
    driver: StackDriver,
    lookup: Lookup | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const { servers, outside } = placeOf(host, [...this.#told.values()]);
    if (servers.length > 0) return resolveInside(host, { driver, clock, random, servers, signal });
    if (outside) return resolveOutside(host, { lookup, own: driver.stack.addresses });
    throw new DataPlaneError(`${host} cannot be resolved: no peer told us of a DNS server behind the tunnel`, {
      code: 'NO_DNS',
      hint: 'Give the IP address, or let the gateway announce a server (pools: dns).',
    });
  }
}

function serversOf(attributes: readonly ConfigurationAttribute[]): string[] {
  return attributes.flatMap(({ type, value }) => {
    if (type === ConfigAttributeType.INTERNAL_IP4_DNS && value.length === 4) return [formatIp(value)];
    return type === ConfigAttributeType.INTERNAL_IP6_DNS && value.length === 16 ? [formatIp(value)] : [];
  });
}

const domainsOf = (splitDns: IkeSaInfo['splitDns']): readonly string[] => splitDns?.domains.map(({ name }) => name) ?? [];
