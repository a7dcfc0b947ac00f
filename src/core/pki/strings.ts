import { DerTag } from './der.ts';

/** Whether values of this tag are text at all. */
export const isStringTag = (tag: number): boolean => STRING_TAGS.has(tag);

/** Text of an ASN.1 string; undefined where the octets do not belong to the type, or the type is not a string. */
export function decodeString(tag: number, content: Uint8Array): string | undefined {
  switch (tag) {
    case DerTag.UTF8_STRING:
      return decodeUtf8(content);
    case DerTag.PRINTABLE_STRING:
    case DerTag.IA5_STRING:
    case DerTag.NUMERIC_STRING:
    case DerTag.VISIBLE_STRING:
      // Many authorities write `&`, `@` or `*` into a PrintableString: every ASCII character is taken.
      return decodeAscii(content);
    case DerTag.TELETEX_STRING:
      return content.every((octet) => octet < 0x80) ? decodeAscii(content) : latin1(content);
    case DerTag.BMP_STRING:
      return decodeUnits(content, 2);
    case DerTag.UNIVERSAL_STRING:
      return decodeUnits(content, 4);
    default:
      return undefined;
  }
}

/** Text of ASCII octets; undefined where an octet is above 127. */
export function decodeAscii(content: Uint8Array): string | undefined {
  let text = '';
  for (const octet of content) {
    if (octet >= 0x80) return undefined;
    text += String.fromCharCode(octet);
  }
  return text;
}

/** Text of well-formed UTF-8; undefined where it is not. */
export function decodeUtf8(content: Uint8Array): string | undefined {
  const ascii = decodeAscii(content);
  if (ascii !== undefined) return ascii;
  try {
    return strict.decode(content);
  } catch {
    return undefined;
  }
}

/**
 * The form in which two DirectoryStrings are compared (RFC 5280 §7.1, RFC 4518 §2): compatibility characters composed, case folded,
 * white space trimmed and runs of it made one blank.
 */
export function foldString(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what this asks for
  const composed = /^[\x00-\x7f]*$/.test(text) ? text.toLowerCase() : text.normalize('NFKC').toLowerCase().normalize('NFKC');
  return composed.replace(/\s+/g, ' ').trim();
}

/**
 * The form in which host names and mail addresses are compared: ASCII letters in lower case and nothing else changed, so that no other
 * character, such as the Kelvin sign, passes for one of them.
 */
export const foldAscii = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** Whether `text` fits `pattern`, in which `*` stands for any run of characters. Linear in both but for one backtrack point. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

const latin1 = (content: Uint8Array): string => Array.from(content, (octet) => String.fromCharCode(octet)).join('');

function decodeUnits(content: Uint8Array, size: 2 | 4): string | undefined {
  if (content.length % size !== 0) return undefined;
  let text = '';
  for (let i = 0; i < content.length; i += size) {
    let unit = 0;
    for (let k = 0; k < size; k++) unit = unit * 256 + content[i + k]!;
    if (unit > 0x10ffff) return undefined;
    text += String.fromCodePoint(unit);
  }
  return text;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const STRING_TAGS: ReadonlySet<number> = new Set([
  DerTag.UTF8_STRING,
  DerTag.NUMERIC_STRING,
  DerTag.PRINTABLE_STRING,
  DerTag.TELETEX_STRING,
  DerTag.IA5_STRING,
  DerTag.VISIBLE_STRING,
  DerTag.UNIVERSAL_STRING,
  DerTag.BMP_STRING,
]);
