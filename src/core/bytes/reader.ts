import { EMPTY } from './bytes.ts';
import { MalformedMessage } from './errors.ts';

/**
 * A bounded cursor over bytes in network byte order. Nothing is copied: `bytes` and `rest` are views.
 * Reading past the end throws `MalformedMessage` with the absolute offset and the name of the field.
 */
export class Reader {
  readonly #data: Uint8Array;
  readonly #base: number;
  readonly #end: number;
  #at: number;

  /**
   * @param base what offset 0 of `data` is called in errors
   * @param from offset of the first octet that is read
   * @param to offset behind the last one
   */
  constructor(data: Uint8Array, base = 0, from = 0, to = data.length) {
    this.#data = data;
    this.#base = base;
    this.#at = from;
    this.#end = to;
  }

  /** Offset of the next octet, absolute. */
  get offset(): number {
    return this.#base + this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  u8(field: string): number {
    return this.#data[this.#need(1, field)]!;
  }

  u16(field: string): number {
    const at = this.#need(2, field);
    return (this.#data[at]! << 8) | this.#data[at + 1]!;
  }

  u24(field: string): number {
    const at = this.#need(3, field);
    return (this.#data[at]! << 16) | (this.#data[at + 1]! << 8) | this.#data[at + 2]!;
  }

  u32(field: string): number {
    const at = this.#need(4, field);
    const d = this.#data;
    return ((d[at]! << 24) | (d[at + 1]! << 16) | (d[at + 2]! << 8) | d[at + 3]!) >>> 0;
  }

  u64(field: string): bigint {
    const high = this.u32(field);
    return (BigInt(high) << 32n) | BigInt(this.u32(field));
  }

  bytes(length: number, field: string): Uint8Array {
    const at = this.#need(length, field);
    // most notifies of a message are empty, and a view is 200 octets
    return length === 0 ? EMPTY : this.#data.subarray(at, at + length);
  }

  rest(): Uint8Array {
    if (this.#at === this.#end) return EMPTY;
    const view = this.#data.subarray(this.#at, this.#end);
    this.#at = this.#end;
    return view;
  }

  skip(length: number, field: string): void {
    this.#need(length, field);
  }

  /** A reader over the next `length` octets alone, whose errors keep the absolute offset. */
  sub(length: number, field: string): Reader {
    const at = this.#need(length, field);
    return new Reader(this.#data, this.#base, at, at + length);
  }

  /** Asserts that nothing is left. */
  end(what: string): void {
    if (this.remaining > 0) throw this.malformed(`${this.remaining} octets left over after ${what}`, what);
  }

  malformed(message: string, field: string, section?: string): MalformedMessage {
    return new MalformedMessage(`${message} (offset ${this.offset})`, { offset: this.offset, field, ...(section ? { section } : {}) });
  }

  #need(length: number, field: string): number {
    const at = this.#at;
    if (!(length >= 0) || at + length > this.#end) {
      throw this.malformed(`${field} needs ${length} octets, ${this.remaining} are left`, field);
    }
    this.#at = at + length;
    return at;
  }
}
