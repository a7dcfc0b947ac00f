import { formatIp } from '../../core/bytes/ip-address.ts';
import { getU16, getU32, IpProtocol as Ip, IpView } from '../../core/packet/index.ts';
import { IpProtocol, nameOf } from '../../core/wire/iana.ts';
import { octets } from './octets.ts';

/** What ESP carried, on one line: `10.1.0.1 → 10.2.0.1 ICMP echo request 3, 84 octets`. @param protocol the Next Header */
export function describeInner(protocol: number, data: Uint8Array): string {
  if (protocol === Ip.IPV6_NONXT) return `dummy packet, ${octets(data.length)}`;
  if (protocol !== Ip.IPV4 && protocol !== Ip.IPV6) return describeTransport(protocol, data, '', '');
  const view = new IpView();
  if (!view.parse(data)) return `${nameOf(IpProtocol, protocol)} packet that does not parse, ${octets(data.length)}`;
  const at = (offset: number): string => formatIp(data.subarray(offset, offset + view.addressLength));
  const payload = data.subarray(view.payload, view.end);
  const [source, destination] = [at(view.sourceAt), at(view.destinationAt)];
  if (view.fragment)
    return `${source} → ${destination} ${nameOf(IpProtocol, view.protocol)} fragment from ${view.fragmentOffset} on, ${octets(view.end)}`;
  return `${describeTransport(view.protocol, payload, source, destination)}, ${octets(view.end)}`;
}

/** Ports and flags of what stands behind an IP header; the addresses go before them, where there are any. */
export function describeTransport(protocol: number, data: Uint8Array, source: string, destination: string): string {
  const ends = (from = '', to = ''): string =>
    source === '' ? `${from.slice(1)} → ${to.slice(1)}` : `${source}${from} → ${destination}${to}`;
  const plain = source === '' ? '' : `${ends()} `;
  if ((protocol === Ip.TCP || protocol === Ip.UDP) && data.length >= 8) {
    const from = `:${getU16(data, 0)}`;
    const to = `:${getU16(data, 2)}`;
    return `${ends(from, to)} ${protocol === Ip.UDP ? 'UDP' : `TCP ${tcpFlags(data[13] ?? 0)}`}`;
  }
  if (protocol === Ip.ICMP && data.length >= 8) return `${plain}ICMP ${icmp(ICMP_TYPES, 8, 0, data)}`;
  if (protocol === Ip.IPV6_ICMP && data.length >= 8) return `${plain}ICMPv6 ${icmp(ICMPV6_TYPES, 128, 129, data)}`;
  if (protocol === Ip.ESP && data.length >= 8) return `${plain}ESP ${hex32(data, 0)} seq ${getU32(data, 4)}`;
  if (protocol === Ip.AH && data.length >= 12) return `${plain}AH ${hex32(data, 4)} seq ${getU32(data, 8)}`;
  return `${plain}${nameOf(IpProtocol, protocol)}`;
}

/** An SPI as people write it. */
export const hex32 = (data: Uint8Array, at: number): string => getU32(data, at).toString(16).padStart(8, '0');

function icmp(names: Readonly<Record<number, string>>, request: number, reply: number, data: Uint8Array): string {
  const [type, code] = [data[0]!, data[1]!];
  if (type === request) return `echo request ${getU16(data, 6)}`;
  if (type === reply) return `echo reply ${getU16(data, 6)}`;
  return names[type] ?? `type ${type} code ${code}`;
}

function tcpFlags(flags: number): string {
  const names = ['F', 'S', 'R', 'P', '.', 'U'].filter((_, bit) => (flags & (1 << bit)) !== 0);
  return `[${names.join('')}]`;
}

const ICMP_TYPES: Readonly<Record<number, string>> = {
  3: 'destination unreachable',
  5: 'redirect',
  11: 'time exceeded',
  12: 'parameter problem',
};
const ICMPV6_TYPES: Readonly<Record<number, string>> = {
  1: 'destination unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  4: 'parameter problem',
  133: 'router solicitation',
  134: 'router advertisement',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
};
