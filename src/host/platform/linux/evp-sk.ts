import { ApiMisuse } from '../../../core/bytes/index.ts';
import {
  type CipherKeys,
  createPacketCipher,
  type EncryptionTransform,
  effectiveKeyLength,
  encryption,
  encryptionKeyOctets,
  type IntegrityTransform,
  integrity,
  type PacketCipher,
} from '../../../core/crypto/index.ts';
import { EvpContext, requireRoom } from './evp-context.ts';
import { EvpHmac } from './evp-hmac.ts';
import type { NativeBuffer } from './ffi.ts';
import { CTRL, type Evp, opensslFailed, SCRATCH, writeTagParameter } from './openssl.ts';

/**
 * Ciphers of SK payloads as `createPacketCipher` makes them, to the octet. An IKE SA sees a handful of messages, so it keeps its keys and no
 * context: those are the thread's, one for each suite and direction, and are lent to one message after the other. A message is worked on in
 * a place of ours, and neither there nor in the context anything stays of it or of the key.
 *
 * `create` gives undefined for suites and keys that are left to `createPacketCipher`.
 */
export class SkCiphers {
  readonly #evp: Evp;
  readonly #place: NativeBuffer;
  readonly #suites = new Map<number, Suite | undefined>();

  constructor(evp: Evp, place: NativeBuffer) {
    this.#evp = evp;
    this.#place = place;
  }

  create(keys: CipherKeys): PacketCipher | undefined {
    const { encryption: id, keyLength, integrity: macId = 0, encryptionKey, integrityKey } = keys;
    const transform = encryption(id);
    const bits = transform && effectiveKeyLength(transform, keyLength);
    if (transform === undefined || bits === undefined || encryptionKey.length !== encryptionKeyOctets(id, keyLength)) return undefined;
    const mac = integrity(macId);
    if (transform.aead ? macId !== 0 : integrityKey === undefined || integrityKey.length !== mac?.keyLength) return undefined;
    const suite = this.#suite(transform, bits, mac);
    return suite && new SkCipher(suite, encryptionKey, transform.aead ? undefined : integrityKey);
  }

  #suite(transform: EncryptionTransform, bits: number, mac: IntegrityTransform | undefined): Suite | undefined {
    const key = (transform.id * MOST_BITS + bits) * MOST_IDS + (mac?.id ?? 0);
    const known = this.#suites.get(key);
    if (known !== undefined || this.#suites.has(key)) return known;
    const suite = openSuite(this.#evp, this.#place, transform, bits, mac);
    this.#suites.set(key, suite);
    return suite;
  }
}

/** What all IKE SAs of one suite have in common. */
interface Suite extends Pick<PacketCipher, 'ivLength' | 'icvLength' | 'blockLength' | 'ivKind'> {
  /** As those of `PacketCipher`, for messages within `LONGEST`. @param keys key and salt, then the key of the MAC */
  seal(keys: Uint8Array, buffer: Uint8Array, start: number, headLength: number, end: number): void;
  open(keys: Uint8Array, buffer: Uint8Array, start: number, headLength: number, end: number): boolean;
  /** For what this is not made for: long messages and sequence numbers. */
  plain(keys: Uint8Array): PacketCipher;
}

class SkCipher implements PacketCipher {
  readonly #suite: Suite;
  #keys: Uint8Array | undefined;

  constructor(suite: Suite, encryptionKey: Uint8Array, integrityKey: Uint8Array | undefined) {
    this.#suite = suite;
    this.#keys = new Uint8Array(encryptionKey.length + (integrityKey?.length ?? 0));
    this.#keys.set(encryptionKey);
    if (integrityKey) this.#keys.set(integrityKey, encryptionKey.length);
  }

  get ivLength(): number {
    return this.#suite.ivLength;
  }

  get icvLength(): number {
    return this.#suite.icvLength;
  }

  get blockLength(): number {
    return this.#suite.blockLength;
  }

