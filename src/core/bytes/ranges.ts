/** Addresses that have their first `length` bits in common. */
export interface AddressPrefix {
  readonly family: 4 | 6;
  /** 4 or 16 octets: the first and the last one. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly prefix: number;
}

/** The fewest prefixes that make up a range, in order. @param range 4 or 16 octets each, the end not before the start */
export function rangeToPrefixes({ start, end }: { readonly start: Uint8Array; readonly end: Uint8Array }): AddressPrefix[] {
  const family = start.length === 4 ? 4 : 6;
  const bits = family === 4 ? 32 : 128;
  const last = toNumber(end);
  const prefixes: AddressPrefix[] = [];
  for (let next = toNumber(start); next <= last; ) {
    let length = bits;
    // Wider as long as the wider prefix still begins here and ends inside.
    while (length > 0) {
      const span = 1n << BigInt(bits - length + 1);
      if (next % span !== 0n || next + span - 1n > last) break;
      length--;
    }
    const span = 1n << BigInt(bits - length);
    prefixes.push({ family, start: toOctets(next, bits / 8), end: toOctets(next + span - 1n, bits / 8), prefix: length });
    next += span;
  }
  return prefixes;
}

function toNumber(octets: Uint8Array): bigint {
  let number = 0n;
  for (const octet of octets) number = (number << 8n) | BigInt(octet);
  return number;
}

function toOctets(number: bigint, length: number): Uint8Array {
  const octets = new Uint8Array(length);
  for (let i = length - 1, rest = number; i >= 0; i--, rest >>= 8n) octets[i] = Number(rest & 0xffn);
  return octets;
}
