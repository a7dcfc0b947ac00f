import { concat, EMPTY } from '../bytes/bytes.ts';
import type { Millis } from './effects.ts';

/** Reassembly of one direction's encrypted fragments, RFC 7383 §2.6. Only fragments whose ICV verified come in here. */
export class Reassembly {
  #messageId = -1;
  #total = 0;
  #octets = 0;
  #inner = 0;
  #startedAt: Millis = 0;
  /** What its caller wants to keep of the first fragment. */
  #head: Uint8Array | undefined;
  #parts: (Uint8Array | undefined)[] = [];

  /** Kept of a message of which fragments are missing. */
  get octets(): number {
    return this.#octets;
  }

  /** @returns the whole inner chain once its last piece is here. */
  add(
    messageId: number,
    piece: { fragment: number; total: number; inner: number; plaintext: Uint8Array; head?: Uint8Array | undefined },
    now: Millis,
  ): { inner: number; plaintext: Uint8Array; head: Uint8Array | undefined } | undefined {
    if (piece.fragment < 1 || piece.fragment > piece.total || piece.total > MAX_FRAGMENTS) return undefined;
    if (messageId !== this.#messageId || piece.total > this.#total || now - this.#startedAt > LIFETIME) {
      // §2.6: a larger Total Fragments means that the sender cut the message anew, into smaller pieces
      this.#begin(messageId, piece.total, now);
    }
    if (piece.total < this.#total || this.#parts[piece.fragment - 1] !== undefined) return undefined;
    this.#octets += piece.plaintext.length;
    if (this.#octets > MAX_OCTETS) {
      this.clear();
      return undefined;
    }
    this.#parts[piece.fragment - 1] = piece.plaintext.slice();
    if (piece.fragment === 1) {
      this.#inner = piece.inner;
      this.#head = piece.head;
    }
    if (this.#parts.includes(undefined)) return undefined;
    const whole = { inner: this.#inner, plaintext: concat(...(this.#parts as Uint8Array[])), head: this.#head };
    this.clear();
    return whole;
  }

  clear(): void {
    this.#begin(-1, 0, 0);
  }

  #begin(messageId: number, total: number, now: Millis): void {
    for (const part of this.#parts) (part ?? EMPTY).fill(0);
    this.#messageId = messageId;
    this.#total = total;
    this.#octets = 0;
    this.#startedAt = now;
    this.#parts = new Array<Uint8Array | undefined>(total).fill(undefined);
  }
}

/** Octets of one IKE message that fits an IP datagram of `datagram` octets (RFC 7383 §2.5.1). */
export function messageOctets(datagram: number, ipv6: boolean, encap: boolean): number {
  return datagram - (ipv6 ? 40 : 20) - 8 - (encap ? 4 : 0);
}

/** Some peers cut to some 600 octets: a long chain of certificates then takes dozens. */
const MAX_FRAGMENTS = 255;
const MAX_OCTETS = 65_535;
/** A peer that repeats its request sends all fragments again, so half a set is worthless after a while. */
const LIFETIME: Millis = 30_000;
