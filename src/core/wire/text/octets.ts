import { toHex } from '../../bytes/bytes.ts';

/** `0x…`: the first octets, and how many there are where that is not all. */
export function shortHex(data: Uint8Array, shown = 20): string {
  return data.length <= shown ? `0x${toHex(data)}` : `0x${toHex(data.subarray(0, shown))}… (${data.length} octets)`;
}

/** Text that is nothing but visible ASCII; undefined for all else. */
export function visibleText(data: Uint8Array): string | undefined {
  if (data.length === 0 || data.length > 256 || data.some((c) => c < 0x20 || c > 0x7e)) return undefined;
  return String.fromCharCode(...data);
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
