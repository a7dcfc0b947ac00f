import { getU16, IPV6_FRAGMENT_HEADER, type IpView, putU16 } from '../packet/index.ts';
import type { Counters } from './counters.ts';
import type { Millis } from './ready.ts';

/**
 * Puts fragments together (RFC 791 §3.2, RFC 8200 §4.5). Fragments that overlap condemn the whole packet (RFC 5722 §4; for IPv4 too, as
 * nobody overlaps in good faith). Memory, packets and time are bounded; the oldest goes first.
 */
export class Reassembly {
  readonly #counters: Counters;
  readonly #partial = new Map<string, Partial>();
  #octets = 0;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** When the oldest packet has to be given up. */
  get deadline(): Millis | undefined {
    for (const partial of this.#partial.values()) return partial.expires;
    return undefined;
  }

  /** @returns the whole packet once its last piece is here. */
  add(view: IpView, now: Millis): Uint8Array | undefined {
    this.#counters.fragmentsIn++;
    const key = keyOf(view);
    let partial = this.#partial.get(key);
    if (partial === undefined) {
      if (this.#partial.size >= MAX_PACKETS) this.#giveUpOldest();
      partial = { expires: now + LIFE, pieces: [], octets: 0, total: undefined, head: undefined, condemned: false };
      this.#partial.set(key, partial);
    }
    if (partial.condemned) return undefined;
    const start = view.fragmentOffset;
    const piece: Piece = { start, end: start + view.end - view.payload, data: copyOf(view, view.payload, view.end) };
    const fit = place(partial, piece, view);
    if (fit === 'duplicate') return undefined;
    if (fit === 'conflict') {
      this.#condemn(partial);
      return undefined;
    }
    partial.octets += piece.data.length;
    this.#octets += piece.data.length;
    if (start === 0) partial.head = copyOf(view, view.start, view.payload);
    const whole = assemble(partial, view);
    if (whole !== undefined) {
      this.#remove(key, partial);
      this.#counters.packetsReassembled++;
      return whole;
    }
    while (this.#octets > MAX_OCTETS) this.#giveUpOldest();
    return undefined;
  }

  /**
   * Forgets what waited too long.
   * @param onTimeout gets the header and first octets of each packet whose first fragment did arrive: its sender is to be told (RFC 8200
   *   §4.5, RFC 792).
   */
  expire(now: Millis, onTimeout: (packet: Uint8Array) => void): void {
    for (const [key, partial] of this.#partial) {
      if (partial.expires > now) return;
      this.#remove(key, partial);
      if (partial.condemned) continue;
      this.#counters.reassemblyFailed++;
      const first = partial.pieces[0];
      if (partial.head === undefined || first === undefined) continue;
      const packet = new Uint8Array(partial.head.length + first.data.length);
      packet.set(partial.head);
      packet.set(first.data, partial.head.length);
      onTimeout(packet);
    }
  }

  clear(): void {
    this.#partial.clear();
    this.#octets = 0;
  }

  /** RFC 5722 §4: those still to come are dropped too, so the name stays until it expires. */
  #condemn(partial: Partial): void {
    this.#counters.reassemblyFailed++;
    this.#octets -= partial.octets;
    partial.octets = 0;
    partial.pieces.length = 0;
    partial.condemned = true;
  }

  #giveUpOldest(): void {
    for (const [key, partial] of this.#partial) {
      if (!partial.condemned) this.#counters.reassemblyFailed++;
      this.#remove(key, partial);
      return;
    }
  }

  #remove(key: string, partial: Partial): void {
    this.#partial.delete(key);
    this.#octets -= partial.octets;
  }
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly data: Uint8Array;
}

interface Partial {
  readonly expires: Millis;
  /** Sorted, disjoint. */
  readonly pieces: Piece[];
  octets: number;
  /** Octets of the whole fragmentable part, once the last piece is here. */
  total: number | undefined;
  /** Headers of the first fragment; for IPv6 its Fragment header is the last eight octets. */
  head: Uint8Array | undefined;
  condemned: boolean;
}

function place(partial: Partial, piece: Piece, view: IpView): 'placed' | 'duplicate' | 'conflict' {
  if (!view.moreFragments) {
    if (partial.total !== undefined && partial.total !== piece.end) return 'conflict';
    partial.total = piece.end;
  }
  const last = partial.pieces[partial.pieces.length - 1];
  const reach = Math.max(last?.end ?? 0, piece.end);
  if (partial.total !== undefined && reach > partial.total) return 'conflict';
  let at = partial.pieces.length;
  while (at > 0 && partial.pieces[at - 1]!.start > piece.start) at--;
  const before = partial.pieces[at - 1];
  const after = partial.pieces[at];
  // RFC 8200 §4.5: an exact copy may simply be dropped.
  if (before !== undefined && before.start === piece.start && before.end === piece.end) return 'duplicate';
  if (before !== undefined && before.end > piece.start) return 'conflict';
  if (after !== undefined && after.start < piece.end) return 'conflict';
  if (partial.pieces.length >= MAX_PIECES) return 'conflict';
  partial.pieces.splice(at, 0, piece);
  return 'placed';
}

function assemble(partial: Partial, view: IpView): Uint8Array | undefined {
  const { head, total, pieces } = partial;
  if (head === undefined || total === undefined) return undefined;
  let reached = 0;
  for (const piece of pieces) {
    if (piece.start !== reached) return undefined;
    reached = piece.end;
  }
  if (reached !== total) return undefined;
  const headers = view.version === 4 ? head.length : head.length - IPV6_FRAGMENT_HEADER;
  const length = headers + total;
  if (length > MAX_PACKET + (view.version === 6 ? 40 : 0)) return undefined;
  const whole = new Uint8Array(length);
  whole.set(head.subarray(0, headers));
  for (const piece of pieces) whole.set(piece.data, headers + piece.start);
  if (view.version === 4) mendIpv4(whole, length);
  else mendIpv6(whole, head, headers);
  return whole;
}

/** The packet's memory is its sender's again when the call returns. */
const copyOf = (view: IpView, start: number, end: number): Uint8Array => new Uint8Array(view.data.subarray(start, end));

/** Its checksum was right for each fragment and is not looked at again. */
function mendIpv4(packet: Uint8Array, length: number): void {
  putU16(packet, 2, length);
  putU16(packet, 6, getU16(packet, 6) & 0x4000);
}

/** RFC 8200 §4.5: the header before the Fragment header names what that named; its place is where the chain says 44. */
function mendIpv6(packet: Uint8Array, head: Uint8Array, headers: number): void {
  putU16(packet, 4, packet.length - 40);
  let nextAt = 6;
  for (let at = 40; at < headers; at += (packet[at + 1]! + 1) * 8) nextAt = at;
  packet[nextAt] = head[headers]!;
}

/** RFC 791 §3.2 and RFC 8200 §4.5: source, destination, identification; for IPv4 the protocol too. */
function keyOf(view: IpView): string {
  let key = `${view.version} ${view.identification} ${view.version === 4 ? view.protocol : ''} `;
  for (let i = 0; i < 2 * view.addressLength; i++) key += `${view.data[view.sourceAt + i]!.toString(16)}.`;
  return key;
}

/** RFC 8200 §4.5: 60 seconds. RFC 1122 §3.3.2 allows 60 to 120. */
const LIFE: Millis = 60_000;
/** Ours. */
const MAX_PACKETS = 64;
const MAX_OCTETS = 1024 * 1024;
const MAX_PIECES = 128;
const MAX_PACKET = 65535;
