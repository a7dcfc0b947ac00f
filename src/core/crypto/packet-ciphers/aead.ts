import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ApiMisuse } from '../../bytes/errors.ts';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform } from '../transforms.ts';
import { CipherKey, ESN_HEAD, esnHead } from './keyed.ts';

/**
 * AES-GCM (RFC 4106, RFC 5282), AES-CCM (RFC 4309, RFC 5282) and ChaCha20-Poly1305 (RFC 7634), with their IV on the wire or, where it is
 * implicit (RFC 8750), taken from the sequence number of the ESP packet.
 */
export class AeadPacketCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind: 'counter' | 'implicit';
  readonly #name: 'aes-128-ccm';
  readonly #options: { readonly authTagLength: number };
  readonly #key: CipherKey;
  /** Salt and IV; the salt stays, the IV is that of the packet at hand. */
  readonly #nonce: Uint8Array;
  readonly #saltLength: number;
  readonly #esnAad = new Uint8Array(ESN_HEAD);
  /** CCM must know the length beforehand; the others pass over it. */
  readonly #aadOptions = { plaintextLength: 0 };

  constructor(transform: EncryptionTransform, cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.ivKind = transform.ivKind === 'implicit' ? 'implicit' : 'counter';
    // All three modes answer to the calls of CCM, whose types are the strictest.
    this.#name = cipherName as 'aes-128-ccm';
    this.#options = { authTagLength: transform.icvLength };
    this.#key = new CipherKey(key);
    this.#saltLength = salt.length;
    this.#nonce = new Uint8Array(salt.length + (this.ivKind === 'implicit' ? SEQUENCE_NUMBER : transform.ivLength));
    this.#nonce.set(salt);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    this.#takeIv(buffer, start, ivAt, esnHigh);
    const cipher = createCipheriv(this.#name, this.#key.octets, this.#nonce, this.#options);
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
    this.#takeIv(buffer, start, ivAt, esnHigh);
    const decipher = createDecipheriv(this.#name, this.#key.octets, this.#nonce, this.#options);
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
    this.#key.destroy();
    this.#nonce.fill(0);
  }

  #takeIv(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): void {
    if (this.ivKind === 'implicit') return this.#takeSequence(buffer, start, ivAt, esnHigh);
    for (let i = 0; i < this.ivLength; i++) this.#nonce[this.#saltLength + i] = buffer[ivAt + i]!;
  }

  /** RFC 8750 §4: high half, zero without ESN | low half. An IKE message has nothing in its head that never comes twice (§7). */
  #takeSequence(buffer: Uint8Array, start: number, ivAt: number, esnHigh = 0): void {
    if (ivAt - start !== ESP_HEADER)
      throw new ApiMisuse('an implicit IV is that of an ESP packet, whose head has 8 octets', { code: 'ESP_ONLY', section: 'RFC 8750 §7' });
    for (let i = 0; i < 4; i++) {
      this.#nonce[this.#saltLength + i] = esnHigh >>> (24 - 8 * i);
      this.#nonce[this.#saltLength + 4 + i] = buffer[start + 4 + i]!;
    }
  }

  #aad(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): Uint8Array {
    return esnHigh === undefined ? buffer.subarray(start, ivAt) : esnHead(this.#esnAad, buffer, start, esnHigh);
  }
}

/** SPI and sequence number. */
const ESP_HEADER = 8;
const SEQUENCE_NUMBER = 8;
