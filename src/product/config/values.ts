import { compareBytes } from '../../core/bytes/bytes.ts';
import { formatIp, tryParseIp } from '../../core/bytes/ip-address.ts';

/** A failed format: `message` completes the sentence "connections.road.mtu: …"; `hint` is the next action. */
export type Invalid = { readonly message: string; readonly hint?: string };
export type Parsed<T> = { readonly ok: true; readonly value: T } | ({ readonly ok: false } & Invalid);

export const valid = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const invalid = (message: string, hint?: string): { readonly ok: false } & Invalid => ({
  ok: false,
  message,
  ...(hint === undefined ? {} : { hint }),
});

/** An inclusive range of addresses of one family. */
export interface AddressRange {
  readonly family: 4 | 6;
  /** 4 or 16 octets. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  /** Set when it was written as a prefix. */
  readonly prefix?: number;
}

/** `10.0.0.0/24`, `2001:db8::/64`, `10.0.0.10-10.0.0.50` or one address. */
export function parseAddressRange(input: string): Parsed<AddressRange> {
  const dash = input.indexOf('-');
  if (dash >= 0) {
    const start = tryParseIp(input.slice(0, dash).trim());
    const end = tryParseIp(input.slice(dash + 1).trim());
    if (start === undefined || end === undefined || start.length !== end.length)
      return invalid(`${quoted(input)} is not a range of addresses`, 'Write FIRST-LAST, both of one family.');
    if (compareBytes(start, end) > 0) return invalid(`the range ${quoted(input)} ends before it begins`);
    return valid({ family: start.length === 4 ? 4 : 6, start, end });
  }
  const slash = input.indexOf('/');
  const address = tryParseIp(slash < 0 ? input : input.slice(0, slash));
  if (address === undefined)
    return invalid(`${quoted(input)} is not an address, a prefix or a range`, 'Write 10.0.0.1, 10.0.0.0/24 or 10.0.0.1-10.0.0.9.');
  const bits = address.length * 8;
  const length = slash < 0 ? String(bits) : input.slice(slash + 1);
  if (!/^\d{1,3}$/.test(length) || Number(length) > bits)
    return invalid(`the prefix length of ${quoted(input)} is not a number from 0 to ${bits}`);
  return valid({ family: bits === 32 ? 4 : 6, ...prefixRange(address, Number(length)), prefix: Number(length) });
}

export const formatRange = (range: AddressRange): string =>
  range.prefix === undefined
    ? `${formatIp(range.start)}-${formatIp(range.end)}`
    : range.prefix === range.start.length * 8
      ? formatIp(range.start)
      : `${formatIp(range.start)}/${range.prefix}`;

export function parseDuration(input: string): Parsed<number> {
  if (/^\d+(\.\d+)?$/.test(input)) return withinReason(Number(input) * 1000, input);
  const parts = [...input.matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== input)
    return invalid(`${quoted(input)} is not a length of time`, 'Write 30s, 5m, 4h or 1d.');
  return withinReason(
    parts.reduce((sum, [, number, unit]) => sum + Number(number) * MILLIS[unit as keyof typeof MILLIS], 0),
    input,
  );
}

export function parseSize(input: string): Parsed<number> {
  const match = /^(\d+(?:\.\d+)?)\s*([kKMGT]i?)?(?:B|b|bytes|octets)?$/.exec(input);
  if (match === null) return invalid(`${quoted(input)} is not a size`, 'Write 64GiB, 500MB or a number of octets.');
  const octets = Number(match[1]) * (SIZES[(match[2] ?? '').toLowerCase()] ?? 1);
  return Number.isSafeInteger(Math.round(octets)) ? valid(Math.round(octets)) : invalid(`${quoted(input)} is too large`);
}

/** `800K`, `5M`, `1.5G`: octets a second, in units of 1024. */
export function parseOctetRate(input: string): Parsed<number> {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(?:([KMG])(?:iB|B)?|B)?(?:\/s)?$/i.exec(input) ?? [];
  if (number === undefined) return invalid(`${quoted(input)} is no rate`, 'Write octets a second: 800K, 5M or 1.5G.');
  const rate = Math.round(Number(number) * 1024 ** ' KMG'.indexOf(unit.toUpperCase() || ' '));
  if (rate < SLOWEST_RATE) return invalid(`${quoted(input)} is less than a connection needs`, 'Write 16K at the least.');
  return Number.isSafeInteger(rate) ? valid(rate) : invalid(`${quoted(input)} is no limit`, 'Leave it out.');
}

/** Text from the configuration inside a message: short, without control characters, in quotes. */
export const quoted = (input: string): string => JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}…` : input);

/** @returns first and last address of the prefix that `address` lies in */
export function prefixRange(address: Uint8Array, length: number): { start: Uint8Array; end: Uint8Array } {
  const start = address.slice();
  const end = address.slice();
  for (let bit = length; bit < address.length * 8; bit++) {
    const mask = 0x80 >>> (bit & 7);
    start[bit >> 3] = start[bit >> 3]! & ~mask;
    end[bit >> 3] = end[bit >> 3]! | mask;
  }
  return { start, end };
}

function withinReason(millis: number, input: string): Parsed<number> {
  return millis <= MAX_MILLIS ? valid(Math.round(millis)) : invalid(`${quoted(input)} is longer than ten years`);
}

const MILLIS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};
const MAX_MILLIS = 3650 * MILLIS.d;

/** `SLOWEST` of `transfer/pace.ts`, which stands beside this room; a test holds them equal. */
const SLOWEST_RATE = 16 * 1024;

/** A DNS name: letters, digits, dashes and underscores between dots, and not digits alone. */
export const isHostName = (input: string): boolean =>
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?$/i.test(input) && /[a-z]/i.test(input);
