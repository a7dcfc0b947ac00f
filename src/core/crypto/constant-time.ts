import { timingSafeEqual } from 'node:crypto';

/** Compares secrets in time that depends on the length alone; octet strings of different length are unequal. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Overwrites key material. Copies that the runtime made on its own are out of reach; keep secrets in few buffers. */
export function zeroise(...buffers: readonly (Uint8Array | undefined)[]): void {
  for (const buffer of buffers) buffer?.fill(0);
}

/** All octets zero, in time that depends on the length alone. An empty string counts as zero. */
export function isAllZero(data: Uint8Array): boolean {
  let seen = 0;
  for (const octet of data) seen |= octet;
  return seen === 0;
}
