import { ApiMisuse } from '../../bytes/errors.ts';
import { equalSecrets } from '../constant-time.ts';
import type { Mac } from '../mac.ts';
import type { PacketCipher } from '../packet-cipher.ts';
import type { EncryptionTransform, IntegrityTransform } from '../transforms.ts';
import type { BodyCipher } from './body.ts';

/** A cipher and a MAC over head, IV and ciphertext (RFC 7296 §3.14, RFC 4303 §3.3.2). */
export class EncryptThenMacPacketCipher implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly ivKind: PacketCipher['ivKind'];
  readonly #body: BodyCipher;
  readonly #mac: Mac;
  #destroyed = false;

  constructor(transform: EncryptionTransform, body: BodyCipher, integrity: IntegrityTransform, integrityKey: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = integrity.icvLength;
    this.blockLength = transform.blockLength;
    this.ivKind = transform.ivKind;
    this.#body = body;
    this.#mac = integrity.createMac(integrityKey);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    this.#mustLive();
    const ivAt = start + headLength;
    this.#body.encrypt(buffer, ivAt, ivAt + this.ivLength, end);
    const mac = this.#mac.compute(buffer.subarray(start, end), esnHigh);
    for (let i = 0; i < this.icvLength; i++) buffer[end + i] = mac[i]!;
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    this.#mustLive();
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length || (bodyEnd - bodyAt) % this.blockLength !== 0) return -1;
    const mac = this.#mac.compute(buffer.subarray(start, bodyEnd), esnHigh);
    if (!equalSecrets(mac.subarray(0, this.icvLength), buffer.subarray(bodyEnd, end))) return -1;
    this.#body.decrypt(buffer, ivAt, bodyAt, bodyEnd);
    return bodyEnd;
  }

  destroy(): void {
    this.#destroyed = true;
    this.#body.destroy();
    this.#mac.destroy();
  }

  #mustLive(): void {
    if (this.#destroyed) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
  }
}
