import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ApiMisuse } from '../../bytes/errors.ts';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform } from '../transforms.ts';

/**
 * AES-GCM, AES-CCM and ChaCha20-Poly1305 whose IV is the sequence number of the ESP packet and is not sent (RFC 8750). All else is as
 * in the transform with an IV on the wire.
 */
export class ImplicitIvPacketCipher implements PacketCipher {
  readonly ivLength = 0;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind = 'implicit';
  readonly #name: 'aes-128-ccm';
  readonly #options: { readonly authTagLength: number };
  #key: Uint8Array | undefined;
  /** Salt | high half of the sequence number, zero without ESN | low half. */
  readonly #nonce: Uint8Array;
  readonly #ivAt: number;
  readonly #esnAad = new Uint8Array(ESP_HEADER + 4);
  /** CCM must know the length beforehand; the others pass over it. */
  readonly #aadOptions = { plaintextLength: 0 };

  constructor(transform: EncryptionTransform, cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.icvLength = transform.icvLength;
    // All three modes answer to the calls of CCM, whose types are the strictest.
    this.#name = cipherName as 'aes-128-ccm';
    this.#options = { authTagLength: transform.icvLength };
    this.#key = key.slice();
    this.#nonce = new Uint8Array(salt.length + 8);
    this.#nonce.set(salt);
    this.#ivAt = salt.length;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const bodyAt = this.#bodyAt(start, headLength);
    this.#takeSequence(buffer, start, esnHigh);
    const cipher = createCipheriv(this.#name, this.#liveKey(), this.#nonce, this.#options);
    this.#aadOptions.plaintextLength = end - bodyAt;
    cipher.setAAD(this.#aad(buffer, start, esnHigh), this.#aadOptions);
    buffer.set(cipher.update(buffer.subarray(bodyAt, end)), bodyAt);
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const bodyAt = this.#bodyAt(start, headLength);
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length) return -1;
    this.#takeSequence(buffer, start, esnHigh);
    const decipher = createDecipheriv(this.#name, this.#liveKey(), this.#nonce, this.#options);
    decipher.setAuthTag(buffer.subarray(bodyEnd, end));
    this.#aadOptions.plaintextLength = bodyEnd - bodyAt;
    decipher.setAAD(this.#aad(buffer, start, esnHigh), this.#aadOptions);
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

  /** RFC 8750 §7: an IKE message has nothing in its head that never comes twice. */
  #bodyAt(start: number, headLength: number): number {
    if (headLength !== ESP_HEADER)
      throw new ApiMisuse('an implicit IV is that of an ESP packet, whose head has 8 octets', { code: 'ESP_ONLY', section: 'RFC 8750 §7' });
    return start + headLength;
  }

  /** RFC 8750 §4. */
  #takeSequence(buffer: Uint8Array, start: number, esnHigh = 0): void {
    for (let i = 0; i < 4; i++) {
      this.#nonce[this.#ivAt + i] = esnHigh >>> (24 - 8 * i);
      this.#nonce[this.#ivAt + 4 + i] = buffer[start + 4 + i]!;
    }
  }

  /** With an extended sequence number: SPI | high | low, though the packet holds SPI | low (RFC 4106 §5, RFC 4309 §5, RFC 7634 §2). */
  #aad(buffer: Uint8Array, start: number, esnHigh: number | undefined): Uint8Array {
    if (esnHigh === undefined) return buffer.subarray(start, start + ESP_HEADER);
    const aad = this.#esnAad;
    for (let i = 0; i < 4; i++) aad[i] = buffer[start + i]!;
    for (let i = 0; i < 8; i++) aad[4 + i] = this.#nonce[this.#ivAt + i]!;
    return aad;
  }

  #liveKey(): Uint8Array {
    if (this.#key === undefined) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
    return this.#key;
  }
}

/** SPI and sequence number. */
const ESP_HEADER = 8;
