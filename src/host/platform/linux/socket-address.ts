import { ApiMisuse, formatIp, tryParseIp } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from './ffi.ts';

/** A `sockaddr_in` or `sockaddr_in6` that native code can be handed, written once for each peer. */
export class SocketAddress {
  /** Segments from this size on do not pass the path to it in one message (UDP_SEGMENT), as far as was seen. */
  segmentLimit = Number.POSITIVE_INFINITY;
  readonly #native: Native;
  /** The structure, in words of this machine: a gateway keeps one for each peer, and memory of its own would take ten times the room. */
  readonly #words: number[] = new Array<number>(SOCKADDR_IN6 >> 2).fill(0);
  #octets: NativeBuffer | undefined;
  #ip = '';
  #port = -1;
  #length = 0;

  constructor(native: Native) {
    this.#native = native;
  }

  /** @throws ApiMisuse `NOT_AN_ADDRESS` */
  static of(native: Native, ip: string, port: number): SocketAddress {
    const address = new SocketAddress(native);
    if (!address.set(ip, port)) throw new ApiMisuse(`not an address and a port: ${ip.slice(0, 64)} ${port}`, { code: 'NOT_AN_ADDRESS' });
    return address;
  }

  /** @returns false for what is not an IP literal and a port */
  set(ip: string, port: number): boolean {
    if (ip === this.#ip && port === this.#port) return true;
    const parsed = tryParseIp(ip);
    if (parsed === undefined || !Number.isInteger(port) || port < 0 || port > 0xffff) return false;
    const words = this.#words.fill(0);
    // Little-endian as all machines with native calls are; the port and the address are big-endian.
    words[0] = (parsed.length === 4 ? AF_INET : AF_INET6) | ((port >> 8) << 16) | (port << 24);
    for (let i = 0; i < parsed.length; i++) words[(parsed.length === 4 ? 1 : 2) + (i >> 2)]! |= parsed[i]! << (8 * (i & 3));
    this.#octets = undefined;
    this.#length = parsed.length === 4 ? SOCKADDR_IN : SOCKADDR_IN6;
    this.segmentLimit = Number.POSITIVE_INFINITY;
    this.#ip = ip;
    this.#port = port;
    return true;
  }

  get ip(): string {
    return this.#ip;
  }

  get port(): number {
    return this.#port;
  }

  get isV6(): boolean {
    return this.#length === SOCKADDR_IN6;
  }

  /** For a call now and then: it gets memory of its own with the first. */
  get pointer(): number {
    if (this.#octets === undefined) {
      this.#octets = this.#native.allocate(SOCKADDR);
      this.writeTo(this.#octets);
    }
    return this.#octets.address;
  }

  /** @param to of `SOCKADDR` octets */
  writeTo({ u32 }: NativeBuffer): void {
    const words = this.#words;
    for (let i = 0; i < words.length; i++) u32[i] = words[i]!;
  }

  /** Octets. */
  get length(): number {
    return this.#length;
  }
}

/**
 * Texts of addresses as they come in, so that packets of the same peer make no new string. It remembers so many and no more, whoever
 * sends: an address takes the place of another one.
 */
export class AddressTexts {
  /** Per place: 0 empty, 1 IPv4, 4 IPv6. */
  readonly #kinds = new Uint8Array(PLACES);
  readonly #words = new Uint32Array(PLACES * 4);
  readonly #texts: string[] = new Array<string>(PLACES).fill('');

  /** @param at offset of the address in `from`, a multiple of 4 */
  text(from: NativeBuffer, at: number, octets: 4 | 16): string {
    const { u32 } = from;
    const first = at >> 2;
    const count = octets >> 2;
    let mixed = 0;
    for (let i = 0; i < count; i++) mixed = Math.imul(mixed ^ u32[first + i]!, 0x9e3779b1) ^ (mixed >>> 15);
    const place = mixed >>> (32 - PLACES_BITS);
    const words = this.#words;
    let known = this.#kinds[place] === count;
    for (let i = 0; known && i < count; i++) known = words[place * 4 + i] === u32[first + i];
    if (!known) {
      this.#kinds[place] = count;
      for (let i = 0; i < count; i++) words[place * 4 + i] = u32[first + i]!;
      this.#texts[place] = formatIp(from.octets.subarray(at, at + octets));
    }
    return this.#texts[place]!;
  }
}

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Octets of the larger of the two, and a multiple of 8. */
export const SOCKADDR = 32;
const SOCKADDR_IN = 16;
const SOCKADDR_IN6 = 28;

const PLACES_BITS = 9;
const PLACES = 2 ** PLACES_BITS;
