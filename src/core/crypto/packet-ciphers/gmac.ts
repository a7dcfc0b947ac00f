import { type CipherGCMTypes, createCipheriv, createDecipheriv } from 'node:crypto';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform } from '../transforms.ts';
import { CipherKey, ESN_HEAD, esnHead } from './keyed.ts';

/** ENCR_NULL_AUTH_AES_GMAC (RFC 4543 §3): head, IV and body are authenticated, and the body stays as it is. */
export class GmacPacketCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind = 'counter';
  readonly #name: CipherGCMTypes;
  readonly #options: { readonly authTagLength: number };
  readonly #key: CipherKey;
  /** Salt and IV (RFC 4543 §3.2). */
  readonly #nonce: Uint8Array;
  readonly #saltLength: number;
  readonly #esnHead = new Uint8Array(ESN_HEAD);

  constructor(transform: EncryptionTransform, cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.#name = cipherName as CipherGCMTypes;
    this.#options = { authTagLength: transform.icvLength };
    this.#key = new CipherKey(key);
    this.#saltLength = salt.length;
    this.#nonce = new Uint8Array(salt.length + transform.ivLength);
    this.#nonce.set(salt);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    this.#takeIv(buffer, ivAt);
    const cipher = createCipheriv(this.#name, this.#key.octets, this.#nonce, this.#options);
    if (esnHigh !== undefined) cipher.setAAD(esnHead(this.#esnHead, buffer, start, esnHigh));
    cipher.setAAD(buffer.subarray(esnHigh === undefined ? start : ivAt, end));
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < ivAt + this.ivLength || end > buffer.length) return -1;
    this.#takeIv(buffer, ivAt);
    const decipher = createDecipheriv(this.#name, this.#key.octets, this.#nonce, this.#options);
    decipher.setAuthTag(buffer.subarray(bodyEnd, end));
    if (esnHigh !== undefined) decipher.setAAD(esnHead(this.#esnHead, buffer, start, esnHigh));
    decipher.setAAD(buffer.subarray(esnHigh === undefined ? start : ivAt, bodyEnd));
    try {
      decipher.final();
    } catch {
      return -1;
    }
    return bodyEnd;
  }

  destroy(): void {
    this.#key.destroy();
    this.#nonce.fill(0);
  }

  #takeIv(buffer: Uint8Array, ivAt: number): void {
    for (let i = 0; i < this.ivLength; i++) this.#nonce[this.#saltLength + i] = buffer[ivAt + i]!;
  }
}
