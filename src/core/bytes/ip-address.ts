import { ApiMisuse } from './errors.ts';

/** A UDP (or TCP) endpoint. `ip` is an IPv4 or IPv6 literal in the canonical form that `formatIp` prints. */
export interface Address {
  readonly ip: string;
  readonly port: number;
}

/** 4 or 16 octets of an IP literal; throws `ApiMisuse` for anything else. A zone (`%eth0`) is not accepted. */
export function parseIp(text: string): Uint8Array {
  const parsed = tryParseIp(text);
  if (parsed === undefined) throw new ApiMisuse(`not an IP address: ${text.slice(0, 64)}`, { code: 'NOT_AN_ADDRESS' });
  return parsed;
}

export function tryParseIp(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** RFC 5952 for IPv6. */
export function formatIp(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join('.');
  if (octets.length !== 16) throw new ApiMisuse(`an IP address has 4 or 16 octets, not ${octets.length}`, { code: 'NOT_AN_ADDRESS' });
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((octets[i]! << 8) | octets[i + 1]!);
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
    if (run > 0) i += run - 1;
  }
  const hex = groups.map((g) => g.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

export const isIpv6 = (text: string): boolean => text.includes(':');

/** `198.51.100.7:4500`, `[2001:db8::1]:4500`. */
export function formatAddress(address: Address): string {
  return isIpv6(address.ip) ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

export const sameAddress = (a: Address, b: Address): boolean => a.ip === b.ip && a.port === b.port;

function parseIpv4(text: string): Uint8Array | undefined {
  const octets = new Uint8Array(4);
  let at = 0;
  for (let i = 0; i < 4; i++) {
    const start = at;
    let value = 0;
    for (; at < text.length && isDigit(text.charCodeAt(at)); at++) value = Math.min(256, 10 * value + text.charCodeAt(at) - ZERO);
    // decimal without leading zeros, which some read as octal
    if (at === start || value > 255 || (at > start + 1 && text.charCodeAt(start) === ZERO)) return undefined;
    octets[i] = value;
    if (i < 3 && text.charCodeAt(at++) !== DOT) return undefined;
  }
  return at === text.length ? octets : undefined;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!);
  const tail = halves.length === 2 ? groupsOf(halves[1]!) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const octets = new Uint8Array(16);
  groups.forEach((group, i) => {
    octets[2 * i] = group >>> 8;
    octets[2 * i + 1] = group & 0xff;
  });
  return octets;
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (part.includes('.') && i === parts.length - 1) {
      const v4 = parseIpv4(part);
      if (v4 === undefined) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

const isDigit = (code: number): boolean => code >= ZERO && code <= ZERO + 9;

const ZERO = 48;
const DOT = 46;
