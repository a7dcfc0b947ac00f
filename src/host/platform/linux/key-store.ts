import type { Native, NativeBuffer } from './ffi.ts';

/** The keys of a thread's ciphers, side by side where native code reads them: a buffer for each would take ten times the room. */
export class KeyStore {
  readonly #native: Native;
  readonly #rooms: NativeBuffer[] = [];
  readonly #free: number[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  /** Copies a key of `LONGEST_KEY` octets at most. @returns its place, from 0 on */
  put(key: Uint8Array): number {
    if (this.#free.length === 0) this.#grow();
    const place = this.#free.pop()!;
    this.#room(place).octets.set(key, offsetOf(place));
    return place;
  }

  address(place: number): number {
    return this.#room(place).address + offsetOf(place);
  }

  /** Wipes what stands there, and gives the place to the next. */
  wipe(place: number): void {
    this.#room(place).octets.fill(0, offsetOf(place), offsetOf(place) + LONGEST_KEY);
    this.#free.push(place);
  }

  #grow(): void {
    const first = this.#rooms.length * KEYS;
    this.#rooms.push(this.#native.allocate(KEYS * LONGEST_KEY));
    for (let place = first + KEYS - 1; place >= first; place--) this.#free.push(place);
  }

  #room(place: number): NativeBuffer {
    return this.#rooms[Math.floor(place / KEYS)]!;
  }
}

const offsetOf = (place: number): number => (place % KEYS) * LONGEST_KEY;

/** Octets. */
export const LONGEST_KEY = 32;
/** Of one room. */
const KEYS = 128;
