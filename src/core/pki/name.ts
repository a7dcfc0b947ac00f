import { equalBytes, toHex, utf8 } from '../bytes/bytes.ts';
import { attributeName } from './attribute-types.ts';
import { DerReader, DerTag } from './der.ts';
import { element } from './der-writer.ts';
import { decodeString, foldString, isStringTag } from './strings.ts';

/** An attribute of a distinguished name: `content` are the octets of its value, `tag` says how to read them. */
export interface Attribute {
  readonly type: string;
  readonly tag: number;
  readonly content: Uint8Array;
}

/** RelativeDistinguishedName: one attribute nearly always. */
export type RelativeName = readonly Attribute[];

/** A distinguished name (RFC 5280 §4.1.2.4), outermost part first. */
export interface Name {
  readonly der: Uint8Array;
  readonly parts: readonly RelativeName[];
  /** One for each part: two parts are the same (RFC 5280 §7.1) when these are. */
  readonly keys: readonly string[];
}

/** Parses the DER of a Name that fills `der`; throws `MalformedMessage`. */
export function parseName(der: Uint8Array): Name {
  const reader = new DerReader(der);
  const name = readName(reader, 'name');
  reader.end('name');
  return name;
}

export function readName(reader: DerReader, field: string): Name {
  const start = reader.offset;
  const list = reader.sequence(field);
  const parts: RelativeName[] = [];
  while (!list.done) parts.push(readPart(list, field));
  return { der: reader.since(start), parts, keys: parts.map(partKey) };
}

function readPart(list: DerReader, field: string): RelativeName {
  const set = list.enter(DerTag.SET, `${field} part`);
  const part: Attribute[] = [];
  do {
    const pair = set.sequence(`${field} attribute`);
    const type = pair.oid(`${field} attribute type`);
    const { tag, content } = pair.any(`${field} attribute value`);
    pair.end(`${field} attribute`);
    if (isStringTag(tag) && decodeString(tag, content) === undefined) {
      throw pair.malformed(`${field} has a value that is not of its string type`, field);
    }
    part.push({ type, tag, content });
  } while (!set.done);
  return part;
}

/** RFC 5280 §7.1: same parts in the same order, attributes compared without regard to case, string type and white space. */
export function sameName(a: Name, b: Name): boolean {
  return equalBytes(a.der, b.der) || (a.keys.length === b.keys.length && a.keys.every((key, i) => key === b.keys[i]));
}

/** Whether `name` lies in the subtree below `base`: all parts of `base` begin it (RFC 5280 §7.1). */
export function isWithin(name: Name, base: Name): boolean {
  return base.keys.length <= name.keys.length && base.keys.every((key, i) => key === name.keys[i]);
}

/** A string that is the same for all names that `sameName` calls the same. */
export const nameKey = (name: Name): string => name.keys.map((key) => `${key.length}:${key}`).join('');

/** Texts of all attributes of one type; those that are not strings are left out. */
export function attributeTexts(name: Name, type: string): string[] {
  return name.parts.flat().flatMap((attribute) => {
    const text = attribute.type === type ? decodeString(attribute.tag, attribute.content) : undefined;
    return text === undefined ? [] : [text];
  });
}

/**
 * `C=CH, O=lab, CN=left`: in the order of the certificate, outermost first, as strongSwan shows names. Escaped as in RFC 4514 §2.4, so
 * that a name which a peer chose stays on one line and `parseNameText` reads it back. An empty name is an empty text.
 */
export function formatName(name: Name): string {
  return name.parts.map((part) => part.map(formatAttribute).join(' + ')).join(', ');
}

function formatAttribute(attribute: Attribute): string {
  const text = decodeString(attribute.tag, attribute.content);
  const value = text === undefined ? `#${toHex(element(attribute.tag, attribute.content))}` : escapeValue(text);
  return `${attributeName(attribute.type)}=${value}`;
}

function escapeValue(text: string): string {
  return text
    .replace(/[\\,+"<>;]|^#/g, (c) => `\\${c}`)
    .replace(/^ | $/g, '\\20')
    .replace(UNPRINTABLE, (c) => Array.from(utf8(c), (octet) => `\\${octet.toString(16).padStart(2, '0')}`).join(''));
}

function partKey(part: RelativeName): string {
  const keys = part.map((attribute) => {
    const text = decodeString(attribute.tag, attribute.content);
    const value = text === undefined ? `#${attribute.tag}.${toHex(attribute.content)}` : `=${foldString(text)}`;
    return `${attribute.type}${value.length}${value}`;
  });
  return keys.length === 1 ? keys[0]! : keys.sort().join('+');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters and bidirectional overrides are what this looks for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
