import { type Cipher, createCipheriv, createDecipheriv, createSecretKey, type Decipher, type KeyObject } from 'node:crypto';
import type { EncryptionTransform } from '../transforms.ts';

/** Encryption without integrity: what stands between IV and ICV, in place. */
export interface BodyCipher {
  encrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void;
  decrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void;
  destroy(): void;
}

export function createBodyCipher(transform: EncryptionTransform, keyLength: number, key: Uint8Array, salt: Uint8Array): BodyCipher {
  const [cipherName] = transform.cipherNames(keyLength);
  switch (transform.mode) {
    case 'cbc':
      return new CbcBody(cipherName, transform.blockLength, key);
    case 'ctr':
      return new CtrBody(cipherName, key, salt);
    default:
      return NULL_BODY;
  }
}

/**
 * CBC (RFC 3602, RFC 2451) over two contexts that live as long as the SA: making one per packet costs more than the encryption of a
 * small packet. A context remembers the ciphertext block before; adding that block to the first block once more, together with the IV
 * of the packet, begins a new chain. `test/core/crypto/packet-ciphers.test.ts` holds this equal to a fresh context per packet.
 */
class CbcBody implements BodyCipher {
  readonly #encryptor: Cipher;
  readonly #decryptor: Decipher;
  readonly #block: number;
  /** Last ciphertext block that each context has seen. */
  readonly #sealed: Uint8Array;
  readonly #opened: Uint8Array;

  constructor(cipherName: string, blockLength: number, key: Uint8Array) {
    this.#block = blockLength;
    this.#sealed = new Uint8Array(blockLength);
    this.#opened = new Uint8Array(blockLength);
    this.#encryptor = createCipheriv(cipherName, key, this.#sealed).setAutoPadding(false);
    this.#decryptor = createDecipheriv(cipherName, key, this.#opened).setAutoPadding(false);
  }

  encrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void {
    if (end === bodyAt) return;
    const block = this.#block;
    for (let i = 0; i < block; i++) buffer[bodyAt + i]! ^= buffer[ivAt + i]! ^ this.#sealed[i]!;
    buffer.set(this.#encryptor.update(buffer.subarray(bodyAt, end)), bodyAt);
    for (let i = 0; i < block; i++) this.#sealed[i] = buffer[end - block + i]!;
  }

  decrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void {
    if (end === bodyAt) return;
    const block = this.#block;
    const plaintext = this.#decryptor.update(buffer.subarray(bodyAt, end));
    for (let i = 0; i < block; i++) plaintext[i]! ^= buffer[ivAt + i]! ^ this.#opened[i]!;
    for (let i = 0; i < block; i++) this.#opened[i] = buffer[end - block + i]!;
    buffer.set(plaintext, bodyAt);
  }

  destroy(): void {
    this.#sealed.fill(0);
    this.#opened.fill(0);
  }
}

/** RFC 3686 §4, RFC 5528 §4: nonce | IV | block counter from 1. */
class CtrBody implements BodyCipher {
  readonly #cipherName: string;
  #key: KeyObject | undefined;
  readonly #counter = new Uint8Array(16);

  constructor(cipherName: string, key: Uint8Array, salt: Uint8Array) {
    this.#cipherName = cipherName;
    this.#key = createSecretKey(key);
    this.#counter.set(salt);
    this.#counter[15] = 1;
  }

  encrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void {
    for (let i = 0; i < 8; i++) this.#counter[4 + i] = buffer[ivAt + i]!;
    const cipher = createCipheriv(this.#cipherName, this.#key!, this.#counter);
    buffer.set(cipher.update(buffer.subarray(bodyAt, end)), bodyAt);
  }

  decrypt(buffer: Uint8Array, ivAt: number, bodyAt: number, end: number): void {
    this.encrypt(buffer, ivAt, bodyAt, end);
  }

  destroy(): void {
    this.#key = undefined;
    this.#counter.fill(0);
  }
}

/** RFC 2410. */
const NULL_BODY: BodyCipher = {
  encrypt() {},
  decrypt() {},
  destroy() {},
};
