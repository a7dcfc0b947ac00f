import { MOST_IN_BURST } from '../../../core/crypto/packet-burst.ts';
import { ARGUMENT, CallList, type RunCalls } from './call-list.ts';
import type { Native, NativeBuffer } from './ffi.ts';

/** Addresses of the two functions that a packet takes. */
export interface GcmAddresses {
  readonly setIv: number;
  readonly oneShot: number;
}

/**
 * The calls for a burst of packets: two for each, of which all that is the same for every packet is written once, and the upper half of the
 * packets' addresses once for each buffer.
 */
export class GcmCalls {
  /** A place of `PLACE` octets for each packet: its nonce, and the head that it has with ESN. */
  readonly places: Uint8Array;
  readonly #memory: NativeBuffer;
  readonly #list: CallList;
  /** Upper half of the addresses of packets. */
  #high = -1;

  constructor(native: Native, runner: RunCalls, addresses: GcmAddresses) {
    this.#list = new CallList(native, runner, 2 * MOST_IN_BURST);
    this.#memory = native.allocate(MOST_IN_BURST * PLACE.size);
    this.places = this.#memory.octets;
    for (let i = 0; i < MOST_IN_BURST; i++) {
      this.#list.prepare(2 * i, addresses.setIv, ALL_BITS, 1);
      this.#list.argue(2 * i, 1, this.#memory.address + i * PLACE.size + PLACE.nonce);
      this.#list.argue(2 * i, 2, PLACE.nonceLength);
      this.#list.prepare(2 * i + 1, addresses.oneShot, ALL_BITS, 1);
      this.#list.argue(2 * i + 1, 7, TAG);
    }
  }

  /**
   * Begins a burst over packets in one buffer.
   * @returns false where a carry would go from one half of an address to the other: the caller then makes its calls singly
   */
  begin(address: number, length: number): boolean {
    const high = Math.floor(address / 2 ** 32);
    if (address + length >= (high + 1) * 2 ** 32) return false;
    if (high === this.#high) return true;
    this.#high = high;
    const { words } = this.#list;
    for (let i = 0; i < MOST_IN_BURST; i++) for (const which of [FROM, TO, TAG_AT]) words[at(i, which) + 1] = high;
    return true;
  }

  /**
   * Packet `i` of the burst.
   * @param low lower half of the buffer's address
   * @param headAt offset of what is authenticated only, -1 where it stands in the packet's place
   */
  add(i: number, context: number, low: number, headAt: number, headLength: number, bodyAt: number, bodyEnd: number): void {
    const { words } = this.#list;
    const setIv = 2 * i * ARGUMENT.perCall + ARGUMENT.first;
    const oneShot = setIv + ARGUMENT.perCall;
    const upper = context / 2 ** 32;
    words[setIv] = context;
    words[setIv + 1] = upper;
    words[oneShot] = context;
    words[oneShot + 1] = upper;
    if (headAt < 0) {
      const place = this.#memory.address + i * PLACE.size + PLACE.esnHead;
      words[oneShot + 2] = place;
      words[oneShot + 3] = place / 2 ** 32;
    } else {
      words[oneShot + 2] = low + headAt;
      words[oneShot + 3] = this.#high;
    }
    words[oneShot + 4] = headLength;
    words[oneShot + 6] = low + bodyAt;
    words[oneShot + 8] = bodyEnd - bodyAt;
    words[oneShot + 10] = low + bodyAt;
    words[oneShot + 12] = low + bodyEnd;
  }

  /** Seals or opens packets `from` to `behind`, the latter not. @returns the one that failed, and was the last; `behind` if none did */
  run(from: number, behind: number): number {
    return this.#list.run(2 * from, 2 * behind) >> 1;
  }
}

/** What stands in a packet's place, in octets. */
export const PLACE = { nonce: 0, nonceLength: 12, esnHead: 16, size: 32 } as const;

/** Index of the lower half of an argument of a packet's second call. */
const at = (i: number, which: number): number => (2 * i + 1) * ARGUMENT.perCall + ARGUMENT.first + 2 * which;
const FROM = 3;
const TO = 5;
const TAG_AT = 6;
const TAG = 16;
const ALL_BITS = 0xffffffff;
