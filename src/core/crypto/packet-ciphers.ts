import { copied } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { zeroise } from './constant-time.ts';
import type { CipherKeys, PacketCipher } from './packet-cipher.ts';
import { AeadPacketCipher } from './packet-ciphers/aead.ts';
import { BlockCcmPacketCipher } from './packet-ciphers/block-ccm.ts';
import { createBodyCipher } from './packet-ciphers/body.ts';
import { EncryptThenMacPacketCipher } from './packet-ciphers/encrypt-then-mac.ts';
import { GmacPacketCipher } from './packet-ciphers/gmac.ts';
import {
  type EncryptionTransform,
  effectiveKeyLength,
  encryption,
  encryptionKeyOctets,
  type IntegrityTransform,
  integrity,
} from './transforms.ts';

/**
 * The cipher for one direction of an SA. Throws `ApiMisuse` for a combination that cannot be negotiated: an AEAD with a separate
 * integrity transform, anything else without one, keys of the wrong length.
 */
export function createPacketCipher(keys: CipherKeys): PacketCipher {
  const transform = encryption(keys.encryption);
  if (transform === undefined) throw misuse('UNKNOWN_TRANSFORM', `encryption transform ${keys.encryption} is not supported`);
  const octets = encryptionKeyOctets(keys.encryption, keys.keyLength);
  if (keys.encryptionKey.length !== octets) {
    throw misuse('KEY_LENGTH', `${transform.name} takes ${octets} octets of key and salt, not ${keys.encryptionKey.length}`);
  }
  const keyLength = effectiveKeyLength(transform, keys.keyLength)!;
  if (transform.aead && keys.integrity)
    throw misuse('INTEGRITY_WITH_AEAD', `${transform.name} protects integrity by itself: no transform of type 3 goes with it`);
  const mac = transform.aead ? undefined : integrityOf(transform, keys);
  // Not views: whoever looks at part of an array has V8 move the whole out of its heap, for as long as that lives.
  const key = copied(keys.encryptionKey, 0, keyLength / 8);
  const salt = copied(keys.encryptionKey, keyLength / 8);
  try {
    if (mac === undefined) return createAead(transform, keyLength, key, salt);
    return new EncryptThenMacPacketCipher(transform, createBodyCipher(transform, keyLength, key, salt), mac, keys.integrityKey!);
  } finally {
    zeroise(key, salt);
  }
}

function createAead(transform: EncryptionTransform, keyLength: number, key: Uint8Array, salt: Uint8Array): PacketCipher {
  const [cipherName] = transform.cipherNames(keyLength);
  switch (transform.mode) {
    case 'gmac':
      return new GmacPacketCipher(transform, cipherName, key, salt);
    case 'block-ccm':
      return new BlockCcmPacketCipher(transform, transform.cipherNames(keyLength), key, salt);
    default:
      return new AeadPacketCipher(transform, cipherName, key, salt);
  }
}

function integrityOf(transform: EncryptionTransform, keys: CipherKeys): IntegrityTransform {
  // RFC 4303 §3.2, RFC 7296 §3.3.3: encryption without integrity protects nothing.
  if (!keys.integrity) throw misuse('INTEGRITY_MISSING', `${transform.name} needs an integrity transform beside it`);
  const mac = integrity(keys.integrity);
  if (mac === undefined) throw misuse('UNKNOWN_TRANSFORM', `integrity transform ${keys.integrity} is not supported`);
  if (!mac.forEsp) throw misuse('INTEGRITY_OF_AH', `${mac.name} is for AH alone`);
  if (keys.integrityKey?.length !== mac.keyLength) {
    throw misuse('KEY_LENGTH', `${mac.name} takes a key of ${mac.keyLength} octets, not ${keys.integrityKey?.length ?? 0}`);
  }
  return mac;
}

const misuse = (code: string, message: string): ApiMisuse => new ApiMisuse(message, { code });
