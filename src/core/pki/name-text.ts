import { concat, fromHex, utf8 } from '../bytes/bytes.ts';
import { ConfigError } from '../bytes/errors.ts';
import { attributeOid, attributeString } from './attribute-types.ts';
import { DerTag } from './der.ts';
import { element, oid, sequence, setOf } from './der-writer.ts';
import { type Name, parseName } from './name.ts';

/**
 * Reads `C=CH, O=lab, CN=left` or `/C=CH/O=lab/CN=left` into a Name, parts in the order of the text. Values may be quoted, escaped as in
 * RFC 4514 §2.4, or `#` and the hex of a DER value; `+` joins attributes of one part. Throws `ConfigError` `NOT_A_NAME`.
 */
export function parseNameText(text: string): Name {
  const parts = splitName(text).map((part) => setOf(...part.map(({ type, value }) => sequence(oid(type), value))));
  return parseName(sequence(...parts));
}

/** Whether a text means to be a name: its first word is an attribute type that we know, or a dotted one, followed by `=`. */
export function looksLikeName(text: string): boolean {
  const first = /^\s*\/?\s*([A-Za-z0-9.]+)\s*=/.exec(text);
  return first !== null && attributeOid(first[1]!) !== undefined;
}

export interface TextAttribute {
  readonly type: string;
  /** DER of the value. */
  readonly value: Uint8Array;
}

export function splitName(text: string): TextAttribute[][] {
  const scanner = new NameScanner(text);
  const parts: TextAttribute[][] = [];
  do {
    const part: TextAttribute[] = [];
    do part.push(scanner.attribute());
    while (scanner.takes('+'));
    parts.push(part);
  } while (scanner.takes(scanner.separator));
  if (!scanner.done) throw scanner.error('there is text behind the last value');
  return parts;
}

class NameScanner {
  readonly separator: ',' | '/';
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text.trimStart();
    this.separator = this.#text.startsWith('/') ? '/' : ',';
    this.takes('/');
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }

  takes(character: string): boolean {
    this.#blanks();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  attribute(): TextAttribute {
    this.#blanks();
    const equals = this.#text.indexOf('=', this.#at);
    if (equals < 0) throw this.error('an attribute has no "="');
    const name = this.#text.slice(this.#at, equals).trim();
    const type = attributeOid(name);
    if (type === undefined) throw this.error(`"${name.slice(0, 32)}" is not an attribute type`);
    this.#at = equals + 1;
    this.#blanks();
    return { type, value: this.#text[this.#at] === '#' ? this.#hexValue() : stringValue(type, this.#value()) };
  }

  error(reason: string): ConfigError {
    return new ConfigError(`"${this.#text.slice(0, 80)}" is not a distinguished name: ${reason}`, {
      code: 'NOT_A_NAME',
      hint: 'Write it like "C=CH, O=lab, CN=gateway"; a comma inside a value is written "\\,".',
    });
  }

  #blanks(): void {
    while (this.#text[this.#at] === ' ') this.#at++;
  }

  #hexValue(): Uint8Array {
    const hex = /^#((?:[0-9a-fA-F]{2})+)/.exec(this.#text.slice(this.#at));
    if (hex === null) throw this.error('"#" begins a value in hex');
    this.#at += hex[0].length;
    return fromHex(hex[1]!);
  }

  #value(): string {
    const quoted = this.#text[this.#at] === '"';
    if (quoted) this.#at++;
    const octets: Uint8Array[] = [];
    let kept = 0;
    for (; !this.done; this.#at++) {
      const character = String.fromCodePoint(this.#text.codePointAt(this.#at)!);
      if (quoted ? character === '"' : character === this.separator || (character === '+' && this.#attributeFollows())) break;
      octets.push(character === '\\' ? this.#escaped() : utf8(character));
      if (character.length === 2) this.#at++;
      // Blanks around a value do not count, escaped ones do.
      if (quoted || character !== ' ') kept = octets.length;
    }
    if (quoted && !this.takes('"')) throw this.error('a quoted value does not end');
    return new TextDecoder().decode(concat(...octets.slice(0, kept)));
  }

  /** `+` joins attributes only where one follows; else it is part of the value, as in telephone numbers. */
  #attributeFollows(): boolean {
    return looksLikeName(this.#text.slice(this.#at + 1));
  }

  #escaped(): Uint8Array {
    const pair = this.#text.slice(this.#at + 1, this.#at + 3);
    if (/^[0-9a-fA-F]{2}$/.test(pair)) {
      this.#at += 2;
      return Uint8Array.of(Number.parseInt(pair, 16));
    }
    this.#at++;
    const next = this.#text[this.#at];
    if (next === undefined) throw this.error('it ends in a backslash');
    return utf8(next);
  }
}

function stringValue(type: string, text: string): Uint8Array {
  const wanted = attributeString(type);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what this asks for
  if (wanted === 'ia5' && /^[\x00-\x7f]*$/.test(text)) return element(DerTag.IA5_STRING, utf8(text));
  // X.680 §41.4: the alphabet of PrintableString.
  return element(/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text) ? DerTag.PRINTABLE_STRING : DerTag.UTF8_STRING, utf8(text));
}
