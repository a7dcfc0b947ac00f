import { ApiMisuse, formatIp, parseIp } from '../bytes/index.ts';
import { type IpView, sameOctets } from '../packet/index.ts';

/** The own addresses of a stack, and which packets are for it. */
export class Addresses {
  readonly promiscuous: boolean;
  #own: readonly Uint8Array[] = [];
  #texts: readonly string[] = [];

  constructor(texts: readonly string[], promiscuous: boolean) {
    this.promiscuous = promiscuous;
    this.replace(texts);
  }

  get texts(): readonly string[] {
    return this.#texts;
  }

  /** @throws ApiMisuse for what is no address, or none that a host may have. */
  replace(texts: readonly string[]): void {
    const own = texts.map((text) => parseIp(text));
    for (const octets of own) {
      if (isMulticast(octets, 0, octets.length) || isUnspecified(octets, 0, octets.length)) {
        throw new ApiMisuse(`${formatIp(octets)} is not an address of a host`, { code: 'EADDRNOTAVAIL' });
      }
    }
    this.#own = own;
    this.#texts = own.map(formatIp);
  }

  /** Whether the packet's destination is ours, by right or because everything is taken. */
  accepts(view: IpView): boolean {
    if (isMulticast(view.data, view.destinationAt, view.addressLength)) return false;
    return this.promiscuous || this.holds(view.data, view.destinationAt, view.addressLength);
  }

  holds(data: Uint8Array, at: number, length: number): boolean {
    for (const own of this.#own) if (own.length === length && sameOctets(own, 0, data, at, length)) return true;
    return false;
  }

  /** The own address to talk to `destination` from: of its family, with the longest common prefix (RFC 6724 §5 rule 8). */
  sourceFor(destination: Uint8Array): Uint8Array | undefined {
    let best: Uint8Array | undefined;
    let bestBits = -1;
    for (const own of this.#own) {
      if (own.length !== destination.length) continue;
      const bits = commonPrefix(own, destination);
      if (bits > bestBits) [best, bestBits] = [own, bits];
    }
    return best;
  }
}

/** Nobody may send from there (RFC 1122 §3.2.1.3, RFC 4291 §2.7, §2.5.2 and §2.5.3); no answer may go there. */
export function isImpossibleSource(view: IpView): boolean {
  const { data, sourceAt, addressLength } = view;
  if (isMulticast(data, sourceAt, addressLength) || isUnspecified(data, sourceAt, addressLength)) return true;
  return addressLength === 4 ? data[sourceAt] === 127 : isUnspecified(data, sourceAt, 15) && data[sourceAt + 15] === 1;
}

/** Multicast, and for IPv4 the whole of 224/3: class E and the limited broadcast too. */
function isMulticast(data: Uint8Array, at: number, length: number): boolean {
  return length === 4 ? data[at]! >= 224 : data[at] === 0xff;
}

function isUnspecified(data: Uint8Array, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (data[at + i] !== 0) return false;
  return true;
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return 8 * i + Math.clz32(a[i]! ^ b[i]!) - 24;
  return 8 * a.length;
}
