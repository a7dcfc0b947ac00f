import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { aeadContexts } from './evp-aead.ts';
import { type EvpContexts, requireRoom } from './evp-context.ts';
import { addressOf } from './ffi.ts';
import { CTRL, type Evp, opensslFailed, SCRATCH, writeTagParameter } from './openssl.ts';

/** ENCR_NULL_AUTH_AES_GMAC (RFC 4543 §3): head, IV and body are authenticated, and the body stays as it is. */
export class EvpGmac implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind = 'counter';
  readonly #evp: Evp;
  readonly #contexts: EvpContexts;
  readonly #salt: Uint8Array;
  readonly #esnHead: Uint8Array;

  constructor(evp: Evp, transform: EncryptionTransform, cipher: number, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.#evp = evp;
    this.#salt = salt.slice();
    this.#esnHead = evp.scratch.octets.subarray(SCRATCH.esnHead, SCRATCH.esnHead + ESN_HEAD);
    this.#contexts = aeadContexts(evp, cipher, key, salt.length + transform.ivLength, 0);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const { openssl, scratch } = this.#evp;
    const context = this.#contexts.encryptor;
    const ivAt = start + headLength;
    requireRoom(buffer, start, headLength, ivAt + this.ivLength, end, this.icvLength);
    const at = addressOf(buffer);
    const sealed =
      this.#begin(context, buffer, ivAt, 1, 0) &&
      this.#authenticate(context, buffer, at, start, ivAt, end, esnHigh) &&
      openssl.EVP_CipherFinal_ex(context, at + end, scratch.address + SCRATCH.written) === 1 &&
      openssl.EVP_CIPHER_CTX_ctrl(context, CTRL.getTag, this.icvLength, at + end) === 1;
    if (!sealed) throw opensslFailed(this.#evp, 'to seal a packet');
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const { openssl, scratch } = this.#evp;
    const context = this.#contexts.decryptor;
    const ivAt = start + headLength;
    const bodyEnd = end - this.icvLength;
    if (!(start >= 0 && headLength >= 0 && bodyEnd >= ivAt + this.ivLength && end <= buffer.length)) return -1;
    const at = addressOf(buffer);
    writeTagParameter(this.#evp, at + bodyEnd, this.icvLength);
    const ready =
      this.#begin(context, buffer, ivAt, 0, scratch.address + SCRATCH.tagParameter) &&
      this.#authenticate(context, buffer, at, start, ivAt, bodyEnd, esnHigh);
    if (!ready) throw opensslFailed(this.#evp, 'to open a packet');
    if (openssl.EVP_CipherFinal_ex(context, at + bodyEnd, scratch.address + SCRATCH.written) === 1) return bodyEnd;
    openssl.ERR_clear_error();
    return -1;
  }

  destroy(): void {
    this.#contexts.destroy();
    this.#salt.fill(0);
  }

  /** Salt and IV (RFC 4543 §3.2). */
  #begin(context: number, buffer: Uint8Array, ivAt: number, encrypt: 0 | 1, parameters: number): boolean {
    const { openssl, scratch } = this.#evp;
    const salt = this.#salt;
    let to = SCRATCH.nonce;
    for (let i = 0; i < salt.length; i++) scratch.octets[to++] = salt[i]!;
    for (let i = 0; i < this.ivLength; i++) scratch.octets[to++] = buffer[ivAt + i]!;
    return openssl.EVP_CipherInit_ex2(context, 0, 0, scratch.address + SCRATCH.nonce, encrypt, parameters) === 1;
  }

  #authenticate(
    context: number,
    buffer: Uint8Array,
    at: number,
    start: number,
    ivAt: number,
    end: number,
    esnHigh: number | undefined,
  ): boolean {
    const { openssl, scratch } = this.#evp;
    if (esnHigh === undefined) return openssl.EVP_Cipher(context, 0, at + start, end - start) >= 0;
    esnHead(this.#esnHead, buffer, start, esnHigh);
    return (
      openssl.EVP_Cipher(context, 0, scratch.address + SCRATCH.esnHead, ESN_HEAD) >= 0 &&
      openssl.EVP_Cipher(context, 0, at + ivAt, end - ivAt) >= 0
    );
  }
}
