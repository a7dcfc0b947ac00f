import { z } from 'zod';
import { compareBytes } from '../../core/bytes/bytes.ts';
import { formatIp, tryParseIp } from '../../core/bytes/ip-address.ts';

/**
 * The forms a single value of a configuration can have. Each takes what YAML gives (text) and what a program may pass (numbers,
 * booleans), and turns it into the value the rest of the program works with: milliseconds, octets, addresses.
 */

/** A failed format: `message` completes the sentence "connections.road.mtu: …"; `hint` is the next action. */
export type Invalid = { readonly message: string; readonly hint?: string };
export type Parsed<T> = { readonly ok: true; readonly value: T } | ({ readonly ok: false } & Invalid);

export const valid = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const invalid = (message: string, hint?: string): { readonly ok: false } & Invalid => ({
  ok: false,
  message,
  ...(hint === undefined ? {} : { hint }),
});

/** A schema from a function over text. `id` names the form in the JSON Schema. */
export function text<T>(id: string, description: string, examples: readonly string[], parse: (text: string) => Parsed<T>) {
  return z
    .string()
    .transform((input, context): T => {
      const result = parse(input.trim());
      if (result.ok) return result.value;
      context.issues.push({ code: 'custom', message: result.message, input, params: { hint: result.hint } });
      return z.NEVER;
    })
    .meta({ id, description, samples: [...examples] });
}

/** Like `text`, for what a program would rather write as a number. */
export function quantity<T>(id: string, description: string, examples: readonly (string | number)[], parse: (text: string) => Parsed<T>) {
  return z
    .union([z.number(), z.string()])
    .transform((input, context): T => {
      const result = parse(String(input).trim());
      if (result.ok) return result.value;
      context.issues.push({ code: 'custom', message: result.message, input, params: { hint: result.hint } });
      return z.NEVER;
    })
    .meta({ id, description, samples: [...examples] });
}

/** Milliseconds. */
export const duration = quantity(
  'Duration',
  'A length of time: a number with ms, s, m, h or d, or several of them; a bare number is seconds. 0 is never.',
  ['30s', '4h', '1h30m', 90],
  parseDuration,
);

/** Octets. */
export const size = quantity(
  'Size',
  'A number of octets, with KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB. 0 is no limit.',
  ['64GiB', '500MB', 0],
  parseSize,
);

export const flag = z
  .union([z.boolean(), z.enum(['yes', 'no', 'true', 'false'])])
  .transform((value) => value === true || value === 'yes' || value === 'true')
  .meta({ id: 'Flag', description: 'yes or no (true and false do as well).' });

export function integer(id: string, minimum: number, maximum: number, description: string) {
  return z
    .union([z.number(), z.string()])
    .transform((input, context): number => {
      const value = /^\d{1,15}$/.test(String(input).trim()) ? Number(input) : Number.NaN;
      if (value >= minimum && value <= maximum) return value;
      context.issues.push({
        code: 'custom',
        message: `expected a whole number from ${minimum} to ${maximum}, not ${quoted(String(input))}`,
        input,
      });
      return z.NEVER;
    })
    .meta({ id, description });
}

export const port = integer('Port', 0, 65535, 'A UDP or TCP port; 0 takes any that is free.');
export const count = integer('Count', 0, Number.MAX_SAFE_INTEGER, 'A whole number. 0 is no limit.');

/** One of `words`; YAML's true and false stand for yes and no where those are among them. */
export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return z.enum(words);
}

/** A list, for which one value alone will do; text may hold several, divided by commas. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.union([z.array(item), item]).transform((value): z.output<T>[] => (Array.isArray(value) ? value : [value]) as z.output<T>[]);
}

/** For lists of words: `a, b` is the same as `[a, b]`. */
export function words<T>(id: string, description: string, examples: readonly string[], parse: (text: string) => Parsed<T>) {
  const several = text<T[]>(id, description, examples, (input) => {
    const values: T[] = [];
    for (const part of input.split(',')) {
      if (part.trim() === '') return invalid('has an empty place between commas');
      const result = parse(part.trim());
      if (!result.ok) return result;
      values.push(result.value);
    }
    return valid(values);
  });
  return listOf(several).transform((lists): T[] => lists.flat());
}

/** A path of the file system; relative ones start at the folder of the configuration file. */
export const path = z
  .string()
  .min(1)
  .meta({ id: 'File', description: 'A file or folder; a relative one is looked for beside the configuration file, ~ is the home folder.' });

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
