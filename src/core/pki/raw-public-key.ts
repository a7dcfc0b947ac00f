import { fromHex, fromUtf8, toHex, utf8 } from '../bytes/bytes.ts';
import { ConfigError, TunnelwrightError } from '../bytes/errors.ts';
import { sha256 } from '../crypto/index.ts';
import { IdType } from '../wire/iana.ts';
import type { Identification } from '../wire/payloads/types.ts';
import { decodeBase64, parsePem } from './pem.ts';
import { describePublicKey, parsePublicKeyInfo } from './public-key.ts';

/** A key of a peer that is trusted as it is (RFC 7670): the key itself, or what its SubjectPublicKeyInfo hashes to. */
export type PinnedKey =
  | { readonly spki: Uint8Array; readonly fingerprint: string }
  | { readonly spki: undefined; readonly fingerprint: string };

/** `sha256:` and 64 hex digits: the digest of the SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` gives it. */
export const keyFingerprint = (spki: Uint8Array): string => `${PREFIX}${toHex(sha256(spki))}`;

/** The identity of whoever is known by a key and by no name (RFC 7670 §1): ID_KEY_ID with the fingerprint. */
export const keyIdentity = (spki: Uint8Array): Identification => ({ idType: IdType.ID_KEY_ID, data: utf8(keyFingerprint(spki)) });

/** Whether a text is a key or its fingerprint, rather than the name of a file that holds one. */
export const isInlineKey = (text: string): boolean => /^(sha256:|0s|0x|-----BEGIN )/i.test(text.trim());

/**
 * A public key as an operator writes it: `sha256:` with the fingerprint in hex (colons are let pass) or base64, the SubjectPublicKeyInfo as
 * PEM or behind `0s` (base64) or `0x` (hex). @throws ConfigError
 */
export function parsePinnedKey(text: string): PinnedKey {
  const trimmed = text.trim();
  if (/^sha256:/i.test(trimmed)) return { spki: undefined, fingerprint: parseFingerprint(trimmed.slice(PREFIX.length)) };
  if (trimmed.startsWith('-----BEGIN ')) return readPublicKey(utf8(trimmed));
  const encoded = trimmed.slice(2).replaceAll(/\s/g, '');
  const der = /^0s/i.test(trimmed) ? decodeBase64(encoded) : /^0x([0-9a-f]{2})+$/i.test(trimmed) ? fromHex(encoded) : undefined;
  if (der === undefined) throw unreadable('it is neither base64 behind 0s nor hex behind 0x');
  return readPublicKey(der);
}

/** SubjectPublicKeyInfo in DER or PEM. @throws ConfigError for anything else, and for keys that cannot sign for IKE */
export function readPublicKey(data: Uint8Array): PinnedKey & { readonly spki: Uint8Array } {
  try {
    const spki = data[0] === SEQUENCE ? data.slice() : fromPem(fromUtf8(data));
    const info = parsePublicKeyInfo(spki);
    if (info.kind === 'unknown') throw unreadable(`it is ${info.why}`);
    return { spki, fingerprint: keyFingerprint(spki) };
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof TunnelwrightError)) throw error;
    throw unreadable(error.message);
  }
}

/** `Ed25519 sha256:9f86…`. */
export const describeRawKey = (spki: Uint8Array): string => `${describePublicKey(parsePublicKeyInfo(spki))} ${keyFingerprint(spki)}`;

function fromPem(text: string): Uint8Array {
  const blocks = parsePem(text);
  const found = blocks.find(({ label }) => label === 'PUBLIC KEY');
  if (found !== undefined) return found.der;
  throw unreadable(blocks.length === 0 ? 'it is neither PEM nor DER' : `it holds ${blocks.map(({ label }) => label).join(', ')}`);
}

function parseFingerprint(text: string): string {
  const hex = text.replaceAll(':', '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return `${PREFIX}${hex}`;
  // as ssh writes it, without padding
  const octets = text.length === 43 ? decodeBase64(`${text}=`) : decodeBase64(text);
  if (octets?.length === 32) return `${PREFIX}${toHex(octets)}`;
  throw new ConfigError('the fingerprint of a public key has 64 hex digits, or 43 letters of base64', {
    code: 'PUBLIC_KEY',
    hint: 'Take it from `openssl pkey -pubin -in key.pem -outform DER | sha256sum`.',
  });
}

const unreadable = (why: string): ConfigError =>
  new ConfigError(`the public key cannot be read: ${why}`, {
    code: 'PUBLIC_KEY',
    hint: 'Give SubjectPublicKeyInfo, as `openssl pkey -in key.pem -pubout` writes it, or sha256: and its fingerprint.',
  });

const PREFIX = 'sha256:';
const SEQUENCE = 0x30;
