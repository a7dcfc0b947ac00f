import { ApiMisuse, DataPlaneError, formatIp } from '../../../../core/bytes/index.ts';
import { Attributes, MessageWriter, type NetlinkMessage, NLM_F } from './codec.ts';
import { HostReader } from './host-order.ts';
import { AF_UNSPEC, addressFamily, anyOf, familyOf, formatPrefix, type IpFamily, ipFamily, ipOf, ofFamily, parsePrefix } from './ip.ts';
import { RTM } from './links.ts';
import type { NetlinkSocket } from './socket.ts';

/** `unreachable`, `prohibit` (both answer by ICMP) and `blackhole` (silent) drop what has no tunnel; `throw` goes on to the next rule. */
export type RouteType = 'unicast' | 'local' | 'blackhole' | 'unreachable' | 'prohibit' | 'throw';

export interface NewRoute {
  /** `10.2.0.0/16`, `2001:db8::/32`, `0.0.0.0/0`. */
  readonly destination: string;
  /** `unicast` unless given. */
  readonly type?: RouteType;
  /** 254, the main table, unless given. */
  readonly table?: number;
  /** The lower goes first. The kernel's own choice (0, in IPv6 1024) unless given. */
  readonly metric?: number;
  readonly link?: number;
  readonly gateway?: string;
  /** The address that this machine's own packets get. */
  readonly source?: string;
  readonly mtu?: number;
  /** The segment size that TCP announces on this route. */
  readonly advertisedMss?: number;
  /** Who makes it: see `Route.protocol`. 4 unless given; a number of one's own finds again what a former run left behind. */
  readonly protocol?: number;
}

export interface Route {
  readonly family: IpFamily;
  readonly destination: string;
  readonly type: RouteType | number;
  readonly table: number;
  readonly metric: number;
  readonly link: number | undefined;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
  readonly mtu: number | undefined;
  readonly advertisedMss: number | undefined;
  /** Who made it (`/etc/iproute2/rt_protos`): 2 the kernel, 3 boot, 4 an administrator or a program. */
  readonly protocol: number;
  /** It goes over several links at once, which are not listed. */
  readonly multipath: boolean;
}

/** Where packets to one destination go. */
export interface PathTo {
  readonly type: RouteType | number;
  readonly link: number | undefined;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
  /** Of the route or, where it was learned, of the path. */
  readonly mtu: number | undefined;
  /** 0 where the kernel does not say: of a route that drops. */
  readonly table: number;
}

/** @param replace whatever stands there for the same destination, table and metric. @throws DataPlaneError `KERNEL_ENTRY_EXISTS`, `NO_ROUTE` */
export function addRoute(socket: NetlinkSocket, route: NewRoute, replace = false): void {
  const request = routeRequest(RTM.NEWROUTE, NLM_F.CREATE | (replace ? NLM_F.REPLACE : NLM_F.EXCL), route);
  if (route.mtu !== undefined || route.advertisedMss !== undefined) {
    request.nested(RTA.METRICS, (metrics) => {
      if (route.mtu !== undefined) metrics.attributeU32(RTAX.MTU, route.mtu);
      if (route.advertisedMss !== undefined) metrics.attributeU32(RTAX.ADVMSS, route.advertisedMss);
    });
  }
  socket.request(request, { attempt: `add ${describe(route)}` });
}

/** Removes the one that fits all that is given. @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function removeRoute(socket: NetlinkSocket, route: NewRoute): void {
  socket.request(routeRequest(RTM.DELROUTE, 0, route), { attempt: `remove ${describe(route)}` });
}

/** Without those that the kernel keeps for its own addresses, unless their table (255) is asked for. */
export function listRoutes(socket: NetlinkSocket, filter: { readonly family?: IpFamily; readonly table?: number } = {}): Route[] {
  const family = filter.family === undefined ? AF_UNSPEC : addressFamily(filter.family);
  return socket
    .dump(new MessageWriter(RTM.GETROUTE).u8(family).zero(11), { attempt: 'list the routes' })
    .flatMap((message) => (message.type === RTM.NEWROUTE ? (parseRoute(message) ?? []) : []))
    .filter((route) => (filter.table === undefined ? route.table !== RT_TABLE_LOCAL : route.table === filter.table));
}

/**
 * Asks the kernel by which way, and from which address, it would send to `destination`, as its rules are now.
 * @returns undefined when it has no route. A route that drops is one: see `type`
 */
export function routeTo(
  socket: NetlinkSocket,
  destination: string,
  from: { readonly source?: string; readonly mark?: number; readonly link?: number } = {},
): PathTo | undefined {
  const family = familyOf(destination);
  const octets = ofFamily(destination, family);
  const request = new MessageWriter(RTM.GETROUTE)
    .u8(addressFamily(family))
    .u8(8 * octets.length)
    .u8(from.source === undefined ? 0 : 8 * octets.length)
    .zero(5)
    .u32(RTM_F_LOOKUP_TABLE)
    .attribute(RTA.DST, octets);
  if (from.source !== undefined) request.attribute(RTA.SRC, ofFamily(from.source, family));
  if (from.mark !== undefined) request.attributeU32(RTA.MARK, from.mark);
  if (from.link !== undefined) request.attributeU32(RTA.OIF, from.link);
  try {
    const [answer] = socket.request(request, { attempt: `look up the route to ${destination}` });
    const route = answer && parseRoute(answer);
    return (
      route && { type: route.type, link: route.link, gateway: route.gateway, source: route.source, mtu: route.mtu, table: route.table }
    );
  } catch (error) {
    const errno = error instanceof DataPlaneError ? error.errno : undefined;
    if (errno === 'ENETUNREACH') return undefined;
    // a source that is not ours is refused by the same number as a black hole
    const type = errno === 'EINVAL' && from.source !== undefined ? undefined : DROPPED[errno ?? ''];
    if (type === undefined) throw error;
    return { type, link: undefined, gateway: undefined, source: undefined, mtu: undefined, table: RT_TABLE_UNSPEC };
  }
}

