import { ApiMisuse } from '../../../core/bytes/index.ts';
import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { EvpContexts, requireRoom } from './evp-context.ts';
import { addressOf } from './ffi.ts';
import { CTRL, type Evp, type Openssl, opensslFailed, SCRATCH, writeTagParameter } from './openssl.ts';

/**
 * AES-GCM (RFC 4106), AES-CCM (RFC 4309) and ChaCha20-Poly1305 (RFC 7634), with explicit and implicit IVs (RFC 8750). Sealing
 * takes five calls; opening four, since the tag goes in with the IV. CCM is told the length beforehand and has nothing to do at the end.
 */
export class EvpAead implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength = 1;
  readonly ivKind: 'counter' | 'implicit';
  readonly #evp: Evp;
  readonly #openssl: Openssl;
  readonly #contexts: EvpContexts;
  readonly #salt: Uint8Array;
  readonly #ccm: boolean;
  readonly #nonceAt: number;
  readonly #esnHeadAt: number;

  constructor(evp: Evp, transform: EncryptionTransform, cipher: number, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.icvLength = transform.icvLength;
    this.ivKind = transform.ivKind === 'implicit' ? 'implicit' : 'counter';
    this.#evp = evp;
    this.#openssl = evp.openssl;
    this.#salt = salt.slice();
    this.#ccm = transform.mode === 'ccm';
    this.#nonceAt = evp.scratch.address + SCRATCH.nonce;
    this.#esnHeadAt = evp.scratch.address + SCRATCH.esnHead;
    this.#contexts = aeadContexts(evp, cipher, key, salt.length + IV, this.#ccm ? transform.icvLength : 0);
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const openssl = this.#openssl;
    const context = this.#contexts.encryptor;
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const length = end - bodyAt;
    requireRoom(buffer, start, headLength, bodyAt, end, this.icvLength);
    const at = addressOf(buffer);
    this.#writeNonce(buffer, start, ivAt, esnHigh);
    const sealed =
      openssl.EVP_CipherInit_ex2(context, 0, 0, this.#nonceAt, 1, 0) === 1 &&
      (!this.#ccm || openssl.EVP_Cipher(context, 0, 0, length) >= 0) &&
      this.#authenticate(context, buffer, at, start, headLength, esnHigh) &&
      openssl.EVP_Cipher(context, at + bodyAt, at + bodyAt, length) >= 0 &&
      (this.#ccm || openssl.EVP_CipherFinal_ex(context, at + end, this.#esnHeadAt) === 1) &&
      openssl.EVP_CIPHER_CTX_ctrl(context, CTRL.getTag, this.icvLength, at + end) === 1;
    if (!sealed) throw opensslFailed(this.#evp, 'to seal a packet');
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const openssl = this.#openssl;
    const context = this.#contexts.decryptor;
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    const length = bodyEnd - bodyAt;
    if (!(start >= 0 && headLength >= 0 && length >= 0 && end <= buffer.length)) return -1;
    const at = addressOf(buffer);
    this.#writeNonce(buffer, start, ivAt, esnHigh);
    writeTagParameter(this.#evp, at + bodyEnd, this.icvLength);
    // OpenSSL wipes what CCM decrypted in vain, ciphertext and all.
    const kept = this.#ccm ? buffer.slice(bodyAt, bodyEnd) : undefined;
    const ready =
      openssl.EVP_CipherInit_ex2(context, 0, 0, this.#nonceAt, 0, this.#evp.scratch.address + SCRATCH.tagParameter) === 1 &&
      (!this.#ccm || openssl.EVP_Cipher(context, 0, 0, length) >= 0) &&
      this.#authenticate(context, buffer, at, start, headLength, esnHigh);
    if (!ready) throw opensslFailed(this.#evp, 'to open a packet');
    const opened = openssl.EVP_Cipher(context, at + bodyAt, at + bodyAt, length) >= 0;
    if (opened && (this.#ccm || openssl.EVP_CipherFinal_ex(context, at + bodyEnd, this.#esnHeadAt) === 1)) return bodyEnd;
    openssl.ERR_clear_error();
    if (kept !== undefined) buffer.set(kept, bodyAt);
    else this.#takeBack(context, at + bodyAt, length);
    return -1;
  }

  destroy(): void {
    this.#contexts.destroy();
    this.#salt.fill(0);
  }

  #authenticate(context: number, buffer: Uint8Array, at: number, start: number, headLength: number, esnHigh: number | undefined): boolean {
    if (esnHigh === undefined) return this.#openssl.EVP_Cipher(context, 0, at + start, headLength) >= 0;
    esnHead(this.#evp.esnHead, buffer, start, esnHigh);
    return this.#openssl.EVP_Cipher(context, 0, this.#esnHeadAt, ESN_HEAD) >= 0;
  }

  /** What was decrypted before its tag turned out wrong becomes ciphertext again: the modes of a stream are their own inverse. */
  #takeBack(context: number, bodyAt: number, length: number): void {
    const done =
      this.#openssl.EVP_CipherInit_ex2(context, 0, 0, this.#nonceAt, 0, 0) === 1 &&
      this.#openssl.EVP_Cipher(context, bodyAt, bodyAt, length) >= 0;
    if (!done) throw opensslFailed(this.#evp, 'to take back a packet that is not authentic');
  }

  #writeNonce(buffer: Uint8Array, start: number, ivAt: number, esnHigh: number | undefined): void {
    const nonce = this.#evp.scratch.octets;
    const salt = this.#salt;
    for (let i = 0; i < salt.length; i++) nonce[SCRATCH.nonce + i] = salt[i]!;
    writeIv(nonce, SCRATCH.nonce + salt.length, this.ivKind, buffer, start, ivAt, esnHigh);
  }
}

/** The IV of a nonce; an implicit one is the sequence number of ESP: high half, zero without ESN | low half (RFC 8750 §4). */
export function writeIv(
  nonce: Uint8Array,
  at: number,
  ivKind: 'counter' | 'implicit',
  buffer: Uint8Array,
  start: number,
  ivAt: number,
  esnHigh: number | undefined,
): void {
  if (ivKind === 'counter') {
    for (let i = 0; i < IV; i++) nonce[at + i] = buffer[ivAt + i]!;
    return;
  }
  if (ivAt - start !== ESP_HEADER)
    throw new ApiMisuse('an implicit IV is that of an ESP packet, whose head has 8 octets', { code: 'ESP_ONLY', section: 'RFC 8750 §7' });
  const high = esnHigh ?? 0;
  for (let i = 0; i < 4; i++) {
    nonce[at + i] = high >>> (24 - 8 * i);
    nonce[at + 4 + i] = buffer[start + 4 + i]!;
  }
}

/**
 * Contexts that have their key, and wait for a nonce with each packet.
 * @param tagLength what CCM must know before its key; 0 for modes that need not be told
 */
export function aeadContexts(evp: Evp, cipher: number, key: Uint8Array, nonceLength: number, tagLength: number): EvpContexts {
  const { openssl } = evp;
  return new EvpContexts(
    evp,
    key,
    (context, keyAt, encrypt) =>
      openssl.EVP_CipherInit_ex2(context, cipher, 0, 0, encrypt, 0) === 1 &&
      openssl.EVP_CIPHER_CTX_ctrl(context, CTRL.setIvLength, nonceLength, 0) === 1 &&
      (tagLength === 0 || openssl.EVP_CIPHER_CTX_ctrl(context, CTRL.setTag, tagLength, 0) === 1) &&
      openssl.EVP_CipherInit_ex2(context, 0, keyAt, 0, encrypt, 0) === 1,
  );
}

/** Octets, on the wire or made of the sequence number. */
const IV = 8;

/** SPI and sequence number. */
const ESP_HEADER = 8;
