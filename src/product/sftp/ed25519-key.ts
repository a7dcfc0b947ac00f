import { generateKeyPairSync } from 'node:crypto';
import { utf8, Writer } from '../../core/bytes/index.ts';

/**
 * A new Ed25519 key in OpenSSH's format (its PROTOCOL.key), without a passphrase. That of ssh2 drops leading zeros of the public key, which
 * leaves one key in 256 unreadable.
 */
export function newEd25519Key(): string {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return ed25519KeyFile(fromBase64Url(x!), fromBase64Url(d!));
}

/** @param publicKey 32 octets @param seed 32 octets, the private half (RFC 8032 §5.1.5) */
export function ed25519KeyFile(publicKey: Uint8Array, seed: Uint8Array): string {
  const publicPart = strings('ssh-ed25519', publicKey);
  const writer = new Writer().u32(CHECK).u32(CHECK);
  writer.bytes(publicPart).bytes(strings(new Uint8Array([...seed, ...publicKey]), ''));
  for (let pad = 1; writer.length % BLOCK !== 0; pad++) writer.u8(pad);
  const file = new Writer()
    .bytes(utf8(MAGIC))
    .bytes(strings('none', 'none', ''))
    .u32(ONE_KEY)
    .bytes(strings(publicPart, writer.finish()));
  const lines = btoa(String.fromCharCode(...file.finish())).match(/.{1,70}/g)!;
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

function strings(...values: readonly (string | Uint8Array)[]): Uint8Array {
  const writer = new Writer();
  for (const value of values) {
    const octets = typeof value === 'string' ? utf8(value) : value;
    writer.u32(octets.length).bytes(octets);
  }
  return writer.finish();
}

const fromBase64Url = (text: string): Uint8Array =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));

const MAGIC = 'openssh-key-v1\0';
const ONE_KEY = 1;
/** Twice the same, so that a wrong passphrase is noticed; here there is none. */
const CHECK = 0;
const BLOCK = 8;