  get ivKind(): PacketCipher['ivKind'] {
    return this.#suite.ivKind;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const keys = this.#live();
    const { ivLength, icvLength, blockLength } = this.#suite;
    const bodyAt = start + headLength + ivLength;
    requireRoom(buffer, start, headLength, bodyAt, end, icvLength);
    if ((end - bodyAt) % blockLength !== 0)
      throw new ApiMisuse(`a body of ${end - bodyAt} octets is not whole blocks of ${blockLength}`, { code: 'BLOCK_LENGTH' });
    if (end - start > LONGEST || esnHigh !== undefined)
      return this.#plainly(keys, (cipher) => cipher.seal(buffer, start, headLength, end, esnHigh));
    this.#suite.seal(keys, buffer, start, headLength, end);
    return end + icvLength;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const keys = this.#live();
    const { ivLength, icvLength, blockLength } = this.#suite;
    const bodyEnd = end - icvLength;
    const length = bodyEnd - start - headLength - ivLength;
    if (!(start >= 0 && headLength >= 0 && length >= 0 && end <= buffer.length && length % blockLength === 0)) return -1;
    if (end - start > LONGEST || esnHigh !== undefined)
      return this.#plainly(keys, (cipher) => cipher.open(buffer, start, headLength, end, esnHigh));
    return this.#suite.open(keys, buffer, start, headLength, end) ? bodyEnd : -1;
  }

  destroy(): void {
    this.#keys?.fill(0);
    this.#keys = undefined;
  }

  #plainly(keys: Uint8Array, work: (cipher: PacketCipher) => number): number {
    const cipher = this.#suite.plain(keys);
    try {
      return work(cipher);
    } finally {
      cipher.destroy();
    }
  }

  #live(): Uint8Array {
    if (this.#keys === undefined) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
    return this.#keys;
  }
}

function openSuite(
  evp: Evp,
  place: NativeBuffer,
  transform: EncryptionTransform,
  bits: number,
  mac: IntegrityTransform | undefined,
): Suite | undefined {
  const cipher = transform.forIke && MODES.has(transform.mode) ? evp.cipher(transform.cipherNames(bits)[0]) : undefined;
  const digest = mac && DIGESTS[mac.id];
  const hmac = digest === undefined ? undefined : EvpHmac.open(evp, digest);
  if (cipher === undefined || (!transform.aead && hmac === undefined)) return undefined;
  const keyOctets = bits / 8 + transform.saltLength;
  const common = {
    ivLength: transform.ivLength,
    icvLength: transform.icvLength || mac!.icvLength,
    blockLength: transform.blockLength,
    ivKind: transform.ivKind,
    plain: (keys: Uint8Array): PacketCipher =>
      createPacketCipher({
        encryption: transform.id,
        keyLength: transform.keyLengthAttribute === 'required' ? bits : undefined,
        encryptionKey: keys.subarray(0, keyOctets),
        ...(mac && { integrity: mac.id, integrityKey: keys.subarray(keyOctets) }),
      }),
  };
  const lender = new Lender(evp, place, transform, cipher, bits / 8);
  return {
    ...common,
    ...(hmac === undefined ? aead(lender, transform) : encryptThenMac(lender, transform, hmac, keyOctets, mac!.icvLength)),
  };
}

type Work = Pick<Suite, 'seal' | 'open'>;

