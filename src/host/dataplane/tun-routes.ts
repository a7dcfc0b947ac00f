import { compareBytes, formatIp, isIpv6, rangeToPrefixes, tryParseIp } from '../../core/bytes/index.ts';
import type { ChildSaSpec } from '../../core/ike/effects.ts';
import type { TrafficSelector } from '../../core/wire/payloads/types.ts';
import { addAddress, listAddresses, removeAddress } from '../platform/linux/netlink/addresses.ts';
import { isMissing, isThere } from '../platform/linux/netlink/errors.ts';
import { changeLink } from '../platform/linux/netlink/links.ts';
import { addRoute, type NewRoute, removeRoute } from '../platform/linux/netlink/routes.ts';
import { addRule, type NewRule, removeRule } from '../platform/linux/netlink/rules.ts';
import type { NetlinkSocket } from '../platform/linux/netlink/socket.ts';
import type { TrapPolicy } from './data-plane.ts';

/**
 * Leads packets into a TUN device, and nothing else: routes to what the peers protect stand in tables of their own, which the rules of this
 * device ask before the main table. Packets with our mark, the tunnel's own, pass by. A route that was made once for a connection of ours
 * stays until the device goes, so that what belongs into the tunnel does not leave in clear while there is none; the device drops it.
 */
export class TunRoutes {
  readonly #netlink: NetlinkSocket;
  readonly #link: number;
  readonly #rules: NewRule[] = [];
  /** By destination; how many CHILD_SAs want each. Those of traps and of our own connections have one more. */
  readonly #routes = new Map<string, { wanted: number; keep: boolean; route: NewRoute }>();
  readonly #ofChild = new Map<number, readonly string[]>();
  #addresses: readonly string[] = [];
  #trapped: readonly string[] = [];

  /**
   * @param link index of the device
   * @param mark of the tunnel's own packets
   * @throws DataPlaneError
   */
  constructor(netlink: NetlinkSocket, link: number, mark: number) {
    this.#netlink = netlink;
    this.#link = link;
    for (const family of [4, 6] as const) {
      const past = { family, mark: { value: mark }, inverted: true } as const;
      this.#addRule({ ...past, priority: FIRST_PRIORITY, table: this.#table });
      // a tunnel that takes everything leaves the networks alone that this machine is on (they are nearer than a default route)
      this.#addRule({ ...past, priority: FIRST_PRIORITY + 1, table: MAIN_TABLE, suppressPrefixLength: 0 });
      this.#addRule({ ...past, priority: FIRST_PRIORITY + 2, table: this.#defaultTable });
    }
  }

  /** The device has exactly these addresses. */
  setAddresses(addresses: readonly string[]): void {
    const before = this.#addresses;
    for (const ip of before) if (!addresses.includes(ip)) this.#quietly(() => removeAddress(this.#netlink, this.#address(ip)));
    for (const ip of addresses) if (!before.includes(ip)) this.#once(() => addAddress(this.#netlink, this.#address(ip)));
    this.#addresses = [...addresses];
  }

  setMtu(mtu: number): void {
    changeLink(this.#netlink, this.#link, { mtu });
  }

  install(spec: ChildSaSpec): void {
    const destinations = destinationsOf(spec.remoteTs);
    const source = this.#sourceFor(spec.localTs);
    // who was lent an address by us takes it along
    const keep = !destinations.every((prefix) => spec.assigned.includes(prefix.split('/')[0]!));
    for (const destination of destinations) this.#want(destination, keep, source);
    this.#ofChild.set(spec.id, destinations);
  }

  remove(child: number): void {
    for (const destination of this.#ofChild.get(child) ?? []) this.#release(destination);
    this.#ofChild.delete(child);
  }

  /** Packets for these come to the device before there is an SA. */
  setTraps(traps: readonly TrapPolicy[]): void {
    const wanted = traps.flatMap(({ localTs, remoteTs }) =>
      destinationsOf(remoteTs).map((destination) => ({ destination, source: this.#sourceFor(localTs) })),
    );
    for (const { destination, source } of wanted) this.#want(destination, true, source);
    for (const destination of this.#trapped) this.#release(destination);
    this.#trapped = wanted.map(({ destination }) => destination);
  }

  /** Rules go; routes and addresses go with the device. */
  close(): void {
    for (const rule of this.#rules.splice(0).reverse()) this.#quietly(() => removeRule(this.#netlink, rule));
  }

  get #table(): number {
    return FIRST_TABLE + 2 * this.#link;
  }

  get #defaultTable(): number {
    return this.#table + 1;
  }

  #want(destination: string, keep: boolean, source: string | undefined): void {
    const known = this.#routes.get(destination);
    if (known !== undefined) {
      known.wanted++;
      known.keep ||= keep;
      return;
    }
    const table = destination.endsWith('/0') ? this.#defaultTable : this.#table;
    const route = { destination, table, link: this.#link, ...(source === undefined ? {} : { source }) };
    addRoute(this.#netlink, route, true);
    this.#routes.set(destination, { wanted: 1, keep, route });
  }

  #release(destination: string): void {
    const known = this.#routes.get(destination);
    if (known === undefined || --known.wanted > 0 || known.keep) return;
    this.#routes.delete(destination);
    this.#quietly(() => removeRoute(this.#netlink, known.route));
  }

  /** The address that packets of this machine get, where one of its addresses lies in what the SA takes. */
  #sourceFor(localTs: readonly TrafficSelector[]): string | undefined {
    const fits = (ip: string): boolean => {
      const octets = tryParseIp(ip);
      return octets !== undefined && localTs.some((ts) => 'start' in ts && contains(ts, octets));
    };
    const own = this.#addresses.find(fits);
    if (own !== undefined) return own;
    return listAddresses(this.#netlink)
      .map(({ ip }) => ip)
      .find((ip) => ip !== '127.0.0.1' && ip !== '::1' && fits(ip));
  }

  #address(ip: string) {
    return { link: this.#link, ip, prefixLength: isIpv6(ip) ? 128 : 32 };
  }

  #addRule(rule: NewRule): void {
    this.#once(() => addRule(this.#netlink, rule));
    this.#rules.push(rule);
  }

  /** What a life before left behind serves as well. */
  #once(make: () => void): void {
    try {
      make();
    } catch (error) {
      if (!isThere(error)) throw error;
    }
  }

  #quietly(take: () => void): void {
    try {
      take();
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}

/** The fewest prefixes that cover what the peer protects. */
function destinationsOf(selectors: readonly TrafficSelector[]): readonly string[] {
  const prefixes = selectors.flatMap((ts) =>
    'start' in ts ? rangeToPrefixes(ts).map(({ start, prefix }) => `${formatIp(start)}/${prefix}`) : [],
  );
  return [...new Set(prefixes)];
}

function contains({ start, end }: { readonly start: Uint8Array; readonly end: Uint8Array }, octets: Uint8Array): boolean {
  return start.length === octets.length && compareBytes(start, octets) <= 0 && compareBytes(octets, end) <= 0;
}

const MAIN_TABLE = 254;
/** Two for each device: what is nearer than everything, and everything. */
const FIRST_TABLE = 45_000;
/** Before the main table (32766). */
const FIRST_PRIORITY = 4500;
