import { formatIp } from '../../bytes/ip-address.ts';
import { IpProtocol, nameOf, TsType } from '../iana.ts';
import type { AddressRangeSelector, TrafficSelector } from '../payloads/types.ts';
import { shortHex, visibleText } from './octets.ts';

/**
 * `10.1.0.0/24`, `10.1.0.5-10.1.0.9`, `fd00::/64[tcp/443]`, `0.0.0.0/0[udp/1024-2047]`, `10.1.0.1[icmp/8(0)]`, `10.1.0.1[tcp/OPAQUE]`.
 * A single address stands alone, all of IPv4 is `0.0.0.0/0`.
 */
export function formatSelector(ts: TrafficSelector): string {
  if ('raw' in ts) return formatOther(ts.type, ts.raw);
  const services = formatServices(ts);
  return `${formatRange(ts.start, ts.end)}${services === '' ? '' : `[${services}]`}`;
}

/** Prefix notation where the range is a prefix. Both ends are 4 or 16 octets, inclusive. */
export function formatRange(start: Uint8Array, end: Uint8Array): string {
  const prefix = prefixLength(start, end);
  if (prefix === undefined) return `${formatIp(start)}-${formatIp(end)}`;
  return prefix === 8 * start.length ? formatIp(start) : `${formatIp(start)}/${prefix}`;
}

function formatServices({ protocol, startPort, endPort }: AddressRangeSelector): string {
  const name = protocol === 0 ? 'any' : nameOf(IpProtocol, protocol).toLowerCase();
  if (startPort === 0 && endPort === 0xffff) return protocol === 0 ? '' : name;
  // RFC 7296 §3.13.1: 65535 to 0 stands for ports that are hidden, as in a fragment.
  if (startPort === 0xffff && endPort === 0) return `${name}/OPAQUE`;
  if (protocol === IpProtocol.ICMP || protocol === IpProtocol.ICMPv6) return `${name}/${formatIcmp(startPort, endPort)}`;
  // RFC 7296 §3.13.1: the Mobility Header type stands in the upper octet.
  if (protocol === IpProtocol.MH) return `${name}/${formatRangeOfNumbers(startPort >>> 8, endPort >>> 8)}`;
  return `${name}/${formatRangeOfNumbers(startPort, endPort)}`;
}

/** RFC 4301 §4.4.1.1: type in the upper octet, code in the lower. */
function formatIcmp(start: number, end: number): string {
  const [startType, startCode, endType, endCode] = [start >>> 8, start & 0xff, end >>> 8, end & 0xff];
  if (startCode === 0 && endCode === 0xff) return formatRangeOfNumbers(startType, endType);
  if (startType === endType) return `${startType}(${formatRangeOfNumbers(startCode, endCode)})`;
  return `${startType}(${startCode})-${endType}(${endCode})`;
}

const formatRangeOfNumbers = (start: number, end: number): string => (start === end ? String(start) : `${start}-${end}`);

/** The number of leading bits that both ends share, where the rest is all zeros in one and all ones in the other. */
function prefixLength(start: Uint8Array, end: Uint8Array): number | undefined {
  const bits = 8 * start.length;
  const bit = (octets: Uint8Array, i: number): number => (octets[i >>> 3]! >>> (7 - (i & 7))) & 1;
  let shared = 0;
  while (shared < bits && bit(start, shared) === bit(end, shared)) shared++;
  for (let i = shared; i < bits; i++) if (bit(start, i) !== 0 || bit(end, i) !== 1) return undefined;
  return shared;
}

function formatOther(type: number, raw: Uint8Array): string {
  // RFC 9478 §2.1: a label of the security system's own making; SELinux ends it with a zero octet.
  const label = type === TsType.TS_SECLABEL ? visibleText(raw.subarray(0, raw.at(-1) === 0 ? -1 : undefined)) : undefined;
  return `${nameOf(TsType, type)}(${label ?? shortHex(raw, 32)})`;
}