/** GCM, ChaCha20-Poly1305 and CCM, which is told the length beforehand and has nothing to do at the end (RFC 5282 §5). */
function aead({ evp, place, lend }: Lender, { mode, ivLength, icvLength }: EncryptionTransform): Work {
  const { openssl, scratch } = evp;
  const { octets, address } = place;
  const ccm = mode === 'ccm';
  const run = (context: number, headLength: number, bodyAt: number, length: number): boolean =>
    (!ccm || openssl.EVP_Cipher(context, 0, 0, length) >= 0) &&
    openssl.EVP_Cipher(context, 0, address, headLength) >= 0 &&
    openssl.EVP_Cipher(context, address + bodyAt, address + bodyAt, length) >= 0;
  const final = (context: number): boolean =>
    ccm || openssl.EVP_CipherFinal_ex(context, scratch.address + SCRATCH.mac, scratch.address + SCRATCH.written) === 1;
  return {
    seal(keys, buffer, start, headLength, end) {
      const bodyAt = headLength + ivLength;
      const length = end - start;
      lend(1, keys, buffer, start, headLength, length, icvLength, 0, (context) => {
        const sealed =
          run(context, headLength, bodyAt, length - bodyAt) &&
          final(context) &&
          openssl.EVP_CIPHER_CTX_ctrl(context, CTRL.getTag, icvLength, address + length) === 1;
        if (!sealed) throw opensslFailed(evp, 'to seal a message');
        buffer.set(octets.subarray(bodyAt, length + icvLength), start + bodyAt);
        return true;
      });
    },
    open(keys, buffer, start, headLength, end) {
      const bodyAt = headLength + ivLength;
      const bodyEnd = end - start - icvLength;
      writeTagParameter(evp, address + bodyEnd, icvLength);
      const tag = scratch.address + SCRATCH.tagParameter;
      return lend(0, keys, buffer, start, headLength, end - start, 0, tag, (context) => {
        const opened = run(context, headLength, bodyAt, bodyEnd - bodyAt) && final(context);
        if (opened) buffer.set(octets.subarray(bodyAt, bodyEnd), start + bodyAt);
        else openssl.ERR_clear_error();
        return opened;
      });
    },
  };
}

/** CBC and CTR, and HMAC over head, IV and ciphertext (RFC 7296 §3.14). */
function encryptThenMac(
  { evp, place, lend }: Lender,
  { ivLength }: EncryptionTransform,
  hmac: EvpHmac,
  macKeyAt: number,
  icvLength: number,
): Work {
  const { openssl, scratch } = evp;
  const { octets, address } = place;
  const run = (context: number, bodyAt: number, bodyEnd: number): void => {
    if (bodyEnd > bodyAt && openssl.EVP_Cipher(context, address + bodyAt, address + bodyAt, bodyEnd - bodyAt) < 0)
      throw opensslFailed(evp, 'to work on a message');
  };
  const authenticate = (keys: Uint8Array, length: number): void => {
    const done = hmac.compute(address + KEY + macKeyAt, keys.length - macKeyAt, address, length);
    hmac.forget();
    if (!done) throw opensslFailed(evp, 'to authenticate a message');
  };
  return {
    seal(keys, buffer, start, headLength, end) {
      const bodyAt = headLength + ivLength;
      const length = end - start;
      lend(1, keys, buffer, start, headLength, length, 0, 0, (context) => {
        run(context, bodyAt, length);
        authenticate(keys, length);
        buffer.set(octets.subarray(bodyAt, length), start + bodyAt);
        buffer.set(scratch.octets.subarray(SCRATCH.mac, SCRATCH.mac + icvLength), end);
        return true;
      });
    },
    open(keys, buffer, start, headLength, end) {
      const bodyAt = headLength + ivLength;
      const bodyEnd = end - start - icvLength;
      return lend(0, keys, buffer, start, headLength, end - start, 0, 0, (context) => {
        authenticate(keys, bodyEnd);
        if (openssl.CRYPTO_memcmp(scratch.address + SCRATCH.mac, address + bodyEnd, icvLength) !== 0) return false;
        run(context, bodyAt, bodyEnd);
        buffer.set(octets.subarray(bodyAt, bodyEnd), start + bodyAt);
        return true;
      });
    },
  };
}

/** The two contexts of a suite, and the place for a message and its keys. */
class Lender {
  readonly evp: Evp;
  readonly place: NativeBuffer;
  readonly #transform: EncryptionTransform;
  readonly #cipher: number;
  readonly #keyOctets: number;
  #encryptor: EvpContext | undefined;
  #decryptor: EvpContext | undefined;

  constructor(evp: Evp, place: NativeBuffer, transform: EncryptionTransform, cipher: number, keyOctets: number) {
    this.evp = evp;
    this.place = place;
    this.#transform = transform;
    this.#cipher = cipher;
    this.#keyOctets = keyOctets;
  }

