import { MalformedMessage, type Reader, utf8, Writer } from '../../core/bytes/index.ts';
import { type Attributes, writeAttributes } from './attributes.ts';

/** Cuts what a channel brings into packets (§3), and holds no more than one that is unfinished. */
export class PacketCutter {
  readonly #largest: number;
  readonly #head = new Uint8Array(4);
  #headLength = 0;
  #packet: Uint8Array | undefined;
  #filled = 0;

  /** @param largest octets of a packet without its length */
  constructor(largest: number) {
    this.#largest = largest;
  }

  /** The packets that are whole now, without their length: views into `chunk` where they lie in it as a whole. @throws MalformedMessage */
  *cut(chunk: Uint8Array): Generator<Uint8Array> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#packet === undefined) {
        while (this.#headLength < 4 && at < chunk.length) this.#head[this.#headLength++] = chunk[at++]!;
        if (this.#headLength < 4) return;
        const length = this.#lengthOf(this.#head);
        if (chunk.length - at >= length) {
          this.#headLength = 0;
          yield chunk.subarray(at, at + length);
          at += length;
          continue;
        }
        this.#packet = new Uint8Array(length);
        this.#filled = 0;
      }
      const part = chunk.subarray(at, at + this.#packet.length - this.#filled);
      this.#packet.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled < this.#packet.length) return;
      const whole = this.#packet;
      this.#packet = undefined;
      this.#headLength = 0;
      yield whole;
    }
  }

  #lengthOf(head: Uint8Array): number {
    const length = ((head[0]! << 24) | (head[1]! << 16) | (head[2]! << 8) | head[3]!) >>> 0;
    if (length === 0 || length > this.#largest) {
      throw new MalformedMessage(`an SFTP packet of ${length} octets, where 1 to ${this.#largest} are permitted`, {
        code: 'SFTP_PACKET',
        field: 'length',
      });
    }
    return length;
  }
}

/** Builds one packet, its length included. */
export class PacketBuilder {
  readonly #writer: Writer;

  constructor(type: number, id: number, capacity = 256) {
    this.#writer = new Writer(capacity).u32(0).u8(type).u32(id);
  }

  u32(value: number): this {
    this.#writer.u32(value);
    return this;
  }

  u64(value: number): this {
    this.#writer.u64(BigInt(value));
    return this;
  }

  string(value: string | Uint8Array): this {
    const octets = typeof value === 'string' ? utf8(value) : value;
    this.#writer.u32(octets.length).bytes(octets);
    return this;
  }

  raw(octets: Uint8Array): this {
    this.#writer.bytes(octets);
    return this;
  }

  attributes(value: Attributes): this {
    writeAttributes(this.#writer, value);
    return this;
  }

  finish(): Uint8Array {
    return this.#writer.patchU32(0, this.#writer.length - 4).finish();
  }
}

/** A packet that ends in a string of data, which is filled in place: what a file gives is copied nowhere else. */
export class DataPacket {
  /** Where the data goes. */
  readonly data: Uint8Array;
  readonly #packet: Uint8Array;
  readonly #head: number;

  /** @param head the packet up to the string, as `PacketBuilder` made it */
  constructor(head: Uint8Array, room: number) {
    this.#head = head.length + 4;
    this.#packet = new Uint8Array(this.#head + room);
    this.#packet.set(head);
    this.data = this.#packet.subarray(this.#head);
  }

  /** @param length octets of the data that were filled */
  finish(length: number): Uint8Array {
    const view = new DataView(this.#packet.buffer);
    view.setUint32(0, this.#head - 4 + length);
    view.setUint32(this.#head - 4, length);
    return this.#packet.subarray(0, this.#head + length);
  }
}

/** A string of octets. @throws MalformedMessage */
export const readString = (reader: Reader, field: string): Uint8Array => reader.bytes(reader.u32(field), field);

/** A string that has to be text; a name in another encoding has no place in ours. @returns undefined where it is not UTF-8 */
export function tryText(octets: Uint8Array): string | undefined {
  try {
    return STRICT.decode(octets);
  } catch {
    return undefined;
  }
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
