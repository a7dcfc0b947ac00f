import { compareBytes, DataPlaneError, formatIp, isIpv6, rangeToPrefixes, tryParseIp } from '../../core/bytes/index.ts';
import type { ChildSaSpec } from '../../core/ike/effects.ts';
import type { TrafficSelector } from '../../core/wire/payloads/types.ts';
import { addAddress, listAddresses, removeAddress } from '../platform/linux/netlink/addresses.ts';
import { unlessMissing, unlessThere } from '../platform/linux/netlink/errors.ts';
import { findLink } from '../platform/linux/netlink/links.ts';
import { addRoute, listRoutes, type NewRoute, removeRoute } from '../platform/linux/netlink/routes.ts';
import { addRule, listRules, type NewRule, removeRule } from '../platform/linux/netlink/rules.ts';
import type { NetlinkSocket } from '../platform/linux/netlink/socket.ts';
import type { TrapPolicy } from './data-plane.ts';
import { sweepShunts } from './shunt-rules.ts';

/**
 * Leads packets into a TUN device, and nothing else: routes to what the peers protect stand in tables of their own, which the rules of this
 * device ask before the main table. Packets with our mark, the tunnel's own, pass by. A route that was made once for a connection of ours
 * stays until the device goes, so that what belongs into the tunnel does not leave in clear while there is none; the device drops it. Behind
 * each stands a route to nowhere: should this process be killed, the device goes and its routes with it, and those remain until the next one
 * sweeps them away.
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
    sweep(netlink);
    for (const family of [4, 6] as const) {
      const past = { family, mark: { value: mark }, inverted: true } as const;
      this.#addRule({ ...past, priority: FIRST_PRIORITY, table: this.table });
      unlessThere(() => addRule(netlink, { ...past, ...SHARED }));
      this.#addRule({ ...past, priority: FIRST_PRIORITY + 2, table: this.#defaultTable });
    }
  }

  /** The device has exactly these addresses. */
  setAddresses(addresses: readonly string[]): void {
    const before = this.#addresses;
    for (const ip of before) if (!addresses.includes(ip)) unlessMissing(() => removeAddress(this.#netlink, this.#address(ip)));
    for (const ip of addresses)
      if (!before.includes(ip)) unlessThere(() => addAddress(this.#netlink, { ...this.#address(ip), withoutDetection: true }));
    this.#addresses = [...addresses];
  }

  install(spec: ChildSaSpec): void {
    const destinations = routesTo(spec.remoteTs);
    // who was lent an address by us takes it along
    const keep = !destinations.every((prefix) => spec.assigned.includes(prefix.split('/')[0]!));
    const wanted: string[] = [];
    this.#ofChild.set(spec.id, wanted);
    try {
      for (const destination of destinations) {
        this.#want(destination, keep, spec.localTs);
        wanted.push(destination);
      }
    } catch (error) {
      this.remove(spec.id);
      throw error;
    }
  }

  remove(child: number): void {
    for (const destination of this.#ofChild.get(child) ?? []) this.#release(destination);
    this.#ofChild.delete(child);
  }

  /** Packets for these come to the device before there is an SA. */
  setTraps(traps: readonly TrapPolicy[]): void {
    const wanted = traps.flatMap(({ localTs, remoteTs }) => destinationsOf(remoteTs).map((destination) => ({ destination, localTs })));
    for (const { destination, localTs } of wanted) this.#want(destination, true, localTs);
    for (const destination of this.#trapped) this.#release(destination);
    this.#trapped = wanted.map(({ destination }) => destination);
  }

  /** Rules go, and the routes to nowhere; the others and the addresses go with the device. */
  close(): void {
    for (const rule of this.#rules.splice(0)) unlessMissing(() => removeRule(this.#netlink, rule));
    for (const { route } of this.#routes.values()) unlessMissing(() => removeRoute(this.#netlink, nowhere(route)));
    this.#routes.clear();
    dropShared(this.#netlink);
  }

  /** By which what is the device's among the kernel's rules is known. */
  get table(): number {
    return FIRST_TABLE + 2 * this.#link;
  }

  get #defaultTable(): number {
    return this.table + 1;
  }

  #want(destination: string, keep: boolean, localTs: readonly TrafficSelector[]): void {
    const known = this.#routes.get(destination);
    if (known !== undefined) {
      known.wanted++;
      known.keep ||= keep;
      return;
    }
    const source = sourceFor(this.#netlink, this.#addresses, localTs, isIpv6(destination));
    const table = destination.endsWith('/0') ? this.#defaultTable : this.table;
    const route = { destination, table, link: this.#link, ...(source === undefined ? {} : { source }) };
    addRoute(this.#netlink, nowhere(route), true);
    addRoute(this.#netlink, route, true);
    this.#routes.set(destination, { wanted: 1, keep, route });
  }

  #release(destination: string): void {
    const known = this.#routes.get(destination);
    if (known === undefined || --known.wanted > 0 || known.keep) return;
    this.#routes.delete(destination);
    unlessMissing(() => removeRoute(this.#netlink, known.route));
    unlessMissing(() => removeRoute(this.#netlink, nowhere(known.route)));
  }

  #address(ip: string) {
    return { link: this.#link, ip, prefixLength: isIpv6(ip) ? 128 : 32 };
  }

  #addRule(rule: NewRule): void {
    unlessThere(() => addRule(this.#netlink, rule));
    this.#rules.push(rule);
  }
}

/**
 * The destinations of the routes that a CHILD_SA needs.
 * @throws DataPlaneError `TOO_MANY_ROUTES`: the peer may have chosen the ranges
 */
export function routesTo(selectors: readonly TrafficSelector[]): readonly string[] {
  const destinations = destinationsOf(selectors);
  if (destinations.length <= MOST_ROUTES) return destinations;
  throw new DataPlaneError(`what the peer protects needs ${destinations.length} routes, and a CHILD_SA gets ${MOST_ROUTES} at most`, {
    code: 'TOO_MANY_ROUTES',
    backend: 'tun',
    hint: 'Let remote_ts be networks in place of ranges of addresses: 10.0.0.0/8, not 10.0.0.1-10.255.255.254.',
  });
}

/** The address that packets of this machine get, where one of its addresses lies in what the SA takes; those of `first` before others. */
export function sourceFor(
  netlink: NetlinkSocket,
  first: readonly string[],
  localTs: readonly TrafficSelector[],
  v6: boolean,
): string | undefined {
  const fits = (ip: string): boolean => isIpv6(ip) === v6 && !NOT_A_SOURCE.test(ip) && isWithin(localTs, ip);
  return [...first, ...listAddresses(netlink).map(({ ip }) => ip)].find(fits);
}

export function isWithin(selectors: readonly TrafficSelector[], ip: string): boolean {
  const octets = tryParseIp(ip);
  return octets !== undefined && selectors.some((ts) => 'start' in ts && contains(ts, octets));
}

/** What lives before ours left behind that could not tidy up: rules and routes of devices that are gone. */
function sweep(netlink: NetlinkSocket): void {
  const stale = new Set(tablesInUse(netlink).filter((table) => findLink(netlink, linkOf(table)) === undefined));
  if (stale.size === 0) return;
  sweepShunts(netlink, (table) => stale.has(table));
  for (const { family, priority, table, mark, inverted } of listRules(netlink))
    if (stale.has(table))
      unlessMissing(() => removeRule(netlink, { family, priority, table, inverted, ...(mark === undefined ? {} : { mark }) }));
  for (const { destination, type, table, metric } of listRoutes(netlink))
    if (stale.has(table) && type === 'unreachable') unlessMissing(() => removeRoute(netlink, { destination, type, table, metric }));
  dropShared(netlink);
}

/** The one rule that all devices have in common goes with the last of them. */
function dropShared(netlink: NetlinkSocket): void {
  if (tablesInUse(netlink).length > 0) return;
  for (const { family, mark, inverted, priority, table } of listRules(netlink))
    if (priority === SHARED.priority && table === SHARED.table && inverted && mark !== undefined)
      unlessMissing(() => removeRule(netlink, { family, mark, inverted, ...SHARED }));
}

const tablesInUse = (netlink: NetlinkSocket): readonly number[] =>
  listRules(netlink)
    .filter(({ inverted, mark, priority }) => inverted && mark !== undefined && OWN_PRIORITIES.includes(priority))
    .map(({ table }) => table)
    .filter((table) => table >= FIRST_TABLE && table < LAST_TABLE);

const linkOf = (table: number): number => Math.floor((table - FIRST_TABLE) / 2);

/** Local programs hear at once that there is no way. */
export const nowhere = ({ destination, table }: NewRoute): NewRoute => ({
  destination,
  type: 'unreachable',
  metric: LAST_METRIC,
  ...(table === undefined ? {} : { table }),
});

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

/** A range that begins and ends oddly is a route for each bit of an address, twice. */
const MOST_ROUTES = 512;
/** Loopback and link-local addresses lead nowhere else. */
const NOT_A_SOURCE = /^(127\.|169\.254\.|::1$|fe[89ab])/;
const MAIN_TABLE = 254;
/** Two for each device: what is nearer than everything, and everything. */
const FIRST_TABLE = 45_000;
const LAST_TABLE = 65_000;
const LAST_METRIC = 0xffff_fff0;
/** Before the main table (32766). */
const FIRST_PRIORITY = 4500;
const OWN_PRIORITIES: readonly number[] = [FIRST_PRIORITY, FIRST_PRIORITY + 2];
/** A tunnel that takes everything leaves the networks alone that this machine is on: they are nearer than a default route. */
const SHARED = { priority: FIRST_PRIORITY + 1, table: MAIN_TABLE, suppressPrefixLength: 0 } as const;
