import { formatIp } from '../bytes/index.ts';
import type { Millis } from './ready.ts';

/** What routers said about the MTU of paths (RFC 1191, RFC 8201). Bounded; beliefs expire. */
export class PathMtuCache {
  readonly #entries = new Map<string, { readonly mtu: number; readonly expires: Millis }>();

  /** @returns the MTU believed in, and until when; undefined when nothing is known. */
  get(destination: Uint8Array, now: Millis): { readonly mtu: number; readonly expires: Millis } | undefined {
    if (this.#entries.size === 0) return undefined;
    const entry = this.#entries.get(formatIp(destination));
    return entry !== undefined && entry.expires > now ? entry : undefined;
  }

  /**
   * @param announced MTU in the ICMP message; 0 from a router older than RFC 1191.
   * @param rejected total length of the packet that did not fit.
   * @param limit MTU of the own interface.
   * @returns the new belief, or undefined when the message changes nothing: no path gets larger that way.
   */
  learn(destination: Uint8Array, announced: number, rejected: number, limit: number, now: Millis): number | undefined {
    const floor = destination.length === 4 ? FLOOR_V4 : FLOOR_V6;
    const said = announced === 0 && destination.length === 4 ? plateauBelow(rejected) : announced;
    // RFC 8201 §4: an IPv6 path carries 1280 whatever the message says. For IPv4 less than this is an attack (RFC 5927 §7).
    const mtu = Math.max(floor, said);
    if (mtu >= (this.get(destination, now)?.mtu ?? limit)) return undefined;
    const key = formatIp(destination);
    this.#entries.delete(key);
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, { mtu, expires: now + PATH_MTU_LIFE });
    return mtu;
  }

  clear(): void {
    this.#entries.clear();
  }
}

/** RFC 1191 §7.1. */
function plateauBelow(length: number): number {
  return PLATEAUS.find((plateau) => plateau < length) ?? FLOOR_V4;
}

const PLATEAUS = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296] as const;

/** RFC 1191 §6.3, RFC 8201 §4: ten minutes until a larger one is tried. */
export const PATH_MTU_LIFE: Millis = 600_000;
const FLOOR_V6 = 1280;
/** Ours, the value of Linux: 512 octets of data and 40 of headers. */
const FLOOR_V4 = 552;
const MAX_ENTRIES = 1024;
