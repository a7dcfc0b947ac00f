import { MalformedMessage } from '../bytes/errors.ts';
import { decodeOid } from './oid.ts';

/** Identifier octets of X.690 §8.1.2 as one number: class, constructed bit and a tag number below 31. */
export const DerTag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  NUMERIC_STRING: 0x12,
  PRINTABLE_STRING: 0x13,
  TELETEX_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  VISIBLE_STRING: 0x1a,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Identifier octet of `[number]`, constructed (EXPLICIT, or IMPLICIT over a SEQUENCE). */
export const contextTag = (number: number): number => 0xa0 | number;
/** Identifier octet of `[number] IMPLICIT` over a primitive type. */
export const contextPrimitive = (number: number): number => 0x80 | number;

export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Identifier, length and content. */
  readonly whole: Uint8Array;
}

/**
 * A bounded cursor over DER (X.690 §10): definite, minimal lengths only, tag numbers below 31, at most `MAX_DEPTH` levels and
 * `MAX_ELEMENTS` elements for a whole document. Nothing is copied. Everything it dislikes is a `MalformedMessage` that names
 * the field and its offset.
 */
export class DerReader {
  readonly #data: Uint8Array;
  readonly #base: number;
  readonly #depth: number;
  readonly #budget: { elements: number };
  #at = 0;

  constructor(data: Uint8Array, base = 0, depth = 0, budget = { elements: MAX_ELEMENTS }) {
    this.#data = data;
    this.#base = base;
    this.#depth = depth;
    this.#budget = budget;
  }

  get done(): boolean {
    return this.#at === this.#data.length;
  }

  /** Offset of the next octet in the outermost document. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Whether the next element has this tag; false at the end. */
  nextIs(tag: number): boolean {
    return this.#at < this.#data.length && this.#data[this.#at] === tag;
  }

  /** What was read since `offset` said `from`. */
  since(from: number): Uint8Array {
    return this.#data.subarray(from - this.#base, this.#at);
  }

