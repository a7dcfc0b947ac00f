import { parseIp } from '../bytes/ip-address.ts';

/** Addresses as a policy names them: literals, prefixes and `%any`. @returns the length of the longest prefix that covers the address; -1 for none, 0 for %any. */
export function bestMatch(patterns: readonly string[], ip: string): number {
  let best = -1;
  for (const pattern of patterns) {
    if (pattern === '%any') best = Math.max(best, 0);
    else {
      const [network = '', length] = pattern.split('/');
      if (covers(network, length, ip)) best = Math.max(best, length === undefined ? 128 : Number(length));
    }
  }
  return best;
}

function covers(network: string, length: string | undefined, ip: string): boolean {
  const base = parseIp(network);
  const address = parseIp(ip);
  if (base.length !== address.length) return false;
  const bits = length === undefined ? base.length * 8 : Number(length);
  for (let i = 0; i < bits; i++) if (((base[i >> 3]! ^ address[i >> 3]!) >> (7 - (i & 7))) & 1) return false;
  return true;
}
