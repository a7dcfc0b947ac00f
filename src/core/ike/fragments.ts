import { concat, EMPTY } from '../bytes/bytes.ts';
import { type Address, isIpv6 } from '../bytes/ip-address.ts';
import type { Millis } from './effects.ts';
import type { Connection } from './policy.ts';

/** Reassembly of one direction's encrypted fragments, RFC 7383 §2.6. Only fragments whose ICV verified come in here. */
export class Reassembly {
  readonly #sets = new Map<number, FragmentSet>();

  /** Kept of messages of which fragments are missing. */
  get octets(): number {
    let octets = 0;
    for (const set of this.#sets.values()) octets += set.octets;
    return octets;
  }

  /**
   * @param atOnce so many messages may be incomplete, as many as the window lets come
   * @returns the whole inner chain once its last piece is here
   */
  add(messageId: number, piece: Piece, now: Millis, atOnce = 1): Whole | undefined {
    if (piece.fragment < 1 || piece.fragment > piece.total || piece.total > MAX_FRAGMENTS) return undefined;
    const known = this.#sets.get(messageId);
    // §2.6: a larger Total Fragments means that the sender cut the message anew, into smaller pieces
    const set =
      known && piece.total <= known.total && now - known.startedAt <= LIFETIME ? known : this.#begin(messageId, piece.total, now, atOnce);
    const whole = set.add(piece);
    if (whole !== undefined || set.octets > MAX_OCTETS) this.#drop(messageId);
    return whole;
  }

  clear(): void {
    for (const messageId of this.#sets.keys()) this.#drop(messageId);
  }

  #begin(messageId: number, total: number, now: Millis, atOnce: number): FragmentSet {
    this.#drop(messageId);
    // the oldest first, as they were put in
    for (const old of this.#sets.keys()) if (this.#sets.size >= atOnce) this.#drop(old);
    const set = new FragmentSet(total, now);
    this.#sets.set(messageId, set);
    return set;
  }

  #drop(messageId: number): void {
    this.#sets.get(messageId)?.wipe();
    this.#sets.delete(messageId);
  }
}

interface Piece {
  readonly fragment: number;
  readonly total: number;
  readonly inner: number;
  readonly plaintext: Uint8Array;
  /** What the caller wants to keep of the first fragment. */
  readonly head?: Uint8Array | undefined;
}

interface Whole {
  readonly inner: number;
  readonly plaintext: Uint8Array;
  readonly head: Uint8Array | undefined;
}

class FragmentSet {
  readonly total: number;
  readonly startedAt: Millis;
  octets = 0;
  #missing: number;
  #inner = 0;
  #head: Uint8Array | undefined;
  readonly #parts: (Uint8Array | undefined)[];

  constructor(total: number, now: Millis) {
    this.total = total;
    this.startedAt = now;
    this.#missing = total;
    this.#parts = new Array<Uint8Array | undefined>(total).fill(undefined);
  }

  add({ fragment, total, inner, plaintext, head }: Piece): Whole | undefined {
    if (total < this.total || this.#parts[fragment - 1] !== undefined) return undefined;
    this.octets += plaintext.length;
    if (this.octets > MAX_OCTETS) return undefined;
    this.#parts[fragment - 1] = plaintext.slice();
    if (fragment === 1) {
      this.#inner = inner;
      this.#head = head;
    }
    return --this.#missing > 0 ? undefined : { inner: this.#inner, plaintext: concat(...(this.#parts as Uint8Array[])), head: this.#head };
  }

  wipe(): void {
    for (const part of this.#parts) (part ?? EMPTY).fill(0);
  }
}

/** Octets of one IKE message that fits an IP datagram of `datagram` octets (RFC 7383 §2.5.1). */
export const messageOctets = (datagram: number, ipv6: boolean, encap: boolean): number => datagram - headersOf(ipv6, encap);

/** Octets of IP, UDP and the non-ESP marker. */
export const headersOf = (ipv6: boolean, encap: boolean): number => (ipv6 ? 40 : 20) + 8 + (encap ? 4 : 0);

interface OnPath {
  readonly connection: Pick<Connection, 'fragmentSize'> | undefined;
  readonly remote: Address;
  /** What is known to pass on its path, where that is less than the configuration takes for granted. */
  datagram: number | undefined;
}

/** Octets of the largest IP datagram that a fragment may be. */
export const datagramSize = ({ connection, datagram }: OnPath): number =>
  Math.min(connection?.fragmentSize ?? DEFAULT_SIZE, datagram ?? Number.POSITIVE_INFINITY);

/** RFC 7383 §2.5.2: the path is searched downwards, in few steps. @returns undefined at the smallest size that is tried */
export const smallerThan = (size: number, { remote }: OnPath): number | undefined =>
  (isIpv6(remote.ip) ? IPV6_SIZES : IPV4_SIZES).find((step) => step < size);

/**
 * Octets that passed, or that an ICMP error names, which anybody may have made up: it counts down to the smallest size, and never up.
 * @returns whether it is news
 */
export function learnDatagramSize(sa: OnPath, octets: number): boolean {
  // RFC 7383 §2.5.1: just as large, and not the next step down: whoever cuts to 1280 fills whole blocks of its cipher, so somewhat less comes
  const size = Math.max(octets, (isIpv6(sa.remote.ip) ? IPV6_SIZES : IPV4_SIZES).at(-1)!);
  if (size >= datagramSize(sa)) return false;
  sa.datagram = size;
  return true;
}

/** The minimum MTU of IPv6 passes nearly everywhere (RFC 7383 §2.5.1). */
const DEFAULT_SIZE = 1280;
const IPV6_SIZES: readonly number[] = [1280];
/** §2.5.1 recommends the last one where nothing is known. */
const IPV4_SIZES: readonly number[] = [1280, 576];
/** Some peers cut to some 600 octets: a long chain of certificates then takes dozens. */
const MAX_FRAGMENTS = 255;
const MAX_OCTETS = 65_535;
/** A peer that repeats its request sends all fragments again, so half a set is worthless after a while. */
const LIFETIME: Millis = 30_000;
