import { printable, toHex } from '../../bytes/bytes.ts';

/** RFC 7296 §3.6: 20 octets of SHA-1, then a URL. Shown, never fetched. */
export function describeHashAndUrl(data: Uint8Array): string {
  const url = String.fromCharCode(...data.subarray(20, 20 + 512));
  return `SHA-1 ${toHex(data.subarray(0, 20))}  URL ${printable(url)}`;
}
