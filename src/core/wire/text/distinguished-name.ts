import { fromUtf8, printable, toHex } from '../../bytes/bytes.ts';

/**
 * A DER distinguished name as text, `C=CH, O=Example, CN=gw.example.com`, in the order in which it is encoded. For display alone:
 * nothing is validated, names are compared elsewhere. Undefined for what is not a Name, or is a suspiciously big one.
 */
export function formatDistinguishedName(der: Uint8Array): string | undefined {
  const name = readTlv(der, 0);
  if (name === undefined || name.tag !== SEQUENCE || name.end !== der.length) return undefined;
  const parts: string[] = [];
  for (let at = name.start; at < name.end; ) {
    const rdn = readTlv(der, at);
    if (rdn === undefined || rdn.tag !== SET || rdn.end > name.end || parts.length >= MAX_PARTS) return undefined;
    const text = formatRdn(der, rdn);
    if (text === undefined) return undefined;
    parts.push(text);
    at = rdn.end;
  }
  return parts.join(', ');
}

interface Tlv {
  readonly tag: number;
  /** Content from here … */
  readonly start: number;
  /** … to here, exclusive. */
  readonly end: number;
}

/** Definite lengths of up to three octets; no tags beyond one octet. */
function readTlv(der: Uint8Array, at: number): Tlv | undefined {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) return undefined;
    length = 0;
    for (let i = 0; i < octets; i++) length = length * 256 + (der[start + i] ?? 0);
    start += octets;
  }
  return start + length > der.length ? undefined : { tag, start, end: start + length };
}

/** RFC 5280 §4.1.2.4: SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }. */
function formatRdn(der: Uint8Array, rdn: Tlv): string | undefined {
  const parts: string[] = [];
  for (let at = rdn.start; at < rdn.end; ) {
    const pair = readTlv(der, at);
    if (pair === undefined || pair.tag !== SEQUENCE || pair.end > rdn.end || parts.length >= MAX_PARTS) return undefined;
    const type = readTlv(der, pair.start);
    if (type === undefined || type.tag !== OBJECT_IDENTIFIER || type.end > pair.end) return undefined;
    const value = readTlv(der, type.end);
    if (value === undefined || value.end !== pair.end) return undefined;
    parts.push(`${nameOfType(der.subarray(type.start, type.end))}=${formatValue(value.tag, der.subarray(value.start, value.end))}`);
    at = pair.end;
  }
  return parts.length === 0 ? undefined : parts.join('+');
}

function formatValue(tag: number, octets: Uint8Array): string {
  if (octets.length > MAX_VALUE) return `#(${octets.length} octets)`;
  const text = decodeString(tag, octets);
  if (text === undefined) return `#${toHex(octets)}`;
  return /[,+=]/.test(text) ? `"${printable(text)}"` : printable(text);
}

function decodeString(tag: number, octets: Uint8Array): string | undefined {
  if (tag === UTF8_STRING || tag === PRINTABLE_STRING || tag === IA5_STRING || tag === NUMERIC_STRING || tag === VISIBLE_STRING)
    return fromUtf8(octets);
  if (tag === TELETEX_STRING) return String.fromCharCode(...octets);
  if (tag !== BMP_STRING || octets.length % 2 !== 0) return undefined;
  let text = '';
  for (let i = 0; i < octets.length; i += 2) text += String.fromCharCode((octets[i]! << 8) | octets[i + 1]!);
  return text;
}

function nameOfType(oid: Uint8Array): string {
  const known = TYPE_NAMES[toHex(oid.subarray(0, MAX_OID))];
  return known ?? dotted(oid);
}

function dotted(oid: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of oid.subarray(0, MAX_OID)) {
    arc = arc * 128 + (octet & 0x7f);
    if ((octet & 0x80) !== 0) continue;
    if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    else arcs.push(arc);
    arc = 0;
  }
  return arcs.join('.');
}

const SEQUENCE = 0x30;
const SET = 0x31;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const NUMERIC_STRING = 0x12;
const PRINTABLE_STRING = 0x13;
const TELETEX_STRING = 0x14;
const IA5_STRING = 0x16;
const VISIBLE_STRING = 0x1a;
const BMP_STRING = 0x1e;

/** Ours: a name on one line of a terminal. */
const MAX_PARTS = 32;
const MAX_VALUE = 256;
const MAX_OID = 24;

/** Attribute types by the content octets of their object identifier (RFC 4519, RFC 5280 §4.1.2.4, PKCS #9). */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  '550403': 'CN',
  '550404': 'SN',
  '550405': 'serialNumber',
  '550406': 'C',
  '550407': 'L',
  '550408': 'ST',
  '550409': 'street',
  '55040a': 'O',
  '55040b': 'OU',
  '55040c': 'title',
  '55040d': 'description',
  '550411': 'postalCode',
  '550429': 'name',
  '55042a': 'GN',
  '55042b': 'initials',
  '55042c': 'generationQualifier',
  '55042d': 'x500UniqueIdentifier',
  '55042e': 'dnQualifier',
  '550441': 'pseudonym',
  '550461': 'organizationIdentifier',
  '2a864886f70d010901': 'E',
  '2a864886f70d010902': 'unstructuredName',
  '2a864886f70d010908': 'unstructuredAddress',
  '0992268993f22c640101': 'UID',
  '0992268993f22c640119': 'DC',
};
