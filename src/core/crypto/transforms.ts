import { concat } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { createCmac, createGmac, createHmacMac, createXcbc, type Mac } from './mac.ts';
import type { PacketCipher } from './packet-cipher.ts';
import { cmacPrf, hmacPrf, xcbcPrf } from './prf.ts';

/**
 * The transforms of the IANA registry "Internet Key Exchange Version 2 (IKEv2) Parameters" that this library speaks, by id.
 * Adding one is one entry in a table below; key exchange methods have theirs in `key-exchange.ts`.
 */
export interface EncryptionTransform {
  readonly id: number;
  /** As IANA registers it. */
  readonly name: string;
  readonly aead: boolean;
  /** Bits, without the salt, smallest first; 0 alone stands for no key (NULL). */
  readonly keyLengths: readonly number[];
  /** Whether the Key Length attribute must or must not stand in the transform (RFC 7296 §3.3.5). */
  readonly keyLengthAttribute: 'required' | 'absent';
  /** Octets of KEYMAT behind the key that become the implicit part of the nonce. */
  readonly saltLength: number;
  /** Octets of the IV in the packet. */
  readonly ivLength: number;
  /** Octets of the authentication tag; 0 where a transform of type 3 supplies it. */
  readonly icvLength: number;
  readonly blockLength: number;
  readonly ivKind: PacketCipher['ivKind'];
  /** false for what only ESP may use: NULL (RFC 7296 §5), GMAC (RFC 4543 §5.1), implicit IVs (RFC 8750 §7). */
  readonly forIke: boolean;
  readonly mode: CipherMode;
  /** OpenSSL's names of what a key of so many bits works with, the one that encrypts first. */
  cipherNames(keyLength: number): readonly [string, ...string[]];
}

/** `block-ccm` is CCM made of the cipher's CTR and CBC, where OpenSSL has it no other way. */
export type CipherMode = 'gcm' | 'ccm' | 'block-ccm' | 'gmac' | 'chacha20-poly1305' | 'cbc' | 'ctr' | 'null';

