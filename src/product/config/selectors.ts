import { IpProtocol, TsType } from '../../core/wire/iana.ts';
import type { AddressRangeSelector } from '../../core/wire/payloads/types.ts';
import { type AddressRange, invalid, type Parsed, parseAddressRange, quoted, valid } from './values.ts';

/** A traffic selector as an operator writes it: `10.0.0.0/24[tcp/80]`, `dynamic`, `dynamic[udp/53]`. */
export interface SelectorSetting {
  /** `dynamic`: the own address, or the one that configuration payload assigned. */
  readonly addresses: AddressRange | 'dynamic';
  /** 0 is any. */
  readonly protocol: number;
  /** 0–65535 is any; 65535–0 is OPAQUE (RFC 7296 §3.13.1). For ICMP type << 8 | code (RFC 7296 §3.13.1). */
  readonly startPort: number;
  readonly endPort: number;
}

export function parseSelector(input: string): Parsed<SelectorSetting> {
  const match = /^([^[\]]+?)\s*(?:\[([^[\]]*)\])?$/.exec(input.trim());
  if (match === null) return invalid(`${quoted(input)} is not a traffic selector`, SELECTOR_HINT);
  const addresses = match[1] === 'dynamic' ? valid('dynamic' as const) : parseAddressRange(match[1]!);
  if (!addresses.ok) return addresses;
  if (match[2] === undefined) return valid({ addresses: addresses.value, protocol: 0, ...ANY_PORT });
  const slash = match[2].indexOf('/');
  const protocol = parseProtocol((slash < 0 ? match[2] : match[2].slice(0, slash)).trim());
  if (!protocol.ok) return protocol;
  const ports = slash < 0 ? valid(ANY_PORT) : parsePorts(match[2].slice(slash + 1).trim(), protocol.value);
  return ports.ok ? valid({ addresses: addresses.value, protocol: protocol.value, ...ports.value }) : ports;
}

/** RFC 7296 §3.13.1; only for selectors that are not `dynamic`. */
export function toTrafficSelector(selector: SelectorSetting & { readonly addresses: AddressRange }): AddressRangeSelector {
  return {
    type: selector.addresses.family === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE,
    protocol: selector.protocol,
    startPort: selector.startPort,
    endPort: selector.endPort,
    start: selector.addresses.start,
    end: selector.addresses.end,
  };
}

function parseProtocol(input: string): Parsed<number> {
  if (input === '' || input === 'any' || input === '%any') return valid(0);
  if (/^\d{1,3}$/.test(input) && Number(input) <= 255) return valid(Number(input));
  const known = PROTOCOLS.get(input.toLowerCase());
  return known === undefined
    ? invalid(`${quoted(input)} is no IP protocol known here`, `Write its number, or one of ${[...PROTOCOLS.keys()].join(', ')}.`)
    : valid(known);
}

function parsePorts(input: string, protocol: number): Parsed<{ startPort: number; endPort: number }> {
  if (input === '' || input === 'any' || input === '%any') return valid(ANY_PORT);
  if (input === 'opaque') return valid({ startPort: 65535, endPort: 0 });
  if (!WITH_PORTS.has(protocol))
    return invalid(
      `ports need a protocol that has them, and ${protocol === 0 ? 'none is given' : `protocol ${protocol} has not`}`,
      'Write for instance 10.0.0.0/24[tcp/80].',
    );
  const [first, last = first, more] = input.split('-').map((part) => portNumber(part.trim()));
  if (first === undefined || last === undefined || more !== undefined)
    return invalid(`${quoted(input)} is not a port or a range of ports`, 'Write 443, 8000-8099 or opaque.');
  if (first <= last && TYPED.has(protocol)) return valid(icmpRange(first, last));
  return first <= last ? valid({ startPort: first, endPort: last }) : invalid(`the range of ports ${quoted(input)} ends before it begins`);
}

/** As swanctl.conf has it: below 256 a type with every code, from there on type << 8 | code. */
const icmpRange = (first: number, last: number): { startPort: number; endPort: number } => ({
  startPort: first < 256 ? first << 8 : first,
  endPort: last < 256 ? (last << 8) | 0xff : last,
});

function portNumber(input: string): number | undefined {
  const number = /^\d{1,5}$/.test(input) ? Number(input) : SERVICES.get(input.toLowerCase());
  return number !== undefined && number <= 65535 ? number : undefined;
}

const ANY_PORT = { startPort: 0, endPort: 65535 };
const SELECTOR_HINT = 'Write 10.0.0.0/24, 10.0.0.1-10.0.0.9 or dynamic, and behind it, if wanted, [tcp/80].';

const PROTOCOLS: ReadonlyMap<string, number> = new Map(
  Object.entries({
    tcp: IpProtocol.TCP,
    udp: IpProtocol.UDP,
    icmp: IpProtocol.ICMP,
    'ipv6-icmp': IpProtocol.ICMPv6,
    icmpv6: IpProtocol.ICMPv6,
    sctp: IpProtocol.SCTP,
    gre: IpProtocol.GRE,
    esp: IpProtocol.ESP,
    ah: IpProtocol.AH,
    l2tp: IpProtocol.L2TP,
    ospf: IpProtocol.OSPF,
    vrrp: IpProtocol.VRRP,
    igmp: IpProtocol.IGMP,
    dccp: IpProtocol.DCCP,
    udplite: IpProtocol.UDPLITE,
  }),
);
const WITH_PORTS = new Set<number>([
  IpProtocol.TCP,
  IpProtocol.UDP,
  IpProtocol.ICMP,
  IpProtocol.ICMPv6,
  IpProtocol.SCTP,
  IpProtocol.DCCP,
  IpProtocol.UDPLITE,
  IpProtocol.MH,
]);

const TYPED = new Set<number>([IpProtocol.ICMP, IpProtocol.ICMPv6]);

/** The services one is likely to name in a selector. */
const SERVICES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    ssh: 22,
    domain: 53,
    bootps: 67,
    bootpc: 68,
    http: 80,
    ntp: 123,
    snmp: 161,
    ldap: 389,
    https: 443,
    'microsoft-ds': 445,
    isakmp: 500,
    ldaps: 636,
    rsync: 873,
    l2tp: 1701,
    radius: 1812,
    nfs: 2049,
  }),
);
