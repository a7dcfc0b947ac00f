import { EMPTY } from '../bytes/bytes.ts';
import { MalformedMessage } from '../bytes/errors.ts';

/** One armoured block: `label` stands between BEGIN and the dashes. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

/**
 * All blocks of a PEM file (RFC 7468), in order; text around them is skipped. Throws `MalformedMessage` for a block that does not end or
 * whose body is not base64. Blocks with headers inside (RFC 1421, encrypted keys of old tools) have no DER to give and are refused too.
 */
export function parsePem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { label: string; line: number; body: string[] } | undefined;
  let number = 0;
  for (const raw of text.split(/\r\n|\r|\n/)) {
    number++;
    const line = raw.trim();
    if (open === undefined) {
      const label = /^-----BEGIN ([\x20-\x7e]+?)-----$/.exec(line)?.[1];
      if (label !== undefined) open = { label, line: number, body: [] };
    } else if (line === `-----END ${open.label}-----`) {
      blocks.push({ label: open.label, der: decodeBody(open.label, open.body.join(''), open.line) });
      open = undefined;
    } else open.body.push(line);
  }
  if (open !== undefined) throw malformed(`the ${open.label} that begins on line ${open.line} does not end`);
  return blocks;
}

export function formatPem(label: string, der: Uint8Array): string {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** Octets of RFC 4648 §4 base64, padded; undefined for anything else. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  if (text === '') return EMPTY;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const octets = new Uint8Array((text.length / 4) * 3 - padding);
  for (let i = 0, at = 0; i < text.length; i += 4) {
    let group = 0;
    for (let k = 0; k < 4; k++) group = (group << 6) | Math.max(0, ALPHABET.indexOf(text[i + k]!));
    for (let k = 16; k >= 0 && at < octets.length; k -= 8) octets[at++] = group >>> k;
  }
  return octets;
}

export function encodeBase64(octets: Uint8Array): string {
  let text = '';
  for (let i = 0; i < octets.length; i += 3) {
    const group = (octets[i]! << 16) | ((octets[i + 1] ?? 0) << 8) | (octets[i + 2] ?? 0);
    const used = Math.min(3, octets.length - i) + 1;
    for (let k = 0; k < 4; k++) text += k < used ? ALPHABET[(group >>> (18 - 6 * k)) & 63] : '=';
  }
  return text;
}

function decodeBody(label: string, body: string, line: number): Uint8Array {
  const der = decodeBase64(body.replace(/\s/g, ''));
  if (der === undefined || der.length === 0) throw malformed(`the ${label} that begins on line ${line} is not base64`);
  return der;
}

const malformed = (message: string): MalformedMessage => new MalformedMessage(message, { code: 'PEM_MALFORMED' });

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
