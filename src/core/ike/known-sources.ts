import { formatIp, isIpv6, parseIp } from '../bytes/ip-address.ts';

/** Addresses, prefixes and `%any`, made ready for being asked at the pace of a flood. */
export class KnownSources {
  readonly #anybody: boolean;
  readonly #addresses: ReadonlySet<string>;
  readonly #v4: readonly { readonly network: number; readonly mask: number }[];
  readonly #v6: readonly { readonly network: Uint8Array; readonly bits: number }[];

  constructor(patterns: Iterable<string>) {
    const addresses = new Set<string>();
    const v4 = [];
    const v6 = [];
    let anybody = false;
    for (const pattern of patterns) {
      const [address = '', length] = pattern.split('/');
      if (address.startsWith('%any')) anybody = true;
      else if (length === undefined) addresses.add(formatIp(parseIp(address)));
      else if (isIpv6(address)) v6.push({ network: parseIp(address), bits: Number(length) });
      else {
        const mask = length === '0' ? 0 : (0xffff_ffff << (32 - Number(length))) >>> 0;
        v4.push({ network: (numberOf(formatIp(parseIp(address))) & mask) >>> 0, mask });
      }
    }
    this.#anybody = anybody;
    this.#addresses = addresses;
    this.#v4 = v4;
    this.#v6 = v6;
  }

  get size(): number {
    return this.#addresses.size + this.#v4.length + this.#v6.length + (this.#anybody ? 1 : 0);
  }

  /** @param ip in the form that `formatIp` prints */
  has(ip: string): boolean {
    if (this.#anybody || this.#addresses.has(ip)) return true;
    if (isIpv6(ip)) return this.#v6.length > 0 && this.#hasV6(parseIp(ip));
    if (this.#v4.length === 0) return false;
    const address = numberOf(ip);
    for (const { network, mask } of this.#v4) if ((address & mask) >>> 0 === network) return true;
    return false;
  }

  #hasV6(address: Uint8Array): boolean {
    return this.#v6.some(({ network, bits }) => sameBits(network, address, bits));
  }
}

function sameBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >>> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (a[whole]! ^ b[whole]!) >>> (8 - rest) === 0;
}

function numberOf(ip: string): number {
  let address = 0;
  let octet = 0;
  for (let i = 0; i < ip.length; i++) {
    const digit = ip.charCodeAt(i) - 48;
    if (digit >= 0) octet = octet * 10 + digit;
    else {
      address = address * 256 + octet;
      octet = 0;
    }
  }
  return address * 256 + octet;
}
