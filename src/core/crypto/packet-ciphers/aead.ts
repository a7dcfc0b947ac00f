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
  readonly #key: CipherKey;
  /** Up to four octets, the first of them in the highest place. */
  #salt = 0;
  readonly #saltLength: number;

  constructor(transform: EncryptionTransform, cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.ivKind = transform.ivKind === 'implicit' ? 'implicit' : 'counter';
    // All three modes answer to the calls of CCM, whose types are the strictest.
    this.#name = cipherName as 'aes-128-ccm';
    this.#key = new CipherKey(key);
    this.#saltLength = salt.length;
    for (let i = 0; i < salt.length; i++) this.#salt |= salt[i]! << (24 - 8 * i);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const cipher = createCipheriv(this.#name, this.#key.octets, this.#nonce(buffer, start, ivAt, esnHigh), this.#tagLength());
    AAD_OPTIONS.plaintextLength = end - bodyAt;
    cipher.setAAD(aad(buffer, start, ivAt, esnHigh), AAD_OPTIONS);
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
    const decipher = createDecipheriv(this.#name, this.#key.octets, this.#nonce(buffer, start, ivAt, esnHigh), this.#tagLength());
    decipher.setAuthTag(buffer.subarray(bodyEnd, end));
    AAD_OPTIONS.plaintextLength = bodyEnd - bodyAt;
    decipher.setAAD(aad(buffer, start, ivAt, esnHigh), AAD_OPTIONS);
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
    this.#salt = 0;
  }

  /** Salt | IV of the packet at hand. */
  #nonce(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): Uint8Array {
    const saltLength = this.#saltLength;
    const nonce = saltLength === 4 ? NONCE_12 : NONCE_11;
    for (let i = 0; i < saltLength; i++) nonce[i] = this.#salt >>> (24 - 8 * i);
    if (this.ivKind === 'implicit') takeSequence(nonce, saltLength, buffer, start, ivAt, esnHigh);
    else for (let i = 0; i < IV; i++) nonce[saltLength + i] = buffer[ivAt + i]!;
    return nonce;
  }

  #tagLength(): { readonly authTagLength: number } {
    return this.icvLength === 16 ? TAG_16 : this.icvLength === 12 ? TAG_12 : TAG_8;
  }
}

/** RFC 8750 §4: high half, zero without ESN | low half. An IKE message has nothing in its head that never comes twice (§7). */
function takeSequence(nonce: Uint8Array, at: number, buffer: Uint8Array, start: number, ivAt: number, esnHigh = 0): void {
  if (ivAt - start !== ESP_HEADER)
    throw new ApiMisuse('an implicit IV is that of an ESP packet, whose head has 8 octets', { code: 'ESP_ONLY', section: 'RFC 8750 §7' });
  for (let i = 0; i < 4; i++) {
    nonce[at + i] = esnHigh >>> (24 - 8 * i);
    nonce[at + 4 + i] = buffer[start + 4 + i]!;
  }
}

const aad = (buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): Uint8Array =>
  esnHigh === undefined ? buffer.subarray(start, ivAt) : esnHead(ESN_AAD, buffer, start, esnHigh);

// Written anew for each packet, and of no use after it: one for all ciphers, of which a gateway has tens of thousands.
const NONCE_11 = new Uint8Array(11);
const NONCE_12 = new Uint8Array(12);
const ESN_AAD = new Uint8Array(ESN_HEAD);
/** CCM must know the length beforehand; the others pass over it. */
const AAD_OPTIONS = { plaintextLength: 0 };
const TAG_8 = { authTagLength: 8 };
const TAG_12 = { authTagLength: 12 };
const TAG_16 = { authTagLength: 16 };
/** Octets, on the wire or made of the sequence number. */
const IV = 8;

/** SPI and sequence number. */
const ESP_HEADER = 8;
