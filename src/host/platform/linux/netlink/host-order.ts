import { ApiMisuse, MalformedMessage, utf8 } from '../../../../core/bytes/index.ts';

/**
 * The kernel's structures in the byte order of this machine, which is what netlink speaks; addresses, ports and SPIs inside them are in
 * network order and have methods of their own. `core/bytes` is for the network alone.
 */
export class HostWriter {
  #data: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 512) {
    this.#data = new Uint8Array(capacity);
    this.#view = new DataView(this.#data.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#view.setUint8(this.#grow(1), value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, LITTLE_ENDIAN);
    return this;
  }

  /** Takes an `int`, too: the bits are the same. */
  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, LITTLE_ENDIAN);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, LITTLE_ENDIAN);
    return this;
  }

  /** `__be16`: a port. */
  network16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }

  /** `__be32`: an SPI. */
  network32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }

  bytes(data: Uint8Array): this {
    const at = this.#grow(data.length);
    this.#data.set(data, at);
    return this;
  }

  zero(length: number): this {
    this.#grow(length);
    return this;
  }

  /** A string in a field of `size` octets, ended by at least one zero. @throws ApiMisuse when it does not fit */
  text(value: string, size: number): this {
    const octets = utf8(value);
    if (octets.length >= size || octets.includes(0)) throw new ApiMisuse(`${value.slice(0, 80)} does not fit into ${size} octets`);
    return this.bytes(octets).zero(size - octets.length);
  }

  align(to: number): this {
    return this.zero(-this.#length & (to - 1));
  }

  patchU16(at: number, value: number): this {
    this.#view.setUint16(at, value, LITTLE_ENDIAN);
    return this;
  }

  patchU32(at: number, value: number): this {
    this.#view.setUint32(at, value, LITTLE_ENDIAN);
    return this;
  }

  /** A view of what was written, valid until more is written or it is wiped. */
  written(): Uint8Array {
    return this.#data.subarray(0, this.#length);
  }

  /** Overwrites all of it, for it may have held keys. */
  wipe(): void {
    this.#data.fill(0);
    this.#length = 0;
  }

  /** What is grown into is zero; what is left behind is wiped. */
  #grow(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#data.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#data.length));
      larger.set(this.#data.subarray(0, at));
      this.#data.fill(0);
      this.#data = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return at;
  }
}

/** The counterpart of `HostWriter`: reading past the end throws `MalformedMessage` with the name of what was read. Nothing is copied. */
export class HostReader {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at = 0;

  /** @param what the structure that is read, for errors */
  constructor(data: Uint8Array, what: string) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
    this.#what = what;
  }

  get remaining(): number {
    return this.#data.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), LITTLE_ENDIAN);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), LITTLE_ENDIAN);
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), LITTLE_ENDIAN);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), LITTLE_ENDIAN);
  }

  network16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  network32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#data.subarray(at, at + length);
  }

  /** What stands in a field of `size` octets before the first zero. */
  text(size: number): string {
    return textOf(this.bytes(size));
  }

  skip(length: number): this {
    this.#take(length);
    return this;
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#data.length) {
      throw new MalformedMessage(`${this.#what} ends after ${this.#data.length} octets, where ${at + length} are needed`, {
        code: 'MALFORMED_NETLINK',
        offset: at,
        field: this.#what,
      });
    }
    this.#at = at + length;
    return at;
  }
}

/** A C string: up to the first zero, or all of it. */
export function textOf(octets: Uint8Array): string {
  const end = octets.indexOf(0);
  return decoder.decode(end < 0 ? octets : octets.subarray(0, end));
}

const decoder = new TextDecoder('utf-8');
export const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
