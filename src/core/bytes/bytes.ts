import { ApiMisuse } from './errors.ts';

export const EMPTY: Uint8Array = new Uint8Array(0);

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Octets of its own, though it be a Buffer, whose own `slice` is a view. */
export const copied = (octets: Uint8Array, start = 0, end = octets.length): Uint8Array =>
  Uint8Array.prototype.slice.call(octets, start, end);

/** Equality of public bytes; what is secret is compared by `crypto/constant-time.ts`. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Lexicographic order of octet strings; a prefix sorts before the longer string. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** Four octets in network byte order. */
export function writeU32(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 24;
  data[at + 1] = value >>> 16;
  data[at + 2] = value >>> 8;
  data[at + 3] = value;
}

export function toHex(data: Uint8Array, separator = ''): string {
  if (separator === '' && data.length <= SHORT) return hexOfShort(data);
  let text = '';
  for (let i = 0; i < data.length; i++) text += (i > 0 ? separator : '') + HEX[data[i]!]!;
  return text;
}

/** In one piece: it is the key of many a Map, which would keep every part that it was put together from. */
function hexOfShort(data: Uint8Array): string {
  const codes = new Array<number>(2 * data.length);
  for (let i = 0; i < data.length; i++) {
    codes[2 * i] = HEX_DIGITS.charCodeAt(data[i]! >> 4);
    codes[2 * i + 1] = HEX_DIGITS.charCodeAt(data[i]! & 15);
  }
  return String.fromCharCode(...codes);
}

/** Accepts blanks and colons between octets. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/[\s:]/g, '');
  if (digits.length % 2 !== 0 || /[^0-9a-fA-F]/.test(digits))
    throw new ApiMisuse(`not a hex string: ${text.slice(0, 32)}`, { code: 'NOT_HEX' });
  const data = new Uint8Array(digits.length / 2);
  for (let i = 0; i < data.length; i++) data[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return data;
}

/** Every octet in hex: SPIs are looked up by it, so it is asked for with each datagram. */
const HEX: readonly string[] = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, '0'));

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8');

export const utf8 = (text: string): Uint8Array => encoder.encode(text);
/** Lossy on purpose: what a peer sends is shown, never trusted to be UTF-8. */
export const fromUtf8 = (data: Uint8Array): string => decoder.decode(data);

/** Makes text that a peer chose safe for one line of a terminal or log: control characters become `\xNN`. */
export function printable(text: string): string {
  return text.replace(CONTROL, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const HEX_DIGITS = '0123456789abcdef';
const SHORT = 64;
