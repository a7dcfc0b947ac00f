import { ApiMisuse, writeU32 } from '../../../core/bytes/index.ts';
import type { EncryptionTransform, IntegrityTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { EvpContext, EvpContexts, requireRoom, withKey } from './evp-context.ts';
import { addressOf } from './ffi.ts';
import { type Evp, opensslFailed, SCRATCH, writeTextParameter } from './openssl.ts';

/** A cipher and a MAC over head, IV and ciphertext (RFC 7296 §3.14, RFC 4303 §3.3.2): one call or two, and three. */
export class EvpEncryptThenMac implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly ivKind: PacketCipher['ivKind'];
  readonly #evp: Evp;
  readonly #body: EvpBody;
  readonly #mac: EvpContext;

  constructor(evp: Evp, transform: EncryptionTransform, body: EvpBody, icvLength: number, mac: EvpContext) {
    this.ivLength = transform.ivLength;
    this.icvLength = icvLength;
    this.blockLength = transform.blockLength;
    this.ivKind = transform.ivKind;
    this.#evp = evp;
    this.#body = body;
    this.#mac = mac;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const mac = this.#mac.address;
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    requireRoom(buffer, start, headLength, bodyAt, end, this.icvLength);
    if ((end - bodyAt) % this.blockLength !== 0)
      throw new ApiMisuse(`a body of ${end - bodyAt} octets is not whole blocks of ${this.blockLength}`, { code: 'BLOCK_LENGTH' });
    const at = addressOf(buffer);
    if (end > bodyAt) this.#body.encrypt(buffer, at, ivAt, bodyAt, end);
    this.#compute(mac, buffer, at, start, end, esnHigh);
    const octets = this.#evp.scratch.octets;
    for (let i = 0; i < this.icvLength; i++) buffer[end + i] = octets[SCRATCH.mac + i]!;
    return end + this.icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const mac = this.#mac.address;
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    const length = bodyEnd - bodyAt;
    if (!(start >= 0 && headLength >= 0 && length >= 0 && end <= buffer.length && length % this.blockLength === 0)) return -1;
    const { openssl, scratch } = this.#evp;
    const at = addressOf(buffer);
    this.#compute(mac, buffer, at, start, bodyEnd, esnHigh);
    if (openssl.CRYPTO_memcmp(scratch.address + SCRATCH.mac, at + bodyEnd, this.icvLength) !== 0) return -1;
    if (length > 0) this.#body.decrypt(buffer, at, ivAt, bodyAt, bodyEnd);
    return bodyEnd;
  }

  destroy(): void {
    this.#body.destroy();
    this.#mac.destroy();
  }

  /**
   * The whole MAC, to the scratch. The unsent half of an extended sequence number is authenticated behind the body (RFC 4303 §2.2.1): it
   * takes the place of the ICV meanwhile, which has room for it and gets it back.
   */
  #compute(mac: number, buffer: Uint8Array, at: number, start: number, end: number, esnHigh: number | undefined): void {
    const { openssl, scratch } = this.#evp;
    let length = end - start;
    let displaced = 0;
    if (esnHigh !== undefined) {
      displaced = (buffer[end]! << 24) | (buffer[end + 1]! << 16) | (buffer[end + 2]! << 8) | buffer[end + 3]!;
      writeU32(buffer, end, esnHigh);
      length += 4;
    }
    const computed =
      openssl.EVP_MAC_init(mac, 0, 0, 0) === 1 &&
      openssl.EVP_MAC_update(mac, at + start, length) === 1 &&
      openssl.EVP_MAC_final(mac, scratch.address + SCRATCH.mac, scratch.address + SCRATCH.written, LARGEST_MAC) === 1;
    if (esnHigh !== undefined) writeU32(buffer, end, displaced);
    if (!computed) throw opensslFailed(this.#evp, 'to authenticate a packet');
  }
}

/** Undefined for a MAC that OpenSSL has not. */
export function createEvpMac(evp: Evp, transform: IntegrityTransform, key: Uint8Array): EvpContext | undefined {
  const kind = MACS[transform.id];
  if (kind === undefined) return undefined;
  const mac = evp.mac(kind.name);
  if (mac === undefined) return undefined;
  const { openssl } = evp;
  const context = new EvpContext(openssl.EVP_MAC_CTX_new(mac), openssl.EVP_MAC_CTX_free);
  const parameters = writeTextParameter(evp, kind.parameter, kind.value);
  if (withKey(evp, key, (at) => openssl.EVP_MAC_init(context.address, at, key.length, parameters)) === 1) return context;
  context.destroy();
  openssl.ERR_clear_error();
  return undefined;
}

/** Encryption without integrity: what stands between IV and ICV, at least one octet of it, in place. */
export interface EvpBody {
  /** @param at address of the buffer; what follows are offsets in it */
  encrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void;
  decrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void;
  destroy(): void;
}

/** Undefined for a cipher that this OpenSSL has not. */
export function createEvpBody(
  evp: Evp,
  transform: EncryptionTransform,
  name: string,
  key: Uint8Array,
  salt: Uint8Array,
): EvpBody | undefined {
  if (transform.mode === 'null') return NULL_BODY;
  const cipher = evp.cipher(name);
  if (cipher === undefined) return undefined;
  return transform.mode === 'cbc' ? new CbcBody(evp, cipher, transform.blockLength, key) : new CtrBody(evp, cipher, key, salt);
}

