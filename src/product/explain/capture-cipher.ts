import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { concat } from '../../core/bytes/bytes.ts';
import { ApiMisuse, TunnelwrightError } from '../../core/bytes/errors.ts';
import { createPacketCipher, encryption, integrity } from '../../core/crypto/index.ts';
import { EncryptionId } from '../../core/wire/iana.ts';

/**
 * The protection of one direction of a recorded SA. Recordings hold more than we negotiate: old algorithms, and SAs of which only the
 * encryption key was kept, so that the ICV can be skipped but not verified.
 */
export interface CaptureSuite {
  /** IANA Transform Type 1. */
  readonly encryption: number;
  /** Bits, for transforms that carry the Key Length attribute; else it follows from the key. */
  readonly keyLength?: number | undefined;
  /** Key and salt. */
  readonly encryptionKey: Uint8Array;
  readonly integrity: CaptureIntegrity;
  readonly integrityKey: Uint8Array;
}

export type CaptureIntegrity =
  | { readonly kind: 'none' }
  /** IANA Transform Type 3, one that core/crypto computes. */
  | { readonly kind: 'transform'; readonly id: number }
  /** HMAC cut to so many octets, for what core/crypto leaves out. */
  | { readonly kind: 'hmac'; readonly hash: 'md5' | 'sha1' | 'sha256'; readonly octets: number }
  /** An ICV of so many octets, which nobody can verify. */
  | { readonly kind: 'unchecked'; readonly octets: number };

/** Opens `head | IV | body | ICV`, as a `PacketCipher` does. */
export interface CaptureCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  /** False where the ICV could not be verified. */
  readonly verified: boolean;
  /** @returns the offset behind the body, or -1 when the ICV is wrong or lengths do not fit */
  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number;
}

/** Throws `ApiMisuse` for an algorithm that is not known here, or a key of the wrong length. */
export function createCaptureCipher(suite: CaptureSuite): CaptureCipher {
  const transform = encryption(suite.encryption);
  if (transform?.aead === true) return createAead(suite, transform.keyLengthAttribute === 'required', transform.saltLength);
  const body = bodyCipher(suite);
  return new RecordedCipher(body, suite.integrity, suite.integrityKey);
}

function createAead(suite: CaptureSuite, withKeyLength: boolean, saltLength: number): CaptureCipher {
  const keyLength = withKeyLength ? 8 * (suite.encryptionKey.length - saltLength) : undefined;
  const cipher = createPacketCipher({ encryption: suite.encryption, keyLength, encryptionKey: suite.encryptionKey });
  return {
    ivLength: cipher.ivLength,
    icvLength: cipher.icvLength,
    verified: true,
    open: (buffer, start, headLength, end, esnHigh) => cipher.open(buffer, start, headLength, end, esnHigh),
  };
}

interface BodyCipher {
  readonly ivLength: number;
  readonly blockLength: number;
  decrypt(iv: Uint8Array, body: Uint8Array): Uint8Array;
}

