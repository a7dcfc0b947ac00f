import {
  type CipherKeys,
  createPacketCipher,
  type EncryptionTransform,
  effectiveKeyLength,
  encryption,
  encryptionKeyOctets,
  integrity,
  type PacketCipher,
} from '../../../core/crypto/index.ts';
import { CallRunner } from './call-list.ts';
import { EvpAead } from './evp-aead.ts';
import { createEvpBody, createEvpMac, EvpEncryptThenMac } from './evp-encrypt-then-mac.ts';
import { EvpGmac } from './evp-gmac.ts';
import type { Native } from './ffi.ts';
import { KeyStore } from './key-store.ts';
import { type Evp, openEvp } from './openssl.ts';
import { ProviderChacha } from './provider-chacha.ts';
import { ProviderGcm } from './provider-gcm.ts';

/**
 * The same cipher as `createPacketCipher` makes, to the octet, over OpenSSL contexts that live as long as it does: a packet is worked on
 * where it stands, and nothing is allocated for it but a copy of what CCM opens. Belongs to the thread that made it.
 *
 * Undefined for what is left to `createPacketCipher`: Camellia-CCM and AES-XCBC, of which OpenSSL has none; what this OpenSSL was built or
 * configured without; and keys that no transform takes, since that says what is wrong with them.
 *
 * What its `seal` and `open` are given besides: `seal` throws `ApiMisuse` when the buffer has no room for the ICV or the body is not whole
 * blocks. A packet that `open` refuses stays as it was, octet for octet.
 */
export function createEvpCipher(native: Native, keys: CipherKeys): PacketCipher | undefined {
  const evp = evpOf(native);
  const transform = encryption(keys.encryption);
  const bits = transform && effectiveKeyLength(transform, keys.keyLength);
  if (evp === undefined || transform === undefined || bits === undefined) return undefined;
  if (keys.encryptionKey.length !== encryptionKeyOctets(keys.encryption, keys.keyLength)) return undefined;
  // A view of the key itself would move it out of V8's heap, for as long as the SA lives: some 200 octets. Who makes a cipher copies its own.
  KEY.set(keys.encryptionKey);
  try {
    const key = KEY.subarray(0, bits / 8);
    return cipherOf(evp, transform, bits, keys, key, KEY.subarray(bits / 8, keys.encryptionKey.length));
  } finally {
    KEY.fill(0);
  }
}

function cipherOf(
  evp: OpenedEvp,
  transform: EncryptionTransform,
  bits: number,
  keys: CipherKeys,
  key: Uint8Array,
  salt: Uint8Array,
): PacketCipher | undefined {
  if (transform.aead) {
    const cipher = transform.mode === 'block-ccm' || keys.integrity ? undefined : evp.cipher(transform.cipherNames(bits)[0]);
    if (cipher === undefined) return undefined;
    if (transform.mode === 'gmac') return new EvpGmac(evp, transform, cipher, key, salt);
    const below = evp.gcm?.create(transform, cipher, key, salt) ?? evp.chacha?.create(transform, cipher, key, salt);
    return below ?? new EvpAead(evp, transform, cipher, key, salt);
  }
  const mac = keys.integrity ? integrity(keys.integrity) : undefined;
  if (!mac?.forEsp || keys.integrityKey?.length !== mac.keyLength) return undefined;
  const body = createEvpBody(evp, transform, transform.cipherNames(bits)[0], key, salt);
  const tag = body && createEvpMac(evp, mac, keys.integrityKey);
  if (tag === undefined) body?.destroy();
  return body && tag && new EvpEncryptThenMac(evp, transform, body, mac.icvLength, tag);
}

/** Makes ciphers by `createEvpCipher`, and what is left over by `core/crypto`. */
export const packetCiphers =
  (native: Native) =>
  (keys: CipherKeys): PacketCipher =>
    createEvpCipher(native, keys) ?? createPacketCipher(keys);

/** Opened once for each thread. */
function evpOf(native: Native): OpenedEvp | undefined {
  if (!opened.has(native)) {
    const evp = openEvp(native);
    const keys = new KeyStore(native);
    const runner = CallRunner.find(native);
    opened.set(
      native,
      evp && { ...evp, gcm: ProviderGcm.find(native, evp, keys, runner), chacha: ProviderChacha.find(native, evp, keys, runner) },
    );
  }
  return opened.get(native);
}

interface OpenedEvp extends Evp {
  readonly gcm: ProviderGcm | undefined;
  readonly chacha: ProviderChacha | undefined;
}

const opened = new WeakMap<Native, OpenedEvp | undefined>();

/** A key and its salt. */
const KEY = new Uint8Array(64);
