import { Attributes, MessageWriter, type NetlinkMessage, NLM_F } from './codec.ts';
import { HostReader } from './host-order.ts';
import { AF_UNSPEC, addressFamily, ipFamily, ipOf, ofFamily, parsePrefix } from './ip.ts';
import { RTM } from './links.ts';
import type { NetlinkSocket } from './socket.ts';

/** An address of an interface (rtnetlink(7), RTM_NEWADDR). */
export interface InterfaceAddress {
  readonly link: number;
  readonly ip: string;
  readonly prefixLength: number;
  /** The other end of a point-to-point link, where it has an address of its own. */
  readonly peer: string | undefined;
  readonly scope: 'global' | 'site' | 'link' | 'host' | 'nowhere' | number;
  /** Its network is reached by no route that came with it. */
  readonly noPrefixRoute: boolean;
  /** IPv6: still looked for on the link (RFC 4862 §5.4), or found to be somebody else's. */
  readonly tentative: boolean;
  readonly duplicate: boolean;
  /** No new connections should begin from it (RFC 4862 §5.5.4). */
  readonly deprecated: boolean;
  /** Who made it, as of routes; undefined where nobody said, and before Linux 5.18. */
  readonly protocol: number | undefined;
}

export interface NewAddress {
  readonly link: number;
  readonly ip: string;
  /** That of a single address unless given. */
  readonly prefixLength?: number;
  readonly peer?: string;
  /** The kernel makes no route to the network of the prefix: the address of a tunnel says nothing about who is on the link. */
  readonly noPrefixRoute?: boolean;
  /** IPv6: usable at once. There is nobody behind a tunnel device who could have it, too. */
  readonly withoutDetection?: boolean;
  /** A number of one's own finds again what a former run left behind, from Linux 5.18 on. */
  readonly protocol?: number;
}

/** @throws DataPlaneError `KERNEL_ENTRY_EXISTS` */
export function addAddress(socket: NetlinkSocket, address: NewAddress): void {
  const request = addressRequest(RTM.NEWADDR, NLM_F.CREATE | NLM_F.EXCL, address);
  const flags = (address.noPrefixRoute ? IFA_F.NOPREFIXROUTE : 0) | (address.withoutDetection ? IFA_F.NODAD : 0);
  if (flags !== 0) request.attributeU32(IFA.FLAGS, flags);
  if (address.protocol !== undefined) request.attribute(IFA.PROTO, Uint8Array.of(address.protocol));
  socket.request(request, { attempt: `add the address ${address.ip} to interface ${address.link}` });
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function removeAddress(socket: NetlinkSocket, address: Pick<NewAddress, 'link' | 'ip' | 'prefixLength' | 'peer'>): void {
  const request = addressRequest(RTM.DELADDR, 0, address);
  socket.request(request, { attempt: `remove the address ${address.ip} from interface ${address.link}` });
}

/** Of all interfaces, or of one. */
export function listAddresses(socket: NetlinkSocket, link?: number): InterfaceAddress[] {
  return socket
    .dump(new MessageWriter(RTM.GETADDR).u8(AF_UNSPEC).zero(7), { attempt: 'list the addresses' })
    .flatMap((message) => (message.type === RTM.NEWADDR ? (parseAddress(message) ?? []) : []))
    .filter((address) => link === undefined || address.link === link);
}

/** RTM_NEWADDR and RTM_DELADDR; undefined for another family than IP. */
export function parseAddress({ body }: NetlinkMessage): InterfaceAddress | undefined {
  const head = new HostReader(body, 'ifaddrmsg');
  const [family, prefixLength, flags, scope, link] = [head.u8(), head.u8(), head.u8(), head.u8(), head.u32()];
  const attributes = Attributes.parse(head.rest());
  // IPv4 gives its own as LOCAL and the other end's as ADDRESS, IPv6 only does where there is another end
  const address = ipOf(attributes.bytes(IFA.ADDRESS));
  const ip = ipOf(attributes.bytes(IFA.LOCAL)) ?? address;
  if (ipFamily(family) === undefined || ip === undefined) return undefined;
  const all = attributes.u32(IFA.FLAGS) ?? flags;
  return {
    link,
    ip,
    prefixLength,
    peer: address === ip ? undefined : address,
    scope: SCOPES[scope] ?? scope,
    noPrefixRoute: (all & IFA_F.NOPREFIXROUTE) !== 0,
    tentative: (all & IFA_F.TENTATIVE) !== 0,
    duplicate: (all & IFA_F.DADFAILED) !== 0,
    deprecated: (all & IFA_F.DEPRECATED) !== 0,
    protocol: attributes.bytes(IFA.PROTO)?.[0],
  };
}

/** `struct ifaddrmsg`. */
function addressRequest(type: number, mode: number, { link, ip, prefixLength, peer }: NewAddress): MessageWriter {
  const { family, address: local, length } = parsePrefix(ip);
  return new MessageWriter(type, mode)
    .u8(addressFamily(family))
    .u8(prefixLength ?? length)
    .zero(2)
    .u32(link)
    .attribute(IFA.LOCAL, local)
    .attribute(IFA.ADDRESS, peer === undefined ? local : ofFamily(peer, family));
}

const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8, PROTO: 11 } as const;
const IFA_F = { NODAD: 0x02, DADFAILED: 0x08, DEPRECATED: 0x20, TENTATIVE: 0x40, NOPREFIXROUTE: 0x200 } as const;
const SCOPES: Readonly<Record<number, 'global' | 'site' | 'link' | 'host' | 'nowhere'>> = {
  0: 'global',
  200: 'site',
  253: 'link',
  254: 'host',
  255: 'nowhere',
};