/** RTM_NEWROUTE and RTM_DELROUTE; undefined for another family than IP. */
export function parseRoute({ body }: NetlinkMessage): Route | undefined {
  const head = new HostReader(body, 'rtmsg');
  const [family, length] = [ipFamily(head.u8()), head.u8()];
  const [table, protocol, , type] = [head.skip(2).u8(), head.u8(), head.u8(), head.u8()];
  const attributes = Attributes.parse(head.skip(4).rest());
  if (family === undefined) return undefined;
  const destination = attributes.bytes(RTA.DST) ?? anyOf(family);
  const metrics = attributes.nested(RTA.METRICS);
  return {
    family,
    destination: formatPrefix(destination, length),
    type: TYPE_NAMES.get(type) ?? type,
    table: attributes.u32(RTA.TABLE) ?? table,
    metric: attributes.u32(RTA.PRIORITY) ?? 0,
    link: attributes.u32(RTA.OIF),
    gateway: ipOf(attributes.bytes(RTA.GATEWAY)) ?? viaOf(attributes.bytes(RTA.VIA)),
    source: ipOf(attributes.bytes(RTA.PREFSRC)),
    mtu: metrics?.u32(RTAX.MTU),
    advertisedMss: metrics?.u32(RTAX.ADVMSS),
    protocol,
    multipath: attributes.has(RTA.MULTIPATH),
  };
}

/** `struct rtmsg`. */
function routeRequest(type: number, mode: number, route: NewRoute): MessageWriter {
  const { family, address, length } = parsePrefix(route.destination);
  const kind = route.type ?? 'unicast';
  const table = route.table ?? RT_TABLE_MAIN;
  if (kind === 'unicast' && route.link === undefined && route.gateway === undefined)
    throw new ApiMisuse(`the route to ${route.destination} needs an interface or a gateway`);
  const request = new MessageWriter(type, mode)
    .u8(addressFamily(family))
    .u8(length)
    .zero(2)
    .u8(table < 256 ? table : RT_TABLE_UNSPEC)
    .u8(route.protocol ?? (type === RTM.DELROUTE ? RTPROT_UNSPEC : RTPROT_STATIC))
    .u8(type === RTM.DELROUTE ? RT_SCOPE_NOWHERE : scopeOf(kind, route))
    .u8(TYPES[kind])
    .zero(4);
  if (length > 0) request.attribute(RTA.DST, address);
  request.attributeU32(RTA.TABLE, table);
  if (route.metric !== undefined) request.attributeU32(RTA.PRIORITY, route.metric);
  if (route.link !== undefined) request.attributeU32(RTA.OIF, route.link);
  if (route.gateway !== undefined) request.attribute(RTA.GATEWAY, ofFamily(route.gateway, family));
  if (route.source !== undefined) request.attribute(RTA.PREFSRC, ofFamily(route.source, family));
  return request;
}

const scopeOf = (type: RouteType, { gateway }: NewRoute): number =>
  type === 'local' ? RT_SCOPE_HOST : type === 'unicast' && gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;

const describe = ({ destination, type, table }: NewRoute): string =>
  `the ${type === undefined || type === 'unicast' ? '' : `${type} `}route to ${destination}${table === undefined ? '' : ` in table ${table}`}`;

/** `struct rtvia`: a gateway of another family. */
function viaOf(octets: Uint8Array | undefined): string | undefined {
  return octets && (octets.length === 6 || octets.length === 18) ? formatIp(octets.subarray(2)) : undefined;
}

/** The errno by which a lookup says that a route drops. */
const DROPPED: Readonly<Record<string, RouteType | undefined>> = { EHOSTUNREACH: 'unreachable', EACCES: 'prohibit', EINVAL: 'blackhole' };

const TYPES: Readonly<Record<RouteType, number>> = { unicast: 1, local: 2, blackhole: 6, unreachable: 7, prohibit: 8, throw: 9 };
const TYPE_NAMES: ReadonlyMap<number, RouteType> = new Map(Object.entries(TYPES).map(([name, number]) => [number, name as RouteType]));
const RTA = {
  DST: 1,
  SRC: 2,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  MARK: 16,
  VIA: 18,
} as const;
const RTAX = { MTU: 2, ADVMSS: 8 } as const;
/** The answer names the table in which the route was found. */
const RTM_F_LOOKUP_TABLE = 0x1000;
const RT_TABLE_UNSPEC = 0;
const RT_TABLE_MAIN = 254;
const RT_TABLE_LOCAL = 255;
const RTPROT_UNSPEC = 0;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
const RT_SCOPE_NOWHERE = 255;