  /**
   * Copies a message and its keys to the place, gives the context its key and nonce, and takes all of it back when the work is done.
   * @param behind octets of the place that are written behind the message
   */
  readonly lend = (
    encrypt: 0 | 1,
    keys: Uint8Array,
    buffer: Uint8Array,
    start: number,
    headLength: number,
    length: number,
    behind: number,
    parameters: number,
    work: (context: number) => boolean,
  ): boolean => {
    const { openssl } = this.evp;
    const { octets, address } = this.place;
    const context = this.#context(encrypt);
    octets.set(buffer.subarray(start, start + length));
    octets.set(keys, KEY);
    const nonceAt = this.#nonce(headLength);
    try {
      if (openssl.EVP_CipherInit_ex2(context.address, 0, address + KEY, nonceAt, encrypt, parameters) !== 1)
        throw opensslFailed(this.evp, 'the key of a message');
      return work(context.address);
    } finally {
      octets.fill(0, 0, length + behind);
      octets.fill(0, KEY, KEY + keys.length);
      this.evp.scratch.octets.fill(0, SCRATCH.mac, SCRATCH.mac + LARGEST_MAC);
      this.evp.scratch.octets.fill(0, SCRATCH.nonce, SCRATCH.nonce + CTR_BLOCK);
      // A key of zeros takes the place of the key.
      openssl.EVP_CipherInit_ex2(context.address, 0, address + KEY, 0, encrypt, 0);
    }
  };

  #context(encrypt: 0 | 1): EvpContext {
    if (encrypt === 1) {
      this.#encryptor ??= this.#open(1);
      return this.#encryptor;
    }
    this.#decryptor ??= this.#open(0);
    return this.#decryptor;
  }

  /** Salt | IV, for CTR the counter of the first block behind it (RFC 3686 §4); CBC has nothing but the IV. @returns its address */
  #nonce(ivAt: number): number {
    const { mode, saltLength, ivLength } = this.#transform;
    if (mode === 'cbc') return this.place.address + ivAt;
    const { octets } = this.place;
    const { scratch } = this.evp;
    const nonce = scratch.octets;
    for (let i = 0; i < saltLength; i++) nonce[SCRATCH.nonce + i] = octets[KEY + this.#keyOctets + i]!;
    for (let i = 0; i < ivLength; i++) nonce[SCRATCH.nonce + saltLength + i] = octets[ivAt + i]!;
    for (let i = saltLength + ivLength; i < CTR_BLOCK; i++) nonce[SCRATCH.nonce + i] = i === CTR_BLOCK - 1 ? 1 : 0;
    return scratch.address + SCRATCH.nonce;
  }

  #open(encrypt: 0 | 1): EvpContext {
    const { openssl } = this.evp;
    const { aead, mode, saltLength, ivLength, icvLength } = this.#transform;
    const context = new EvpContext(openssl.EVP_CIPHER_CTX_new(), openssl.EVP_CIPHER_CTX_free);
    const { address } = context;
    const ready =
      openssl.EVP_CipherInit_ex2(address, this.#cipher, 0, 0, encrypt, 0) === 1 &&
      (aead
        ? openssl.EVP_CIPHER_CTX_ctrl(address, CTRL.setIvLength, saltLength + ivLength, 0) === 1 &&
          (mode !== 'ccm' || openssl.EVP_CIPHER_CTX_ctrl(address, CTRL.setTag, icvLength, 0) === 1)
        : openssl.EVP_CIPHER_CTX_set_padding(address, 0) === 1);
    if (ready) return context;
    context.destroy();
    throw opensslFailed(this.evp, 'a cipher of messages');
  }
}

const MODES: ReadonlySet<EncryptionTransform['mode']> = new Set(['gcm', 'ccm', 'chacha20-poly1305', 'cbc', 'ctr']);

/** What OpenSSL calls the digests of Transform Type 3; the MACs that are not HMAC are left out. */
const DIGESTS: Readonly<Record<number, string | undefined>> = { 2: 'SHA1', 12: 'SHA2-256', 13: 'SHA2-384', 14: 'SHA2-512' };

/** Offset of the keys in the place; a message and its ICV stand before it. */
const KEY = 7936;
const LARGEST_MAC = 64;
const LONGEST = KEY - LARGEST_MAC;
const CTR_BLOCK = 16;

/** Bounds of what makes the key of a suite. */
const MOST_BITS = 1024;
const MOST_IDS = 65_536;
