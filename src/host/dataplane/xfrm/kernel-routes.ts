import { formatIp, isIpv6, parseIp } from '../../../core/bytes/index.ts';
import type { ChildSaSpec, KernelPolicy } from '../../../core/ike/effects.ts';
import type { TrafficSelector } from '../../../core/wire/payloads/types.ts';
import { addAddress, listAddresses, removeAddress } from '../../platform/linux/netlink/addresses.ts';
import { unlessMissing, unlessThere } from '../../platform/linux/netlink/errors.ts';
import type { IpFamily } from '../../platform/linux/netlink/ip.ts';
import { getLink } from '../../platform/linux/netlink/links.ts';
import { addRoute, listRoutes, type NewRoute, removeRoute, routeTo } from '../../platform/linux/netlink/routes.ts';
import { addRule, listRules, type NewRule, removeRule } from '../../platform/linux/netlink/rules.ts';
import type { NetlinkSocket } from '../../platform/linux/netlink/socket.ts';
import type { ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { ShuntRules, sweepShunts } from '../shunt-rules.ts';
import { isWithin, nowhere, routesTo, sourceFor } from '../tun-routes.ts';
import { XfrmInterfaces } from './interfaces.ts';
import { SHARES, type Share } from './share.ts';

/**
 * Addresses that peers lend to this machine, and routes by which its packets get them. A policy protects what it takes whatever the route; but a
 * packet needs some route, and the right source to be taken. The routes stand in tables of this plane's own, which are asked before the main one.
 * Behind each stands one to nowhere: what fell through to the main table would have another source, and leave in clear. All of it stays when the
 * CHILD_SA goes, and when this process is killed, until the next of these planes sweeps.
 */
export class KernelRoutes {
  readonly #netlink: NetlinkSocket;
  readonly #share: Pick<Share, 'number' | 'abandoned'>;
  readonly #own: OwnAddresses;
  readonly #loopback: number;
  /** On the loopback interface, by us. */
  readonly #given = new Set<string>();
  readonly #children = new Map<number, Wanted>();
  /** By destination. */
  readonly #routes = new Map<string, NewRoute>();
  readonly #peers = new Map<string, NewRoute>();
  readonly #ruled = new Set<IpFamily>();
  readonly #interfaces: XfrmInterfaces;
  readonly #shunts: ShuntRules;

  /**
   * @param addresses inner addresses of our own, as in `DataPlaneOptions`
   * @throws DataPlaneError
   */
  constructor(netlink: NetlinkSocket, share: Pick<Share, 'number' | 'abandoned'>, addresses: readonly string[] = []) {
    this.#netlink = netlink;
    this.#share = share;
    this.#own = new OwnAddresses(addresses);
    this.#interfaces = new XfrmInterfaces(netlink, share.number);
    this.#shunts = new ShuntRules(netlink, this.#table);
    this.#loopback = getLink(netlink, 'lo').index;
    const leftBehind = this.#leftBehind();
    sweepShunts(netlink, (table) => leftBehind.has(shareOfTable(table) ?? NOBODY));
    for (const { ip, protocol } of listAddresses(netlink, this.#loopback))
      if (leftBehind.has(shareOf(protocol) ?? NOBODY)) this.#given.add(ip);
    this.#giveAddresses();
  }

  /** @throws DataPlaneError; nothing of the child is left then */
  install(spec: ChildSaSpec): void {
    // in transport mode the hosts' own addresses talk, by the routes that they have
    if (spec.mode === 'transport') return;
    const link = this.#interfaceOf(spec.packets?.kernel);
    const before = this.#own.all;
    if (this.#own.assign(spec)) {
      this.#giveAddresses();
      this.#takeBack(before.filter((ip) => !this.#own.all.includes(ip)));
    }
    const destinations = routesTo(spec.remoteTs);
    // who was lent an address by us takes it along
    const keep = !destinations.every((prefix) => spec.assigned.includes(prefix.split('/')[0]!));
    this.#children.set(spec.id, { destinations, keep, remote: spec.remote.ip, link });
    try {
      for (const destination of destinations) this.#lead(destination, spec.localTs, spec.remote.ip, link);
      this.#passPeers();
    } catch (error) {
      this.remove(spec.id);
      throw error;
    }
  }

  /** The peer is somewhere else, or we are. @throws DataPlaneError */
  move(child: number, remote: string): void {
    const wanted = this.#children.get(child);
    if (wanted === undefined) return;
    this.#children.set(child, { ...wanted, remote });
    this.#passPeers();
    for (const destination of wanted.destinations) {
      const route = this.#routes.get(destination);
      if (route !== undefined && wanted.link === undefined) this.#point(destination, remote, route.source);
    }
  }

  /** What is to go through an interface of ours is led there before there is an SA. @throws DataPlaneError */
  setTraps(traps: readonly TrapPolicy[]): void {
    for (const { kernel, localTs, remoteTs } of traps) {
      const link = this.#interfaceOf(kernel);
      if (link !== undefined) for (const destination of routesTo(remoteTs)) this.#lead(destination, localTs, undefined, link);
    }
  }

  /** What bypasses the tunnels goes by the routes that the machine has without them. @throws DataPlaneError */
  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#shunts.set(shunts.filter(({ action }) => action === 'bypass'));
  }

  remove(child: number): void {
    const wanted = this.#children.get(child);
    if (wanted === undefined) return;
    this.#children.delete(child);
    const others = [...this.#children.values()].flatMap(({ destinations }) => destinations);
    if (!wanted.keep) for (const destination of wanted.destinations) if (!others.includes(destination)) this.#drop(destination);
    this.#passPeers();
  }

  /** Index of the interface with this address. */
  linkWith(ip: string): number | undefined {
    return listAddresses(this.#netlink).find((address) => address.ip === ip)?.link;
  }

  /** Networks that this machine is on, as prefixes. */
  neighbours(): readonly string[] {
    return listAddresses(this.#netlink)
      .filter(({ link, noPrefixRoute, peer }) => link !== this.#loopback && !noPrefixRoute && peer === undefined)
      .filter(({ ip, prefixLength }) => prefixLength > 0 && prefixLength < (isIpv6(ip) ? 128 : 32))
      .map(({ ip, prefixLength }) => networkOf(ip, prefixLength));
  }

  /** Removes what a former life left behind and this one has no use for. */
  sweep(): void {
    const stale = this.#leftBehind();
    const current = new Set([...this.#routes.values(), ...this.#peers.values()].map(keyOf));
    for (const route of listRoutes(this.#netlink)) {
      const share = shareOfTable(route.table);
      if (share === undefined || !stale.has(share) || current.has(keyOf(route)) || typeof route.type === 'number') continue;
      const { destination, type, table, metric, link } = route;
      unlessMissing(() => removeRoute(this.#netlink, { destination, type, table, metric, ...(link === undefined ? {} : { link }) }));
    }
    const families = new Set(this.#ruled);
    const rules = [...stale].flatMap((share) =>
      FAMILIES.flatMap((family) => (share === this.#share.number && families.has(family) ? [] : rulesOf(share, family))),
    );
    const standing = new Set(listRules(this.#netlink).map((rule) => ruleKey(rule)));
    for (const rule of rules) if (standing.has(ruleKey(rule))) unlessMissing(() => removeRule(this.#netlink, rule));
    this.#takeBack([...this.#given].filter((ip) => !this.#own.all.includes(ip)));
    this.#interfaces.sweep(stale);
  }

  close(): void {
    this.#children.clear();
    for (const destination of [...this.#routes.keys()]) this.#drop(destination);
    this.#passPeers();
    for (const family of this.#ruled)
      for (const rule of rulesOf(this.#share.number, family)) unlessMissing(() => removeRule(this.#netlink, rule));
    this.#takeBack([...this.#given]);
    this.#shunts.close();
    this.#interfaces.close();
  }

  /** The loopback interface has what was lent to us, and nothing else of ours. */
  #giveAddresses(): void {
    const there = new Set(listAddresses(this.#netlink).map(({ ip }) => ip));
    const protocol = OUR_PROTOCOL + this.#share.number;
    for (const ip of this.#own.all) {
      if (there.has(ip)) continue;
      unlessThere(() => addAddress(this.#netlink, { ...this.#address(ip), protocol, withoutDetection: true }));
      this.#given.add(ip);
    }
  }

  #takeBack(addresses: readonly string[]): void {
    for (const ip of addresses) {
      if (!this.#given.delete(ip)) continue;
      unlessMissing(() => removeAddress(this.#netlink, this.#address(ip)));
    }
  }

  /** Only where it changes something: most gateways reach their clients by the routes that they have. */
  #lead(destination: string, localTs: readonly TrafficSelector[], remote: string | undefined, link: number | undefined): void {
    if (this.#routes.has(destination)) return;
    const source = sourceFor(this.#netlink, this.#own.all, localTs, isIpv6(destination));
    if (link !== undefined) return this.#through(link, destination, source);
    if (remote === undefined) return;
    const now = routeTo(this.#netlink, destination.split('/')[0]!);
    const standing = now?.type === 'unicast' && shareOfTable(now.table) === undefined ? now : undefined;
    const lent = source !== undefined && this.#own.all.includes(source);
    if (standing !== undefined && (source === undefined || (!lent && standing.source !== undefined && isWithin(localTs, standing.source))))
      return;
    this.#point(destination, remote, source);
  }

  /** By an interface of ours; when it goes, the route to nowhere is left. */
  #through(link: number, destination: string, source: string | undefined): void {
    addRoute(this.#netlink, { ...this.#keep(destination, source), link }, true);
  }

  /** By the way on which the peer is reached; where that is lost the route to nowhere is left. */
  #point(destination: string, remote: string, source: string | undefined): void {
    const v6 = isIpv6(destination);
    const route = this.#keep(destination, source);
    const via = routeTo(this.#netlink, remote);
    if (via?.type !== 'unicast' || via.link === undefined) return;
    // a packet that no policy takes goes on as if there were no such route
    const gateway = via.gateway !== undefined && isIpv6(via.gateway) === v6 ? { gateway: via.gateway } : {};
    addRoute(this.#netlink, { ...route, ...gateway, link: via.link }, true);
  }

  /** The route to nowhere, and what the one before it has in any case. */
  #keep(destination: string, source: string | undefined): NewRoute {
    this.#rule(isIpv6(destination) ? 6 : 4);
    const base = { destination, table: this.#tableOf(destination), protocol: OUR_PROTOCOL + this.#share.number };
    const route = { ...base, ...(source === undefined ? {} : { source }) };
    this.#routes.set(destination, route);
    addRoute(this.#netlink, { ...nowhere(base), protocol: base.protocol }, true);
    return route;
  }

  #interfaceOf({ ifIdIn, ifIdOut }: KernelPolicy = {}): number | undefined {
    if (ifIdIn !== undefined) this.#interfaces.ensure(ifIdIn);
    return ifIdOut === undefined ? undefined : this.#interfaces.ensure(ifIdOut);
  }

  #drop(destination: string): void {
    const route = this.#routes.get(destination);
    if (route === undefined) return;
    this.#routes.delete(destination);
    const { table, protocol } = route;
    unlessMissing(() => removeRoute(this.#netlink, { destination, table: table!, protocol: protocol!, type: 'unicast', link: 0 }));
    unlessMissing(() => removeRoute(this.#netlink, nowhere(route)));
  }

  /** What the SAs themselves send goes by the main table. */
  #passPeers(): void {
    const remotes = new Set(
      [...this.#children.values()]
        .filter(({ destinations }) => destinations.some((one) => this.#routes.has(one)))
        .map(({ remote }) => remote),
    );
    for (const remote of remotes) {
      for (const table of [this.#table, this.#table + 1]) {
        const route = {
          destination: `${remote}/${isIpv6(remote) ? 128 : 32}`,
          type: 'throw',
          table,
          protocol: OUR_PROTOCOL + this.#share.number,
        } as const;
        if (!this.#peers.has(keyOf(route))) addRoute(this.#netlink, route, true);
        this.#peers.set(keyOf(route), route);
      }
    }
    for (const [key, route] of this.#peers) {
      if (remotes.has(route.destination.split('/')[0]!)) continue;
      this.#peers.delete(key);
      unlessMissing(() => removeRoute(this.#netlink, route));
    }
  }

  #rule(family: IpFamily): void {
    if (this.#ruled.has(family)) return;
    for (const rule of rulesOf(this.#share.number, family)) unlessThere(() => addRule(this.#netlink, rule));
    this.#ruled.add(family);
  }

  get #table(): number {
    return FIRST_TABLE + 2 * this.#share.number;
  }

  /** What is nearer than everything, and everything. */
  #tableOf(destination: string): number {
    return this.#table + (destination.endsWith('/0') ? 1 : 0);
  }

  #address(ip: string) {
    return { link: this.#loopback, ip, prefixLength: isIpv6(ip) ? 128 : 32 };
  }

  /** Shares of which nobody else is. */
  #leftBehind(): ReadonlySet<number> {
    return new Set([this.#share.number, ...this.#share.abandoned()]);
  }
}

interface Wanted {
  readonly destinations: readonly string[];
  /** Its routes stay when it goes. */
  readonly keep: boolean;
  /** Where the peer is, outside. */
  readonly remote: string;
  /** Of the XFRM interface that they lead to. */
  readonly link: number | undefined;
}

/** A tunnel that takes everything leaves the networks alone that this machine is on: they are nearer than a default route. */
const rulesOf = (share: number, family: IpFamily): readonly NewRule[] => [
  { family, priority: FIRST_PRIORITY + share, table: FIRST_TABLE + 2 * share },
  { family, priority: FIRST_PRIORITY + SHARES + share, table: MAIN_TABLE, suppressPrefixLength: 0 },
  { family, priority: FIRST_PRIORITY + 2 * SHARES + share, table: FIRST_TABLE + 2 * share + 1 },
];

const ruleKey = ({ family, priority, table }: Pick<NewRule, 'family' | 'priority' | 'table'>): string => `${family} ${priority} ${table}`;
const keyOf = ({ destination, table }: Pick<NewRoute, 'destination' | 'table'>): string => `${table} ${destination}`;

const shareOf = (protocol: number | undefined): number | undefined => within(protocol === undefined ? -1 : protocol - OUR_PROTOCOL);
const shareOfTable = (table: number): number | undefined => within(Math.floor((table - FIRST_TABLE) / 2));
const within = (share: number): number | undefined => (share >= 0 && share < SHARES ? share : undefined);

function networkOf(ip: string, prefixLength: number): string {
  const octets = parseIp(ip).map((octet, i) => octet & (0xff00 >> Math.min(8, Math.max(0, prefixLength - 8 * i))));
  return `${formatIp(octets)}/${prefixLength}`;
}

const NOBODY = -1;
const FAMILIES = [4, 6] as const;
const MAIN_TABLE = 254;
/** Two for each of these planes. */
const FIRST_TABLE = 44_000;
/** Before the main table (32766), behind those of interfaces of ours. */
const FIRST_PRIORITY = 4510;
/** `rtm_protocol` and `ifa_proto`, one for each of these planes; none that a known routing daemon has. */
const OUR_PROTOCOL = 0xd0;