/** A context of its own for every packet: slow, plain, and right. */
function bodyCipher({ encryption: id, encryptionKey: key }: CaptureSuite): BodyCipher {
  const decrypt = (name: string, secret: Uint8Array, iv: Uint8Array, body: Uint8Array): Uint8Array => {
    const cipher = createDecipheriv(name, secret, iv).setAutoPadding(false);
    return concat(cipher.update(body), cipher.final());
  };
  switch (id) {
    case EncryptionId.ENCR_NULL:
      return { ivLength: 0, blockLength: 1, decrypt: (_, body) => body };
    case EncryptionId.ENCR_3DES:
      mustHave(key, [24], '3DES');
      return { ivLength: 8, blockLength: 8, decrypt: (iv, body) => decrypt('des-ede3-cbc', key, iv, body) };
    case EncryptionId.ENCR_DES: {
      mustHave(key, [8], 'DES');
      // Three times the same key is DES once: OpenSSL no longer has DES by itself.
      const triple = concat(key, key, key);
      return { ivLength: 8, blockLength: 8, decrypt: (iv, body) => decrypt('des-ede3-cbc', triple, iv, body) };
    }
    case EncryptionId.ENCR_AES_CBC:
      mustHave(key, [16, 24, 32], 'AES-CBC');
      return { ivLength: 16, blockLength: 16, decrypt: (iv, body) => decrypt(`aes-${8 * key.length}-cbc`, key, iv, body) };
    case EncryptionId.ENCR_CAMELLIA_CBC:
      mustHave(key, [16, 24, 32], 'Camellia-CBC');
      return { ivLength: 16, blockLength: 16, decrypt: (iv, body) => decrypt(`camellia-${8 * key.length}-cbc`, key, iv, body) };
    case EncryptionId.ENCR_AES_CTR:
    case EncryptionId.ENCR_CAMELLIA_CTR: {
      const cipher = id === EncryptionId.ENCR_AES_CTR ? 'aes' : 'camellia';
      mustHave(key, [20, 28, 36], `${cipher === 'aes' ? 'AES' : 'Camellia'}-CTR with its nonce`);
      const secret = key.subarray(0, key.length - 4);
      // RFC 3686 §4, RFC 5528 §4: nonce, IV, block counter from 1
      const block = (iv: Uint8Array): Uint8Array => concat(key.subarray(key.length - 4), iv, Uint8Array.of(0, 0, 0, 1));
      return { ivLength: 8, blockLength: 1, decrypt: (iv, body) => decrypt(`${cipher}-${8 * secret.length}-ctr`, secret, block(iv), body) };
    }
    default:
      throw new ApiMisuse(`encryption transform ${id} cannot be decrypted here`, { code: 'UNKNOWN_TRANSFORM' });
  }
}

function mustHave(key: Uint8Array, lengths: readonly number[], name: string): void {
  if (!lengths.includes(key.length))
    throw new ApiMisuse(`${name} takes a key of ${lengths.join(', ')} octets, not ${key.length}`, { code: 'KEY_LENGTH' });
}

class RecordedCipher implements CaptureCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly verified: boolean;
  readonly #body: BodyCipher;
  readonly #mac: ((data: Uint8Array) => Uint8Array) | undefined;

  constructor(body: BodyCipher, kind: CaptureIntegrity, key: Uint8Array) {
    const { octets, mac } = integrityOf(kind, key);
    this.ivLength = body.ivLength;
    this.icvLength = octets;
    this.verified = mac !== undefined;
    this.#body = body;
    this.#mac = mac;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const ivAt = start + headLength;
    const bodyAt = ivAt + this.ivLength;
    const bodyEnd = end - this.icvLength;
    if (bodyEnd < bodyAt || end > buffer.length || (bodyEnd - bodyAt) % this.#body.blockLength !== 0) return -1;
    if (this.#mac !== undefined) {
      const covered = buffer.subarray(start, bodyEnd);
      const mac = this.#mac(esnHigh === undefined ? covered : concat(covered, bigEndian(esnHigh)));
      if (!timingSafeEqual(mac, buffer.subarray(bodyEnd, end))) return -1;
    }
    try {
      buffer.set(this.#body.decrypt(buffer.subarray(ivAt, bodyAt), buffer.slice(bodyAt, bodyEnd)), bodyAt);
    } catch (error) {
      if (error instanceof TunnelwrightError) throw error;
      return -1;
    }
    return bodyEnd;
  }
}

function integrityOf(kind: CaptureIntegrity, key: Uint8Array): { octets: number; mac: ((data: Uint8Array) => Uint8Array) | undefined } {
  if (kind.kind === 'none') return { octets: 0, mac: undefined };
  if (kind.kind === 'unchecked') return { octets: kind.octets, mac: undefined };
  if (kind.kind === 'hmac') {
    return { octets: kind.octets, mac: (data) => createHmac(kind.hash, key).update(data).digest().subarray(0, kind.octets) };
  }
  const transform = integrity(kind.id);
  if (transform === undefined) throw new ApiMisuse(`integrity transform ${kind.id} cannot be verified here`, { code: 'UNKNOWN_TRANSFORM' });
  if (key.length !== transform.keyLength)
    throw new ApiMisuse(`${transform.name} takes a key of ${transform.keyLength} octets, not ${key.length}`, { code: 'KEY_LENGTH' });
  return { octets: transform.icvLength, mac: (data) => transform.compute(key, data) };
}

function bigEndian(value: number): Uint8Array {
  const octets = new Uint8Array(4);
  new DataView(octets.buffer).setUint32(0, value);
  return octets;
}
