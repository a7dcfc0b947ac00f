import { Attributes, MessageWriter, type NetlinkMessage, NLM_F } from './codec.ts';
import { isMissing, type Refusals } from './errors.ts';
import { HostReader } from './host-order.ts';
import { addressFamily } from './ip.ts';
import type { NetlinkSocket } from './socket.ts';

/** A network interface (rtnetlink(7), RTM_NEWLINK). */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `dummy`, `veth`, `xfrm`, `tun`, …; undefined for hardware and loopback. */
  readonly kind: string | undefined;
  readonly mtu: number;
  /** Somebody said that it shall work; */
  readonly up: boolean;
  /** and it does: there is a carrier. */
  readonly running: boolean;
  readonly loopback: boolean;
  /** Of a veth its other end, of an xfrm interface the device beneath, where there is one. */
  readonly lower: number | undefined;
  readonly counters: LinkCounters | undefined;
  /** Of an xfrm interface. */
  readonly ifId: number | undefined;
}

export interface LinkCounters {
  readonly receivedPackets: bigint;
  readonly sentPackets: bigint;
  readonly receivedOctets: bigint;
  readonly sentOctets: bigint;
  readonly receiveDrops: bigint;
  readonly sendDrops: bigint;
}

export type NewLink = { readonly name: string; readonly mtu?: number } & (
  | { readonly kind: 'dummy' }
  /** @see LinkChange.namespace: the peer is moved there by its own name */
  | { readonly kind: 'veth'; readonly peer: string }
  /** Packets routed to it fit only policies of the same `ifId`, and only SAs of the same come out of it. Linux 4.19. */
  | { readonly kind: 'xfrm'; readonly ifId: number; readonly lower?: number }
);

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  /** Packets that wait for it. */
  readonly queueLength?: number;
  readonly name?: string;
  /** false: it gets no link-local address (RFC 4862 §5.3) when it comes up, and so asks for no routers. */
  readonly linkLocal?: false;
  /** A descriptor of another network namespace, to which it moves. */
  readonly namespace?: number;
}

