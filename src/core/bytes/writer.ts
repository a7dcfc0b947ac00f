import { ApiMisuse } from './errors.ts';

/** A growing buffer in network byte order. `finish` gives a view of exactly what was written. */
export class Writer {
  #data: Uint8Array;
  #length = 0;

  constructor(capacity = 512) {
    this.#data = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#data[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#data[at] = value >>> 8;
    this.#data[at + 1] = value;
    return this;
  }

  u24(value: number): this {
    return this.u8(value >>> 16).u16(value & 0xffff);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  u64(value: bigint): this {
    return this.u32(Number((value >> 32n) & 0xffffffffn)).u32(Number(value & 0xffffffffn));
  }

  bytes(data: Uint8Array): this {
    const at = this.#grow(data.length);
    this.#data.set(data, at);
    return this;
  }

  zero(length: number): this {
    const at = this.#grow(length);
    this.#data.fill(0, at, at + length);
    return this;
  }

  /** Overwrites two octets written earlier: a length that is known only afterwards. */
  patchU16(at: number, value: number): this {
    if (value > 0xffff || at + 2 > this.#length) throw new ApiMisuse(`patchU16(${at}, ${value}) is out of range`);
    this.#data[at] = value >>> 8;
    this.#data[at + 1] = value;
    return this;
  }

  patchU8(at: number, value: number): this {
    if (at >= this.#length) throw new ApiMisuse(`patchU8(${at}) is out of range`);
    this.#data[at] = value;
    return this;
  }

  patchU32(at: number, value: number): this {
    return this.patchU16(at, value >>> 16).patchU16(at + 2, value & 0xffff);
  }

  /** Begins anew in the same buffer: what `finish` gave before is wiped. */
  reset(): this {
    this.#data.fill(0, 0, this.#length);
    this.#length = 0;
    return this;
  }

  finish(): Uint8Array {
    return this.#data.subarray(0, this.#length);
  }

  #grow(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#data.length) {
      const larger = new Uint8Array(Math.max(needed, this.#data.length * 2));
      larger.set(this.#data.subarray(0, at));
      this.#data = larger;
    }
    this.#length = needed;
    return at;
  }
}
