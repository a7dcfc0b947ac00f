/**
 * Memory that packets are read from and written to: its octets, and the view by which whole words of them are. Made once for each buffer of
 * a packet loop, so that no packet needs an object of its own. What else a buffer has (an address, say) a wider type may add.
 */
export interface PacketBuffer {
  readonly octets: Uint8Array;
  /** The same memory from the same first octet. */
  readonly view: DataView;
}

/** @param octets not copied */
export function packetBuffer(octets: Uint8Array): PacketBuffer {
  return {
    // A plain Uint8Array even for a subclass: the loops below then see one shape of array only.
    octets: new Uint8Array(octets.buffer, octets.byteOffset, octets.byteLength),
    view: new DataView(octets.buffer, octets.byteOffset, octets.byteLength),
  };
}

/**
 * Copies octets and returns their one's complement sum (RFC 1071), folded to 16 bits, the first octet being the high half of a word and
 * an odd last one padded with zero. One pass over both: measured faster than a copy and a sum, and a DataView as fast at any offset as
 * an Int32Array at a multiple of four.
 * @param length up to 65535
 */
export function copySum(from: PacketBuffer, at: number, to: PacketBuffer, toAt: number, length: number): number {
  const source = from.view;
  const target = to.view;
  // Words in one byte order whatever the machine's: the sum may be swapped at the end (RFC 1071 §2 (B)).
  // `all` wraps around, `high` does not: 65535 octets are 16384 words, and what is missing in `all` are whole 2^32.
  let all = 0;
  let high = 0;
  let i = at;
  let k = toAt;
  for (const end = at + (length & ~15); i < end; i += 16, k += 16) {
    const a = source.getInt32(i, true);
    const b = source.getInt32(i + 4, true);
    const c = source.getInt32(i + 8, true);
    const d = source.getInt32(i + 12, true);
    target.setInt32(k, a, true);
    target.setInt32(k + 4, b, true);
    target.setInt32(k + 8, c, true);
    target.setInt32(k + 12, d, true);
    all = (all + a + b + c + d) | 0;
    high = (high + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16)) | 0;
  }
  for (const end = at + (length & ~3); i < end; i += 4, k += 4) {
    const word = source.getInt32(i, true);
    target.setInt32(k, word, true);
    all = (all + word) | 0;
    high = (high + (word >>> 16)) | 0;
  }
  for (const end = at + length; i < end; i++, k++) {
    const octet = source.getUint8(i);
    target.setUint8(k, octet);
    all = (all + (((i - at) & 1) === 0 ? octet : octet << 8)) | 0;
  }
  const low = (all - (high << 16)) >>> 0;
  const sum = foldTwice(foldTwice(low) + foldTwice(high));
  return ((sum & 0xff) << 8) | (sum >>> 8);
}

/** Copies a header; every header of IP, TCP and UDP is a multiple of 4 octets long. */
export function copyHeader(from: PacketBuffer, at: number, to: PacketBuffer, toAt: number, length: number): void {
  for (let i = 0; i < length; i += 4) to.view.setInt32(toAt + i, from.view.getInt32(at + i));
}

/** Any sum below 2^32 fits 16 bits after two rounds. */
const foldTwice = (sum: number): number => {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
};