  /** The next element, whatever it is. */
  any(field: string): DerElement {
    const start = this.#at;
    const data = this.#data;
    if (--this.#budget.elements < 0) throw this.malformed(`more than ${MAX_ELEMENTS} elements`, field);
    if (start + 2 > data.length) throw this.malformed(`${field} is missing or cut short`, field);
    const tag = data[start]!;
    if ((tag & 0x1f) === 0x1f) throw this.malformed(`${field} has a tag number above 30`, field);
    let length = data[start + 1]!;
    let header = 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      // X.690 §10.1: definite form, in the fewest octets. 4 octets reach further than any message.
      if (octets === 0) throw this.malformed(`${field} has an indefinite length`, field);
      if (octets > 4 || start + 2 + octets > data.length) throw this.malformed(`${field} has a length that cannot be`, field);
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + data[start + 2 + i]!;
      if (length < 0x80 || data[start + 2] === 0) throw this.malformed(`${field} has a length that is not minimal`, field);
      header += octets;
    }
    if (length > data.length - start - header) throw this.malformed(`${field} is longer than what holds it`, field);
    this.#at = start + header + length;
    return { tag, content: data.subarray(start + header, this.#at), whole: data.subarray(start, this.#at) };
  }

  /** Content of the next element, which must have this tag. */
  read(tag: number, field: string): Uint8Array {
    if (!this.nextIs(tag)) throw this.malformed(`${field} is not what stands here`, field);
    return this.any(field).content;
  }

  /** A reader over the content of the next element, which must have this constructed tag. */
  enter(tag: number, field: string): DerReader {
    if (this.#depth >= MAX_DEPTH) throw this.malformed(`nested deeper than ${MAX_DEPTH} levels`, field);
    const content = this.read(tag, field);
    return new DerReader(content, this.#base + this.#at - content.length, this.#depth + 1, this.#budget);
  }

  sequence(field: string): DerReader {
    return this.enter(DerTag.SEQUENCE, field);
  }

  /** Enters `[number]` where it stands next; undefined where it is left out. */
  optional(tag: number, field: string): DerReader | undefined {
    return this.nextIs(tag) ? this.enter(tag, field) : undefined;
  }

  /** Two's complement octets of an INTEGER, minimal (X.690 §8.3.2). */
  integer(field: string, tag: number = DerTag.INTEGER): Uint8Array {
    const value = this.read(tag, field);
    if (value.length === 0) throw this.malformed(`${field} is an INTEGER without octets`, field);
    if (value.length > 1 && ((value[0] === 0 && value[1]! < 0x80) || (value[0] === 0xff && value[1]! >= 0x80))) {
      throw this.malformed(`${field} is an INTEGER that is not minimal`, field);
    }
    return value;
  }

  /** An INTEGER from 0 to 2³¹ − 1. */
  smallInteger(field: string, tag: number = DerTag.INTEGER): number {
    const value = this.integer(field, tag);
    if (value[0]! >= 0x80 || value.length > 4) throw this.malformed(`${field} is out of range`, field);
    return value.reduce((sum, octet) => sum * 256 + octet, 0);
  }

  /** X.690 §11.1: TRUE is 0xff. */
  boolean(field: string): boolean {
    const value = this.read(DerTag.BOOLEAN, field);
    if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff)) throw this.malformed(`${field} is not a DER BOOLEAN`, field);
    return value[0] === 0xff;
  }

  /** `BOOLEAN DEFAULT FALSE`. X.690 §11.5 forbids to write the default; RFC 8410 §10.2 does it in its own example, so it is let pass. */
  defaultFalse(field: string): boolean {
    return this.nextIs(DerTag.BOOLEAN) && this.boolean(field);
  }

  oid(field: string): string {
    const at = this.offset;
    const dotted = decodeOid(this.read(DerTag.OID, field));
    if (dotted === undefined)
      throw new MalformedMessage(`${field} is not an object identifier (offset ${at})`, { code: CODE, offset: at, field });
    return dotted;
  }

  /** A BIT STRING; bits beyond the last must be zero (X.690 §11.2.1). */
  bitString(field: string, tag: number = DerTag.BIT_STRING): { readonly unused: number; readonly bytes: Uint8Array } {
    const content = this.read(tag, field);
    const unused = content[0];
    if (unused === undefined || unused > 7 || (content.length === 1 && unused !== 0))
      throw this.malformed(`${field} is not a BIT STRING`, field);
    if ((content[content.length - 1]! & ((1 << unused) - 1)) !== 0 && content.length > 1) {
      throw this.malformed(`${field} has bits behind its end`, field);
    }
    return { unused, bytes: content.subarray(1) };
  }

  /** A BIT STRING of whole octets: keys and signatures. */
  octetBits(field: string): Uint8Array {
    const { unused, bytes } = this.bitString(field);
    if (unused !== 0) throw this.malformed(`${field} is not a whole number of octets`, field);
    return bytes;
  }

  /** Asserts that nothing is left. */
  end(what: string): void {
    if (!this.done) throw this.malformed(`${this.#data.length - this.#at} octets are left over behind ${what}`, what);
  }

  malformed(message: string, field: string): MalformedMessage {
    return new MalformedMessage(`${message} (offset ${this.offset})`, { code: CODE, offset: this.offset, field });
  }
}

/** Reads one document that fills `data`: `body` sees the content of its outermost SEQUENCE and must use it up. */
export function readSequence<T>(data: Uint8Array, what: string, body: (reader: DerReader) => T): T {
  const outer = new DerReader(data);
  const inner = outer.sequence(what);
  outer.end(what);
  const value = body(inner);
  inner.end(what);
  return value;
}

const CODE = 'DER_MALFORMED';
/** Ours: the deepest certificate in the wild needs about a dozen. */
const MAX_DEPTH = 32;
/** Ours: a list of revoked certificates has about four elements for each. */
const MAX_ELEMENTS = 2_000_000;
