import type { PrivateKeyInput } from 'node:crypto';

/** A plain view of what node:crypto hands out, so that no `Buffer` with its own ideas of equality and slicing leaves this folder. */
export const plain = (data: Uint8Array): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** The low octets of `value`, padded with zeros in front to `length` (RFC 7296 §2.14). */
export function leftPad(value: Uint8Array, length: number): Uint8Array {
  if (value.length === length) return plain(value);
  const padded = new Uint8Array(length);
  padded.set(value, length - value.length);
  return padded;
}

/** node:crypto takes any `Uint8Array` for the DER of a key; its types say less. */
export const keyOctets = (der: Uint8Array): Exclude<PrivateKeyInput['key'], string> => der as Exclude<PrivateKeyInput['key'], string>;

/** Octets that came as text of one character each. Not for secrets: a text cannot be zeroised. */
export function fromLatin1(text: string): Uint8Array {
  const octets = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) octets[i] = text.charCodeAt(i);
  return octets;
}
