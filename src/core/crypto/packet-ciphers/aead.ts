import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ApiMisuse } from '../../bytes/errors.ts';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform } from '../transforms.ts';

/** AES-GCM (RFC 4106, RFC 5282), AES-CCM (RFC 4309, RFC 5282) and ChaCha20-Poly1305 (RFC 7634). */
export class AeadPacketCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind = 'counter';
  readonly #name: 'aes-128-ccm';
  readonly #options: { readonly authTagLength: number };
  /** Octets and not a `KeyObject`: those can be zeroised, and cost nothing until they are used. */
  #key: Uint8Array | undefined;
  /** Salt and explicit IV; the salt stays, the IV is that of the packet at hand. */
  readonly #nonce: Uint8Array;
  readonly #saltLength: number;
  readonly #esnAad = new Uint8Array(12);
  /** CCM must know the length beforehand; the others pass over it. */
  readonly #aadOptions = { plaintextLength: 0 };

  constructor(transform: EncryptionTransform, cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    // All three modes answer to the calls of CCM, whose types are the strictest.
    this.#name = cipherName as 'aes-128-ccm';
    this.#options = { authTagLength: transform.icvLength };
    this.#key = key.slice();
    this.#saltLength = salt.length;
    this.#nonce = new Uint8Array(salt.length + transform.ivLength);
    this.#nonce.set(salt);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    this.#takeIv(buffer, ivAt);
    const cipher = createCipheriv(this.#name, this.#liveKey(), this.#nonce, this.#options);
    this.#aadOptions.plaintextLength = end - bodyAt;
    cipher.setAAD(this.#aad(buffer, start, ivAt, esnHigh), this.#aadOptions);
    buffer.set(cipher.update(buffer.subarray(bodyAt, end)), bodyAt);
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length) return -1;
    this.#takeIv(buffer, ivAt);
    const decipher = createDecipheriv(this.#name, this.#liveKey(), this.#nonce, this.#options);
    decipher.setAuthTag(buffer.subarray(bodyEnd, end));
    this.#aadOptions.plaintextLength = bodyEnd - bodyAt;
    decipher.setAAD(this.#aad(buffer, start, ivAt, esnHigh), this.#aadOptions);
    let plaintext: Uint8Array | undefined;
    try {
      plaintext = decipher.update(buffer.subarray(bodyAt, bodyEnd));
      decipher.final();
    } catch {
      // What was decrypted before the tag turned out wrong never leaves this function.
      plaintext?.fill(0);
      return -1;
    }
    buffer.set(plaintext, bodyAt);
    return bodyEnd;
  }

  destroy(): void {
    this.#key?.fill(0);
    this.#key = undefined;
    this.#nonce.fill(0);
  }

  #takeIv(buffer: Uint8Array, ivAt: number): void {
    for (let i = 0; i < this.ivLength; i++) this.#nonce[this.#saltLength + i] = buffer[ivAt + i]!;
  }

  /** With an extended sequence number: SPI | high | low, though the packet holds SPI | low (RFC 4106 §5, RFC 4309 §5, RFC 7634 §2). */
  #aad(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): Uint8Array {
    if (esnHigh === undefined) return buffer.subarray(start, ivAt);
    const aad = this.#esnAad;
    for (let i = 0; i < 4; i++) {
      aad[i] = buffer[start + i]!;
      aad[4 + i] = esnHigh >>> (24 - 8 * i);
      aad[8 + i] = buffer[start + 4 + i]!;
    }
    return aad;
  }

  #liveKey(): Uint8Array {
    if (this.#key === undefined) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
    return this.#key;
  }
}