export interface IntegrityTransform {
  readonly id: number;
  readonly name: string;
  /** Octets. */
  readonly keyLength: number;
  /** Octets of the truncated MAC in the packet. */
  readonly icvLength: number;
  /** Octets of an IV that goes along with each MAC and never comes twice under one key; 0 for all but GMAC. */
  readonly ivLength: number;
  /** false for what only AH may use (RFC 4543 §5.3). */
  readonly forEsp: boolean;
  /** OpenSSL's names of the digests and ciphers that it is made of. */
  readonly needs: readonly string[];
  createMac(key: Uint8Array): Mac;
  /** The truncated MAC of the parts in a row, for one use. With an `ivLength`, the first part is the IV and not itself covered. */
  compute(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array;
}

export interface PrfTransform {
  readonly id: number;
  readonly name: string;
  /** Octets; the length of SK_d, SK_pi and SK_pr. */
  readonly keyLength: number;
  /** Octets. */
  readonly outputLength: number;
  /**
   * The PRF was made for keys of one length: of each nonce only the first `keyLength / 2` octets become the key of SKEYSEED
   * (RFC 7296 §2.14, RFC 4434 §2, RFC 4615 §1).
   */
  readonly fixedKeyLength: boolean;
  /** OpenSSL's names of the digests and ciphers that it is made of. */
  readonly needs: readonly string[];
  compute(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array;
}

export const encryption = (id: number): EncryptionTransform | undefined => ENCRYPTION.get(id);
export const prf = (id: number): PrfTransform | undefined => PRF.get(id);
export const integrity = (id: number): IntegrityTransform | undefined => INTEGRITY.get(id);

export const encryptionTransforms = (): readonly EncryptionTransform[] => [...ENCRYPTION.values()];
export const prfTransforms = (): readonly PrfTransform[] => [...PRF.values()];
export const integrityTransforms = (): readonly IntegrityTransform[] => [...INTEGRITY.values()];

/** The key length in bits that a transform with this Key Length attribute means; undefined when the two do not go together. */
export function effectiveKeyLength(transform: EncryptionTransform, keyLength: number | undefined): number | undefined {
  if (transform.keyLengthAttribute === 'absent') return keyLength === undefined ? transform.keyLengths[0] : undefined;
  return keyLength !== undefined && transform.keyLengths.includes(keyLength) ? keyLength : undefined;
}

/** Octets of KEYMAT that an encryption transform takes: key and salt. Throws `ApiMisuse` for what was never negotiable. */
export function encryptionKeyOctets(id: number, keyLength?: number): number {
  const transform = encryption(id);
  if (transform === undefined) throw new ApiMisuse(`encryption transform ${id} is not supported`, { code: 'UNKNOWN_TRANSFORM' });
  const bits = effectiveKeyLength(transform, keyLength);
  if (bits === undefined) {
    const allowed =
      transform.keyLengthAttribute === 'absent' ? 'no Key Length attribute' : `a key of ${transform.keyLengths.join(', ')} bits`;
    throw new ApiMisuse(`${transform.name} takes ${allowed}, not ${keyLength ?? 'none'}`, {
      code: 'KEY_LENGTH',
      section: 'RFC 7296 §3.3.5',
    });
  }
  return bits / 8 + transform.saltLength;
}

const AES_KEYS = [128, 192, 256] as const;
/** The same text for every SA that uses it. */
function named(name: (keyLength: number) => string): EncryptionTransform['cipherNames'] {
  const names = new Map<number, readonly [string]>();
  return (keyLength) => {
    const known = names.get(keyLength);
    if (known !== undefined) return known;
    const made = [name(keyLength)] as const;
    names.set(keyLength, made);
    return made;
  };
}

const AES_128 = ['aes-128-cbc', 'aes-128-ecb'];

const aesGcm = (id: number, icvLength: number): EncryptionTransform => ({
  id,
  name: `ENCR_AES_GCM_${icvLength}`,
  aead: true,
  keyLengths: AES_KEYS,
  keyLengthAttribute: 'required',
  // RFC 4106 §4, §8.1
  saltLength: 4,
  ivLength: 8,
  icvLength,
  blockLength: 1,
  ivKind: 'counter',
  forIke: true,
  mode: 'gcm',
  cipherNames: named((bits) => `aes-${bits}-gcm`),
});

const aesCcm = (id: number, icvLength: number): EncryptionTransform => ({
  id,
  name: `ENCR_AES_CCM_${icvLength}`,
  aead: true,
  keyLengths: AES_KEYS,
  keyLengthAttribute: 'required',
  // RFC 4309 §4, §7.1
  saltLength: 3,
  ivLength: 8,
  icvLength,
  blockLength: 1,
  ivKind: 'counter',
  forIke: true,
  mode: 'ccm',
  cipherNames: named((bits) => `aes-${bits}-ccm`),
});

/** RFC 5529 §2: as AES in the same mode (RFC 4309), over another block cipher. */
const camelliaCcm = (id: number, icvLength: number): EncryptionTransform => ({
  ...aesCcm(id, icvLength),
  name: `ENCR_CAMELLIA_CCM_${icvLength}`,
  mode: 'block-ccm',
  cipherNames: (bits) => [`camellia-${bits}-ctr`, `camellia-${bits}-cbc`],
});

/** RFC 8750 §4: the same transform, whose IV is the sequence number and not sent. */
const implicitIv = (id: number, transform: EncryptionTransform): EncryptionTransform => ({
  ...transform,
  id,
  name: `${transform.name}_IIV`,
  ivLength: 0,
  ivKind: 'implicit',
  forIke: false,
});

const CHACHA20_POLY1305: EncryptionTransform = {
  id: 28,
  name: 'ENCR_CHACHA20_POLY1305',
  aead: true,
  keyLengths: [256],
  // RFC 7634 §4
  keyLengthAttribute: 'absent',
  saltLength: 4,
  ivLength: 8,
  icvLength: 16,
  blockLength: 1,
  ivKind: 'counter',
  forIke: true,
  mode: 'chacha20-poly1305',
  cipherNames: () => ['chacha20-poly1305'],
};

const hmac = (hash: 'sha1' | 'sha256' | 'sha384' | 'sha512', id: number, name: string, length: number): PrfTransform => ({
  id,
  name,
  keyLength: length,
  outputLength: length,
  fixedKeyLength: false,
  needs: [hash],
  compute: hmacPrf(hash),
});

const truncated = (
  id: number,
  name: string,
  keyLength: number,
  icvLength: number,
  needs: readonly string[],
  createMac: (key: Uint8Array) => Mac,
): IntegrityTransform => ({
  id,
  name,
  keyLength,
  icvLength,
  needs,
  ivLength: 0,
  forEsp: true,
  createMac,
  compute(key, ...data) {
    let length = 0;
    for (const part of data) length += part.length;
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of data) {
      whole.set(part, at);
      at += part.length;
    }
    const mac = createMac(key);
    const icv = new Uint8Array(mac.compute(whole).subarray(0, icvLength));
    mac.destroy();
    return icv;
  },
});

/** RFC 4543 §4: GMAC for AH, one number for each length of key. */
const gmac = (id: number, bits: number): IntegrityTransform => ({
  id,
  name: `AUTH_AES_${bits}_GMAC`,
  // RFC 4543 §5.4: the key and 4 octets of salt
  keyLength: bits / 8 + 4,
  icvLength: 16,
  ivLength: 8,
  forEsp: false,
  needs: [`aes-${bits}-gcm`],
  createMac: (key) => createGmac(key, 4),
  compute(key, iv, ...data) {
    const mac = createGmac(key, 4);
    const icv = new Uint8Array(mac.compute(concat(...data), undefined, iv));
    mac.destroy();
    return icv;
  },
});

const byId = <T extends { readonly id: number }>(...entries: readonly T[]): ReadonlyMap<number, T> =>
  new Map(entries.map((entry) => [entry.id, entry]));

/** Transform Type 1. */
const ENCRYPTION = byId<EncryptionTransform>(
  {
    id: 3,
    name: 'ENCR_3DES',
    aead: false,
    // RFC 2451 §2.2: three keys of 64 bits, parity included
    keyLengths: [192],
    keyLengthAttribute: 'absent',
    saltLength: 0,
    ivLength: 8,
    icvLength: 0,
    blockLength: 8,
    ivKind: 'random',
    forIke: true,
    mode: 'cbc',
    cipherNames: () => ['des-ede3-cbc'],
  },
  {
    id: 11,
    name: 'ENCR_NULL',
    aead: false,
    keyLengths: [0],
    keyLengthAttribute: 'absent',
    saltLength: 0,
    ivLength: 0,
    icvLength: 0,
    blockLength: 1,
    ivKind: 'none',
    forIke: false,
    mode: 'null',
    cipherNames: () => ['null'],
  },
  {
    id: 12,
    name: 'ENCR_AES_CBC',
    aead: false,
    keyLengths: AES_KEYS,
    keyLengthAttribute: 'required',
    saltLength: 0,
    ivLength: 16,
    icvLength: 0,
    blockLength: 16,
    ivKind: 'random',
    forIke: true,
    mode: 'cbc',
    cipherNames: named((bits) => `aes-${bits}-cbc`),
  },
  {
    id: 13,
    name: 'ENCR_AES_CTR',
    aead: false,
    keyLengths: AES_KEYS,
    keyLengthAttribute: 'required',
    // RFC 3686 §5.1
    saltLength: 4,
    ivLength: 8,
    icvLength: 0,
    blockLength: 1,
    ivKind: 'counter',
    forIke: true,
    mode: 'ctr',
    cipherNames: (bits) => [`aes-${bits}-ctr`],
  },
  aesCcm(14, 8),
  aesCcm(15, 12),
  aesCcm(16, 16),
  aesGcm(18, 8),
  aesGcm(19, 12),
  aesGcm(20, 16),
  {
    ...aesGcm(21, 16),
    name: 'ENCR_NULL_AUTH_AES_GMAC',
    forIke: false,
    mode: 'gmac',
  },
  {
    id: 23,
    name: 'ENCR_CAMELLIA_CBC',
    aead: false,
    keyLengths: AES_KEYS,
    keyLengthAttribute: 'required',
    saltLength: 0,
    ivLength: 16,
    icvLength: 0,
    blockLength: 16,
    ivKind: 'random',
    forIke: true,
    mode: 'cbc',
    cipherNames: (bits) => [`camellia-${bits}-cbc`],
  },
  {
    id: 24,
    name: 'ENCR_CAMELLIA_CTR',
    aead: false,
    keyLengths: AES_KEYS,
    keyLengthAttribute: 'required',
    // RFC 5528 §4.1
    saltLength: 4,
    ivLength: 8,
    icvLength: 0,
    blockLength: 1,
    ivKind: 'counter',
    forIke: true,
    mode: 'ctr',
    cipherNames: (bits) => [`camellia-${bits}-ctr`],
  },
  camelliaCcm(25, 8),
  camelliaCcm(26, 12),
  camelliaCcm(27, 16),
  CHACHA20_POLY1305,
  implicitIv(29, aesCcm(14, 8)),
  implicitIv(30, aesGcm(20, 16)),
  implicitIv(31, CHACHA20_POLY1305),
);

/** Transform Type 2. */
const PRF = byId<PrfTransform>(
  hmac('sha1', 2, 'PRF_HMAC_SHA1', 20),
  { id: 4, name: 'PRF_AES128_XCBC', keyLength: 16, outputLength: 16, fixedKeyLength: true, needs: AES_128, compute: xcbcPrf },
  hmac('sha256', 5, 'PRF_HMAC_SHA2_256', 32),
  hmac('sha384', 6, 'PRF_HMAC_SHA2_384', 48),
  hmac('sha512', 7, 'PRF_HMAC_SHA2_512', 64),
  { id: 8, name: 'PRF_AES128_CMAC', keyLength: 16, outputLength: 16, fixedKeyLength: true, needs: AES_128, compute: cmacPrf },
);

/** Transform Type 3. */
const INTEGRITY = byId<IntegrityTransform>(
  truncated(2, 'AUTH_HMAC_SHA1_96', 20, 12, ['sha1'], (key) => createHmacMac('sha1', key)),
  truncated(5, 'AUTH_AES_XCBC_96', 16, 12, AES_128, createXcbc),
  truncated(8, 'AUTH_AES_CMAC_96', 16, 12, AES_128, createCmac),
  gmac(9, 128),
  gmac(10, 192),
  gmac(11, 256),
  truncated(12, 'AUTH_HMAC_SHA2_256_128', 32, 16, ['sha256'], (key) => createHmacMac('sha256', key)),
  truncated(13, 'AUTH_HMAC_SHA2_384_192', 48, 24, ['sha384'], (key) => createHmacMac('sha384', key)),
  truncated(14, 'AUTH_HMAC_SHA2_512_256', 64, 32, ['sha512'], (key) => createHmacMac('sha512', key)),
  // Private use, as strongSwan numbers it: what Linux before 2.6.33 took for HMAC_SHA2_256.
  truncated(1026, 'AUTH_HMAC_SHA2_256_96', 32, 12, ['sha256'], (key) => createHmacMac('sha256', key)),
);
