import { concat } from '../../bytes/bytes.ts';

/**
 * As much strict DER (X.690) as an AlgorithmIdentifier needs. Everything returns undefined for octets that are not the one DER
 * encoding of their value.
 */
export interface Tlv {
  readonly tag: number;
  readonly value: Uint8Array;
  /** The whole element, tag and length included. */
  readonly raw: Uint8Array;
}

export function readTlv(data: Uint8Array, at = 0): Tlv | undefined {
  const tag = data[at];
  const first = data[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3 || start + octets > data.length) return undefined;
    length = 0;
    for (let i = 0; i < octets; i++) length = length * 256 + data[start + i]!;
    // The shortest form only: §10.1.
    if (length < 0x80 || data[start] === 0) return undefined;
    start += octets;
  }
  if (start + length > data.length) return undefined;
  return { tag, value: data.subarray(start, start + length), raw: data.subarray(at, start + length) };
}

/** The elements that fill `data` exactly, at most `limit` of them. */
export function readAll(data: Uint8Array, limit: number): readonly Tlv[] | undefined {
  const elements: Tlv[] = [];
  for (let at = 0; at < data.length; ) {
    const element = readTlv(data, at);
    if (element === undefined || elements.length === limit) return undefined;
    elements.push(element);
    at += element.raw.length;
  }
  return elements;
}

/** One element that fills `data` exactly and has this tag. */
export function readOnly(data: Uint8Array, tag: number): Tlv | undefined {
  const element = readTlv(data);
  return element !== undefined && element.tag === tag && element.raw.length === data.length ? element : undefined;
}

/** A non-negative INTEGER below 2^31. */
export function readSmallInteger(data: Uint8Array): number | undefined {
  const element = readOnly(data, Tag.INTEGER);
  if (element === undefined) return undefined;
  const { value } = element;
  if (value.length === 0 || value.length > 4 || value[0]! >= 0x80) return undefined;
  if (value.length > 1 && value[0] === 0 && value[1]! < 0x80) return undefined;
  let number = 0;
  for (const octet of value) number = number * 256 + octet;
  return number;
}

export function writeTlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = concat(...parts);
  const { length } = value;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), value);
  if (length < 0x100) return concat(Uint8Array.of(tag, 0x81, length), value);
  return concat(Uint8Array.of(tag, 0x82, length >>> 8, length & 0xff), value);
}

/** A non-negative INTEGER from its magnitude. */
export function writeInteger(magnitude: Uint8Array): Uint8Array {
  let from = 0;
  while (from < magnitude.length - 1 && magnitude[from] === 0) from++;
  const digits = magnitude.subarray(from);
  return digits.length === 0 || digits[0]! >= 0x80 ? writeTlv(Tag.INTEGER, Uint8Array.of(0), digits) : writeTlv(Tag.INTEGER, digits);
}

export const Tag = { INTEGER: 0x02, BIT_STRING: 0x03, NULL: 0x05, OID: 0x06, SEQUENCE: 0x30, CONTEXT_0: 0xa0 } as const;
export const DER_NULL: Uint8Array = Uint8Array.of(0x05, 0x00);
