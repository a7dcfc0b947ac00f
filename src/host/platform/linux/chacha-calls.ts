import { CallList, type RunCalls } from './call-list.ts';
import type { Native, NativeBuffer } from './ffi.ts';

/** Addresses of the functions that a packet takes. */
export type ChachaAddresses = Readonly<Record<(typeof CHACHA_NAMES)[number], number>>;

export const CHACHA_NAMES = [
  'memset',
  'memcpy',
  'ChaCha20_ctr32',
  'Poly1305_Init',
  'Poly1305_Update',
  'Poly1305_Final',
  'CRYPTO_memcmp',
] as const;

/** Addresses in memory that all packets are worked on in, one behind the other. */
export interface ChachaScratch {
  readonly poly1305: number;
  /** Of ChaCha20, 64 octets; its last 16 are the head's once the one-time key was taken. */
  readonly block: number;
  /** Right behind the block. */
  readonly body: number;
  readonly tag: number;
}

/**
 * The calls for a few packets, in the order in which `BareChacha` makes them singly; what is the same for every packet is written once. Few at a
 * time: longer lists spare nothing more, and take as much memory as they are long.
 */
export class ChachaCalls {
  /** A place of `CHACHA_PLACE` octets for each packet. */
  readonly places: NativeBuffer;
  readonly #scratch: ChachaScratch;
  readonly #sealing: CallList;
  readonly #opening: CallList;

  constructor(native: Native, runner: RunCalls, addresses: ChachaAddresses, scratch: ChachaScratch) {
    this.#scratch = scratch;
    this.places = native.allocate(CHACHA_AT_ONCE * CHACHA_PLACE.size);
    this.#sealing = new CallList(native, runner, CHACHA_AT_ONCE * SEALING.length);
    this.#opening = new CallList(native, runner, CHACHA_AT_ONCE * OPENING.length);
    for (let i = 0; i < CHACHA_AT_ONCE; i++) {
      this.#prepare(this.#sealing, i, SEALING, addresses);
      this.#prepare(this.#opening, i, OPENING, addresses);
    }
  }

  /** Packet `i`, whose counter and ends stand in its place. @param body address of it; its tag follows it */
  addToSeal(i: number, key: number, body: number, length: number): void {
    const list = this.#sealing;
    const { body: scratch } = this.#scratch;
    const first = i * SEALING.length;
    const padding = -length & 15;
    list.argue(first + 1, 1, body);
    list.argue(first + 1, 2, length);
    list.argue(first + 2, 2, BLOCK + length);
    list.argue(first + 2, 3, key);
    this.#authenticate(list, first + 5, i, scratch, length, padding);
    list.argue(first + 7, 1, body + length);
    list.argue(first + 8, 0, body);
    list.argue(first + 8, 2, length);
  }

  /** As `addToSeal`. What is not authentic is left as it is. */
  addToOpen(i: number, key: number, body: number, length: number): void {
    const list = this.#opening;
    const { body: scratch } = this.#scratch;
    const first = i * OPENING.length;
    const padding = -length & 15;
    list.argue(first + 1, 3, key);
    list.argue(first + 4, 1, body);
    list.argue(first + 4, 2, length);
    this.#authenticate(list, first + 5, i, scratch, length, padding);
    list.argue(first + 8, 1, body + length);
    list.argue(first + 9, 0, body);
    list.argue(first + 9, 2, length);
    list.argue(first + 9, 3, key);
  }

  /** Seals packets 0 to `count`, the latter not. */
  seal(count: number): void {
    this.#sealing.run(0, count * SEALING.length);
  }

  /** Opens packets `from` to `behind`, the latter not. @returns the one that is not authentic, and was the last; `behind` if all are */
  open(from: number, behind: number): number {
    return Math.floor(this.#opening.run(from * OPENING.length, behind * OPENING.length) / OPENING.length);
  }

  /** Zeros to a multiple of 16 and both lengths behind the body, and all of it from the head on. */
  #authenticate(list: CallList, call: number, i: number, body: number, length: number, padding: number): void {
    list.argue(call, 0, body + length);
    list.argue(call, 1, this.#place(i, CHACHA_PLACE.lengths) - padding);
    list.argue(call, 2, padding + LENGTHS);
    list.argue(call + 1, 2, HEAD + length + padding + LENGTHS);
  }

  /** All that does not depend on the packet. */
  #prepare(list: CallList, i: number, calls: typeof SEALING | typeof OPENING, addresses: ChachaAddresses): void {
    const { block, body, poly1305, tag } = this.#scratch;
    const fixed: Readonly<Record<keyof typeof FIXED, readonly number[]>> = {
      clear: [block, 0, BLOCK],
      take: [body],
      encrypt: [block, block, 0, 0, this.#place(i, CHACHA_PLACE.counter)],
      oneTimeKey: [block, block, BLOCK, 0, this.#place(i, CHACHA_PLACE.counter)],
      begin: [poly1305, block],
      head: [body - HEAD, this.#place(i, CHACHA_PLACE.head), HEAD],
      behind: [],
      authenticate: [poly1305, body - HEAD],
      finish: [poly1305],
      tag: [poly1305, tag],
      compare: [tag, 0, TAG],
      putBack: [0, body],
      decrypt: [0, body, 0, 0, this.#place(i, CHACHA_PLACE.counterOfBody)],
    };
    calls.forEach((what, at) => {
      const call = i * calls.length + at;
      // CRYPTO_memcmp returns 0 where both are alike; the others say nothing
      list.prepare(call, addresses[FIXED[what]], what === 'compare' ? 0xffffffff : 0, 0);
      fixed[what].forEach((value, which) => void list.argue(call, which, value));
    });
  }

  #place(i: number, offset: number): number {
    return this.places.address + i * CHACHA_PLACE.size + offset;
  }
}

/** Which function each of the calls is. */
const FIXED = {
  clear: 'memset',
  take: 'memcpy',
  encrypt: 'ChaCha20_ctr32',
  oneTimeKey: 'ChaCha20_ctr32',
  begin: 'Poly1305_Init',
  head: 'memcpy',
  behind: 'memcpy',
  authenticate: 'Poly1305_Update',
  finish: 'Poly1305_Final',
  tag: 'Poly1305_Final',
  compare: 'CRYPTO_memcmp',
  putBack: 'memcpy',
  decrypt: 'ChaCha20_ctr32',
} as const satisfies Record<string, (typeof CHACHA_NAMES)[number]>;

/** Of one packet, in order. */
const SEALING = ['clear', 'take', 'encrypt', 'begin', 'head', 'behind', 'authenticate', 'finish', 'putBack'] as const;
const OPENING = ['clear', 'oneTimeKey', 'begin', 'head', 'take', 'behind', 'authenticate', 'tag', 'compare', 'decrypt'] as const;

export const CHACHA_AT_ONCE = 8;

/** What stands in a packet's place, in octets. */
export const CHACHA_PLACE = {
  /** 0 | salt | IV, and the same with 1. */
  counter: 0,
  counterOfBody: 16,
  /** What is authenticated only, and zeros to 16 octets. */
  head: 32,
  /** Behind 16 zeros, both lengths. */
  lengths: 64,
  size: 80,
} as const;

const BLOCK = 64;
const HEAD = 16;
const LENGTHS = 16;
const TAG = 16;
