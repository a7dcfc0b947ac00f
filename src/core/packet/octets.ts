/** Network byte order at an offset, without a cursor: the caller has checked the bounds. */
export const getU16 = (data: Uint8Array, at: number): number => (data[at]! << 8) | data[at + 1]!;

/** As a signed 32-bit integer: what sequence arithmetic works on. */
export const getI32 = (data: Uint8Array, at: number): number =>
  (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;

export const getU32 = (data: Uint8Array, at: number): number => getI32(data, at) >>> 0;

export function putU16(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 8;
  data[at + 1] = value;
}

/** Takes signed and unsigned alike. */
export function putU32(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 24;
  data[at + 1] = value >>> 16;
  data[at + 2] = value >>> 8;
  data[at + 3] = value;
}

/** Equality of `length` octets at two places. */
export function sameOctets(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}
