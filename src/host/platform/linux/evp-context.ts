import { ApiMisuse, DataPlaneError } from '../../../core/bytes/index.ts';
import { type Evp, opensslFailed, SCRATCH } from './openssl.ts';

/** A context of OpenSSL and its life. */
export class EvpContext {
  readonly #free: (context: number) => void;
  #address: number;

  constructor(address: number, free: (context: number) => void) {
    if (address === 0) throw new DataPlaneError('OpenSSL has no memory left for a cipher', { code: 'OUT_OF_MEMORY' });
    this.#address = address;
    this.#free = free;
  }

  get address(): number {
    if (this.#address === 0) throw destroyed();
    return this.#address;
  }

  /** Frees it, which wipes its keys. */
  destroy(): void {
    if (this.#address !== 0) this.#free(this.#address);
    this.#address = 0;
  }
}

/**
 * The two contexts of a cipher that encrypts and decrypts under one key. Each is made with the first packet of its direction: most ciphers
 * only ever work in one, and several modes choose their code for it together with the key.
 */
export class EvpContexts {
  readonly #evp: Evp;
  readonly #prepare: (context: number, keyAt: number, encrypt: 0 | 1) => boolean;
  #key: Uint8Array | undefined;
  #encryptor: EvpContext | undefined;
  #decryptor: EvpContext | undefined;

  /** @param prepare gives a new context its cipher, its key and what else must be told before the first packet; says whether that went well */
  constructor(evp: Evp, key: Uint8Array, prepare: (context: number, keyAt: number, encrypt: 0 | 1) => boolean) {
    this.#evp = evp;
    this.#key = key.slice();
    this.#prepare = prepare;
  }

  get encryptor(): number {
    this.#encryptor ??= this.#open(1);
    return this.#encryptor.address;
  }

  get decryptor(): number {
    this.#decryptor ??= this.#open(0);
    return this.#decryptor.address;
  }

  destroy(): void {
    this.#encryptor?.destroy();
    this.#decryptor?.destroy();
    this.#key?.fill(0);
    this.#key = undefined;
  }

  #open(encrypt: 0 | 1): EvpContext {
    const { openssl } = this.#evp;
    if (this.#key === undefined) throw destroyed();
    const context = new EvpContext(openssl.EVP_CIPHER_CTX_new(), openssl.EVP_CIPHER_CTX_free);
    if (withKey(this.#evp, this.#key, (at) => this.#prepare(context.address, at, encrypt))) return context;
    context.destroy();
    throw opensslFailed(this.#evp, 'the key of a packet cipher');
  }
}

/** What `use` makes of a key at an address that native code can read, where it does not stay. */
export function withKey<T>({ scratch }: Evp, key: Uint8Array, use: (address: number) => T): T {
  scratch.octets.set(key, SCRATCH.key);
  try {
    return use(scratch.address + SCRATCH.key);
  } finally {
    scratch.octets.fill(0, SCRATCH.key, SCRATCH.key + key.length);
  }
}

/** All of what `seal` touches must lie within the buffer: native code would write on behind it. */
export function requireRoom(buffer: Uint8Array, start: number, headLength: number, bodyAt: number, end: number, icvLength: number): void {
  if (start >= 0 && headLength >= 0 && bodyAt <= end && end + icvLength <= buffer.length) return;
  throw new ApiMisuse(`a packet from ${start} to ${end} and its ICV of ${icvLength} octets do not fit a buffer of ${buffer.length}`, {
    code: 'BUFFER_TOO_SHORT',
  });
}

export const destroyed = (): ApiMisuse => new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
