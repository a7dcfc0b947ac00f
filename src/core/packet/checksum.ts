import { getU16 } from './octets.ts';

/**
 * The one's complement sum of 16-bit words (RFC 1071), folded to 16 bits but not complemented. An odd last octet counts as the
 * high half of a word (RFC 9293 §3.1), so only the last piece of what is summed may have odd length.
 * @param seed a sum to go on from.
 */
export function sum16(data: Uint8Array, start: number, end: number, seed = 0): number {
  if (end - start < SMALL) return fold(seed + sumOctets(data, start, end));
  return fold(seed + sumWords(data, start, end));
}

/** Folds the carries of a sum back in (RFC 1071 §1). */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** What goes into a checksum field, the field itself being zero; over valid data with its field it is 0. */
export function checksum(data: Uint8Array, start: number, end: number, seed = 0): number {
  return ~sum16(data, start, end, seed) & 0xffff;
}

/** The pseudo header of RFC 9293 §3.1 and RFC 8200 §8.1: two addresses of `addressLength` octets, protocol and upper-layer length. */
export function pseudoHeaderSum(
  source: Uint8Array,
  sourceAt: number,
  destination: Uint8Array,
  destinationAt: number,
  addressLength: number,
  protocol: number,
  length: number,
): number {
  let sum = protocol + (length & 0xffff) + (length >>> 16);
  for (let i = 0; i < addressLength; i += 2) sum += getU16(source, sourceAt + i) + getU16(destination, destinationAt + i);
  return fold(sum);
}

/** The checksum after one 16-bit word of the data changed (RFC 1624 §3, equation 3). */
export function updateChecksum(old: number, oldWord: number, newWord: number): number {
  return ~fold((~old & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff;
}

function sumOctets(data: Uint8Array, start: number, end: number): number {
  let sum = 0;
  let i = start;
  for (; i + 1 < end; i += 2) sum += (data[i]! << 8) | data[i + 1]!;
  if (i < end) sum += data[i]! << 8;
  return sum;
}

/** Sixteen octets a turn, in the machine's byte order: a one's complement sum may be swapped at the end (RFC 1071 §2 (B)). */
function sumWords(data: Uint8Array, start: number, end: number): number {
  const view = viewOf(data);
  const base = data.byteOffset;
  const last = base + end;
  let i = base + start;
  let low = 0;
  let high = 0;
  for (; i + 16 <= last; i += 16) {
    const a = view.getInt32(i, true);
    const b = view.getInt32(i + 4, true);
    const c = view.getInt32(i + 8, true);
    const d = view.getInt32(i + 12, true);
    low += (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff);
    high += (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16);
  }
  const swapped = fold(fold(low) + fold(high));
  return (((swapped & 0xff) << 8) | (swapped >>> 8)) + sumOctets(data, i - base, end);
}

let lastBuffer: ArrayBufferLike | undefined;
let lastView: DataView = new DataView(new ArrayBuffer(0));

/** Packets mostly come from and go to the same few buffers: one view serves them all. */
function viewOf(data: Uint8Array): DataView {
  const buffer = data.buffer;
  if (buffer !== lastBuffer) {
    lastView = new DataView(buffer);
    lastBuffer = buffer;
  }
  return lastView;
}

/** Below this the plain loop is faster, and arrays kept inside the heap stay there. */
const SMALL = 64;