/** Makes a link and gives it as it is then. @throws DataPlaneError `KERNEL_ENTRY_EXISTS`, or `KERNEL_LACKS_FEATURE` for an unknown kind */
export function createLink(socket: NetlinkSocket, link: NewLink): Link {
  const request = linkRequest(RTM.NEWLINK, NLM_F.CREATE | NLM_F.EXCL, 0).attributeText(IFLA.IFNAME, link.name);
  if (link.mtu !== undefined) request.attributeU32(IFLA.MTU, link.mtu);
  request.nested(IFLA.LINKINFO, (info) => {
    info.attributeText(IFLA_INFO.KIND, link.kind);
    if (link.kind === 'veth') {
      info.nested(IFLA_INFO.DATA, (data) => data.nested(VETH_INFO_PEER, (peer) => peer.zero(16).attributeText(IFLA.IFNAME, link.peer)));
    } else if (link.kind === 'xfrm') {
      info.nested(IFLA_INFO.DATA, (data) => {
        if (link.lower !== undefined) data.attributeU32(IFLA_XFRM.LINK, link.lower);
        data.attributeU32(IFLA_XFRM.IF_ID, link.ifId);
      });
    }
  });
  socket.request(request, { attempt: `make the ${link.kind} interface ${link.name}`, refusals: UNKNOWN_KIND[link.kind] ?? {} });
  return getLink(socket, link.name);
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function changeLink(socket: NetlinkSocket, index: number, change: LinkChange): void {
  const flags = change.up === undefined ? 0 : change.up ? IFF.UP : 0;
  const request = linkRequest(RTM.NEWLINK, 0, index, flags, change.up === undefined ? 0 : IFF.UP);
  if (change.mtu !== undefined) request.attributeU32(IFLA.MTU, change.mtu);
  if (change.queueLength !== undefined) request.attributeU32(IFLA.TXQLEN, change.queueLength);
  if (change.name !== undefined) request.attributeText(IFLA.IFNAME, change.name);
  if (change.linkLocal === false)
    request.nested(IFLA.AF_SPEC, (families) =>
      families.nested(addressFamily(6), (inet6) => inet6.attributeU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
    );
  if (change.namespace !== undefined) request.attributeU32(IFLA.NET_NS_FD, change.namespace);
  socket.request(request, { attempt: `change interface ${index} (${Object.keys(change).join(', ')})` });
}

export function deleteLink(socket: NetlinkSocket, index: number): void {
  socket.request(linkRequest(RTM.DELLINK, 0, index), { attempt: `delete interface ${index}` });
}

export function listLinks(socket: NetlinkSocket): Link[] {
  return socket
    .dump(linkRequest(RTM.GETLINK, 0, 0), { attempt: 'list the interfaces' })
    .flatMap((message) => (message.type === RTM.NEWLINK ? parseLink(message) : []));
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function getLink(socket: NetlinkSocket, which: string | number): Link {
  const request = linkRequest(RTM.GETLINK, 0, typeof which === 'number' ? which : 0);
  if (typeof which === 'string') request.attributeText(IFLA.IFNAME, which);
  const [answer] = socket.request(request, { attempt: `look up interface ${which}` });
  return parseLink(answer!);
}

export function findLink(socket: NetlinkSocket, which: string | number): Link | undefined {
  try {
    return getLink(socket, which);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** RTM_NEWLINK and RTM_DELLINK. */
export function parseLink({ body }: NetlinkMessage): Link {
  const head = new HostReader(body, 'ifinfomsg').skip(4);
  const [index, flags] = [head.u32(), head.u32()];
  const attributes = Attributes.parse(head.skip(4).rest());
  const info = attributes.nested(IFLA.LINKINFO);
  const kind = info?.text(IFLA_INFO.KIND);
  return {
    index,
    name: attributes.text(IFLA.IFNAME) ?? '',
    kind,
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    up: (flags & IFF.UP) !== 0,
    running: (flags & IFF.RUNNING) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    lower: attributes.u32(IFLA.LINK) || undefined,
    counters: countersOf(attributes),
    ifId: kind === 'xfrm' ? info?.nested(IFLA_INFO.DATA)?.u32(IFLA_XFRM.IF_ID) : undefined,
  };
}

/** The beginning of `struct rtnl_link_stats64`. */
function countersOf(attributes: Attributes): LinkCounters | undefined {
  const stats = attributes.reader(IFLA.STATS64);
  if (stats === undefined) return undefined;
  const [receivedPackets, sentPackets, receivedOctets, sentOctets] = [stats.u64(), stats.u64(), stats.u64(), stats.u64()];
  stats.skip(16);
  return { receivedPackets, sentPackets, receivedOctets, sentOctets, receiveDrops: stats.u64(), sendDrops: stats.u64() };
}

/** `struct ifinfomsg`. */
const linkRequest = (type: number, mode: number, index: number, flags = 0, change = 0): MessageWriter =>
  new MessageWriter(type, mode).zero(4).u32(index).u32(flags).u32(change);

const UNKNOWN_KIND: Readonly<Record<string, Refusals>> = {
  xfrm: {
    EOPNOTSUPP: {
      code: 'KERNEL_LACKS_XFRM_INTERFACE',
      why: 'this kernel has no xfrm interfaces',
      hint: 'Load them with `modprobe xfrm_interface` (Linux 4.19 or later, CONFIG_XFRM_INTERFACE), or leave them out of the configuration.',
    },
  },
};

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
} as const;
const IFLA = { IFNAME: 3, MTU: 4, LINK: 5, TXQLEN: 13, LINKINFO: 18, STATS64: 23, AF_SPEC: 26, NET_NS_FD: 28 } as const;
const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
const IFLA_XFRM = { LINK: 1, IF_ID: 2 } as const;
const VETH_INFO_PEER = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFF = { UP: 0x1, LOOPBACK: 0x8, RUNNING: 0x40 } as const;
