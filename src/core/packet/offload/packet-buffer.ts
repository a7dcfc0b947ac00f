import type { PacketArithmetic } from './packet-arithmetic.ts';

/**
 * Memory that packets are read from and written to, and the views by which that is fast. Made once for each buffer of a packet loop, so that
 * no packet needs an object of its own. What else a buffer has (an address, say) a wider type may add.
 */
export interface PacketBuffer {
  readonly octets: Uint8Array;
  /** The same octets, for whole words. */
  readonly view: DataView;
  /** All of the memory that the octets are part of, and where in it they begin. */
  readonly memory: ArrayBufferLike;
  readonly whole: Uint8Array;
  readonly offset: number;
  /** Over `memory`, where it can be computed with faster than here. */
  readonly arithmetic: PacketArithmetic | undefined;
}

/**
 * Buffers that packets go between are best parts of one memory: it is moved within itself without making an object.
 * @param octets not copied
 * @param arithmetic of the memory that they are part of
 */
export function packetBuffer(octets: Uint8Array, arithmetic?: PacketArithmetic): PacketBuffer {
  const { buffer, byteOffset, byteLength } = octets;
  return {
    // A plain Uint8Array even for a subclass: loops then see one kind of array only.
    octets: new Uint8Array(buffer, byteOffset, byteLength),
    view: new DataView(buffer, byteOffset, byteLength),
    memory: buffer,
    whole: new Uint8Array(buffer),
    offset: byteOffset,
    arithmetic,
  };
}

export function copyOctets(from: PacketBuffer, at: number, to: PacketBuffer, toAt: number, length: number): void {
  const start = from.offset + at;
  if (from.memory === to.memory && from.arithmetic !== undefined) from.arithmetic.copy(start, to.offset + toAt, length);
  else if (from.memory === to.memory) to.whole.copyWithin(to.offset + toAt, start, start + length);
  else to.octets.set(from.octets.subarray(at, at + length), toAt);
}

/** Copies a header; every header of IP, TCP and UDP is a multiple of 4 octets long. */
export function copyHeader(from: PacketBuffer, at: number, to: PacketBuffer, toAt: number, length: number): void {
  for (let i = 0; i < length; i += 4) to.view.setInt32(toAt + i, from.view.getInt32(at + i));
}

/**
 * The one's complement sum (RFC 1071) of up to 65535 octets, folded to 16 bits; the first octet is the high half of a word, an odd last one is
 * padded with zero. 32 bits at a time, at any offset: their sum stays far below 2^53. Measured faster after a copy than within one, since
 * stores keep what a loop reads from being known.
 */
export function sumOctets(from: PacketBuffer, at: number, length: number): number {
  if (from.arithmetic !== undefined) return from.arithmetic.sum(from.offset + at, length);
  const { view } = from;
  let even = 0;
  let odd = 0;
  let i = at;
  // In one byte order whatever the machine's: a one's complement sum may be swapped at the end (RFC 1071 §2 (B)).
  for (const end = at + (length & ~31); i < end; i += 32) {
    even += view.getUint32(i, true) + view.getUint32(i + 4, true) + view.getUint32(i + 8, true) + view.getUint32(i + 12, true);
    odd += view.getUint32(i + 16, true) + view.getUint32(i + 20, true) + view.getUint32(i + 24, true) + view.getUint32(i + 28, true);
  }
  for (const end = at + (length & ~3); i < end; i += 4) even += view.getUint32(i, true);
  for (const end = at + length; i < end; i++) odd += view.getUint8(i) << (8 * ((i - at) & 1));
  const sum = even + odd;
  // 2^32 is 1 as 2^16 is: all of it goes round.
  const low = sum >>> 0;
  let folded = (low & 0xffff) + (low >>> 16) + (sum - low) / 2 ** 32;
  folded = (folded & 0xffff) + (folded >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

/** Copies, and returns the sum of what was copied. */
export function copySum(from: PacketBuffer, at: number, to: PacketBuffer, toAt: number, length: number): number {
  if (from.memory === to.memory && from.arithmetic !== undefined)
    return from.arithmetic.copySum(from.offset + at, to.offset + toAt, length);
  copyOctets(from, at, to, toAt, length);
  return sumOctets(to, toAt, length);
}
