import { compareBytes, concat } from '../bytes/bytes.ts';
import { contextTag, DerTag } from './der.ts';
import { encodeOid } from './oid.ts';

/** One element: identifier octet, minimal length (X.690 §10.1), content. */
export function element(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concat(...content);
  if (body.length < 0x80) return concat(Uint8Array.of(tag, body.length), body);
  const length: number[] = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  return concat(Uint8Array.of(tag, 0x80 | length.length, ...length), body);
}

export const sequence = (...content: readonly Uint8Array[]): Uint8Array => element(DerTag.SEQUENCE, ...content);

/** X.690 §11.6: the elements of a SET OF are sorted by their encodings. */
export function setOf(...members: readonly Uint8Array[]): Uint8Array {
  return element(DerTag.SET, ...[...members].sort(compareBytes));
}

export const explicit = (number: number, ...content: readonly Uint8Array[]): Uint8Array => element(contextTag(number), ...content);
export const oid = (dotted: string): Uint8Array => element(DerTag.OID, encodeOid(dotted));
export const octetString = (content: Uint8Array): Uint8Array => element(DerTag.OCTET_STRING, content);
export const bitString = (content: Uint8Array, unused = 0): Uint8Array => element(DerTag.BIT_STRING, Uint8Array.of(unused), content);
export const boolean = (value: boolean): Uint8Array => element(DerTag.BOOLEAN, Uint8Array.of(value ? 0xff : 0));

/** An INTEGER that is not negative, from its octets in network order. */
export function unsigned(octets: Uint8Array): Uint8Array {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0) start++;
  const magnitude = octets.length === 0 ? Uint8Array.of(0) : octets.subarray(start);
  return element(DerTag.INTEGER, magnitude[0]! >= 0x80 ? concat(Uint8Array.of(0), magnitude) : magnitude);
}

/** An INTEGER from 0 to 2³¹ − 1. */
export const integer = (value: number): Uint8Array => unsigned(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));

/** A BIT STRING of named bits, bit 0 first, without trailing zeros (X.690 §11.2.2). */
export function namedBits(bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return bitString(new Uint8Array(0));
  const highest = Math.max(...bits);
  const octets = new Uint8Array((highest >> 3) + 1);
  for (const bit of bits) octets[bit >> 3]! |= 0x80 >> (bit & 7);
  return bitString(octets, 7 - (highest & 7));
}