/**
 * CBC (RFC 3602, RFC 2451) in one call: a context remembers the ciphertext block before, and adding that block to the first block once
 * more, together with the IV of the packet, begins a new chain.
 */
class CbcBody implements EvpBody {
  readonly #evp: Evp;
  readonly #contexts: EvpContexts;
  readonly #block: number;
  /** Last ciphertext block that each context has seen. */
  readonly #sealed: Uint8Array;
  readonly #opened: Uint8Array;
  /** Of use only within `decrypt`. */
  readonly #newest: Uint8Array;

  constructor(evp: Evp, cipher: number, block: number, key: Uint8Array) {
    const { openssl, scratch } = evp;
    this.#evp = evp;
    this.#block = block;
    this.#sealed = new Uint8Array(block);
    this.#opened = new Uint8Array(block);
    this.#newest = new Uint8Array(block);
    this.#contexts = new EvpContexts(evp, key, (context, keyAt, encrypt) => {
      scratch.octets.fill(0, SCRATCH.nonce, SCRATCH.nonce + block);
      return (
        openssl.EVP_CipherInit_ex2(context, cipher, keyAt, scratch.address + SCRATCH.nonce, encrypt, 0) === 1 &&
        openssl.EVP_CIPHER_CTX_set_padding(context, 0) === 1
      );
    });
  }

  encrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void {
    const context = this.#contexts.encryptor;
    const block = this.#block;
    const last = this.#sealed;
    for (let i = 0; i < block; i++) buffer[bodyAt + i]! ^= buffer[ivAt + i]! ^ last[i]!;
    this.#run(context, at + bodyAt, end - bodyAt);
    for (let i = 0; i < block; i++) last[i] = buffer[end - block + i]!;
  }

  decrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void {
    const context = this.#contexts.decryptor;
    const block = this.#block;
    const last = this.#opened;
    const newest = this.#newest;
    for (let i = 0; i < block; i++) newest[i] = buffer[end - block + i]!;
    this.#run(context, at + bodyAt, end - bodyAt);
    for (let i = 0; i < block; i++) buffer[bodyAt + i]! ^= buffer[ivAt + i]! ^ last[i]!;
    for (let i = 0; i < block; i++) last[i] = newest[i]!;
  }

  destroy(): void {
    this.#contexts.destroy();
    this.#sealed.fill(0);
    this.#opened.fill(0);
  }

  #run(context: number, bodyAt: number, length: number): void {
    if (this.#evp.openssl.EVP_Cipher(context, bodyAt, bodyAt, length) < 0) throw opensslFailed(this.#evp, 'to work on a packet');
  }
}

/** RFC 3686 §4, RFC 5528 §4: nonce | IV | block counter from 1. */
class CtrBody implements EvpBody {
  readonly #evp: Evp;
  readonly #contexts: EvpContexts;
  readonly #salt: Uint8Array;

  constructor(evp: Evp, cipher: number, key: Uint8Array, salt: Uint8Array) {
    this.#evp = evp;
    this.#salt = salt.slice();
    this.#contexts = new EvpContexts(
      evp,
      key,
      (context, keyAt, encrypt) => evp.openssl.EVP_CipherInit_ex2(context, cipher, keyAt, 0, encrypt, 0) === 1,
    );
  }

  encrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void {
    this.#run(this.#contexts.encryptor, 1, buffer, at, ivAt, bodyAt, end);
  }

  decrypt(buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void {
    this.#run(this.#contexts.decryptor, 0, buffer, at, ivAt, bodyAt, end);
  }

  destroy(): void {
    this.#contexts.destroy();
    this.#salt.fill(0);
  }

  #run(context: number, encrypt: 0 | 1, buffer: Uint8Array, at: number, ivAt: number, bodyAt: number, end: number): void {
    const { openssl, scratch } = this.#evp;
    const counter = scratch.octets;
    for (let i = 0; i < 4; i++) counter[SCRATCH.nonce + i] = this.#salt[i]!;
    for (let i = 0; i < 8; i++) counter[SCRATCH.nonce + 4 + i] = buffer[ivAt + i]!;
    for (let i = 12; i < 16; i++) counter[SCRATCH.nonce + i] = i === 15 ? 1 : 0;
    const done =
      openssl.EVP_CipherInit_ex2(context, 0, 0, scratch.address + SCRATCH.nonce, encrypt, 0) === 1 &&
      openssl.EVP_Cipher(context, at + bodyAt, at + bodyAt, end - bodyAt) >= 0;
    if (!done) throw opensslFailed(this.#evp, 'to work on a packet');
  }
}

/** RFC 2410. */
const NULL_BODY: EvpBody = {
  encrypt() {},
  decrypt() {},
  destroy() {},
};

const LARGEST_MAC = 64;

/** What OpenSSL calls the MACs of Transform Type 3; XCBC it has not. */
const MACS: Readonly<Record<number, { readonly name: string; readonly parameter: string; readonly value: string } | undefined>> = {
  2: { name: 'HMAC', parameter: 'digest', value: 'SHA1' },
  8: { name: 'CMAC', parameter: 'cipher', value: 'AES-128-CBC' },
  12: { name: 'HMAC', parameter: 'digest', value: 'SHA2-256' },
  13: { name: 'HMAC', parameter: 'digest', value: 'SHA2-384' },
  14: { name: 'HMAC', parameter: 'digest', value: 'SHA2-512' },
  1026: { name: 'HMAC', parameter: 'digest', value: 'SHA2-256' },
};
