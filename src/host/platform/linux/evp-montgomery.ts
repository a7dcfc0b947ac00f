import { isAllZero, type KeyExchangeMethod, keyExchange } from '../../../core/crypto/index.ts';
import { checkLength, invalidPublicValue } from '../../../core/crypto/key-exchange/public-value.ts';
import type { Native, NativeBuffer } from './ffi.ts';
import { type Evp, opensslFailed, tryFunctions } from './openssl.ts';
import { type Agreement, MONTGOMERY as AT, providerAgreement } from './provider-montgomery.ts';

/**
 * Curve25519 or Curve448 as `core/crypto` has it, the responder's half without `KeyObject`s: key pair and secret are made in one place, which is
 * wiped, and OpenSSL wipes its own. With a seed, and as initiator, it is that of `core/crypto`.
 * @param below whether what EVP calls may be called in its place
 * @returns undefined for other methods, and where this OpenSSL has none of it
 */
export function createEvpMontgomery(
  native: Native,
  evp: Evp,
  place: NativeBuffer,
  id: number,
  below = true,
): KeyExchangeMethod | undefined {
  const plain = TYPES[id] === undefined ? undefined : keyExchange(id);
  const random = tryFunctions<RandomFunctions>(native, RANDOM);
  if (plain === undefined || random === undefined) return undefined;
  const agree = (below ? providerAgreement(native, evp, place, plain) : undefined) ?? evpAgreement(native, evp, place, plain);
  if (agree === undefined) return undefined;
  const length = plain.responderLength;
  const { address, octets } = place;
  return {
    ...plain,
    accept(peerPublic, seed) {
      if (seed !== undefined) return plain.accept(peerPublic, seed);
      // RFC 8031 §3.1
      checkLength(plain.name, peerPublic, length);
      octets.set(peerPublic, AT.peer);
      try {
        if (random.RAND_priv_bytes(address + AT.private, length) !== 1) throw opensslFailed(evp, 'to draw a private key');
        const agreed = agree();
        const sharedSecret = octets.slice(AT.secret, AT.secret + length);
        // RFC 8031 §3.2, RFC 7748 §6: OpenSSL refuses these as well; both must fail before a zero secret is used.
        if (!agreed || isAllZero(sharedSecret)) throw invalidPublicValue(plain.name, 'is of low order', 'RFC 8031 §3.2');
        return { publicValue: octets.slice(AT.public, AT.public + length), sharedSecret };
      } finally {
        octets.fill(0, 0, AT.end);
      }
    },
  };
}

/** By a key and a context that are made for each exchange. Undefined where this OpenSSL has none of that method. */
function evpAgreement(native: Native, evp: Evp, place: NativeBuffer, plain: KeyExchangeMethod): Agreement | undefined {
  const type = TYPES[plain.id]!;
  const keys = tryFunctions<KeyFunctions>(native, PROTOTYPES);
  if (keys === undefined) return undefined;
  const length = plain.responderLength;
  const { address } = place;
  const { openssl } = evp;
  // One for all peers, whose public values are put into it.
  const peer = keys.EVP_PKEY_new_raw_public_key(type, 0, address + AT.peer, length);
  if (peer === 0) {
    openssl.ERR_clear_error();
    return undefined;
  }
  return () => {
    const own = keys.EVP_PKEY_new_raw_private_key(type, 0, address + AT.private, length);
    const context = own === 0 ? 0 : keys.EVP_PKEY_CTX_new(own, 0);
    const long = (): number => {
      place.writeWord(AT.length, length);
      return address + AT.length;
    };
    try {
      const ready =
        context !== 0 &&
        keys.EVP_PKEY_set1_encoded_public_key(peer, address + AT.peer, length) === 1 &&
        keys.EVP_PKEY_get_raw_public_key(own, address + AT.public, long()) === 1 &&
        keys.EVP_PKEY_derive_init(context) === 1 &&
        // RFC 7748 §5: every string of the right length is a public value.
        keys.EVP_PKEY_derive_set_peer_ex(context, peer, 0) === 1;
      if (!ready) throw opensslFailed(evp, 'a key exchange');
      const derived = keys.EVP_PKEY_derive(context, address + AT.secret, long()) === 1;
      if (!derived) openssl.ERR_clear_error();
      return derived;
    } finally {
      if (context !== 0) keys.EVP_PKEY_CTX_free(context);
      if (own !== 0) keys.EVP_PKEY_free(own);
    }
  };
}

interface RandomFunctions {
  RAND_priv_bytes(at: number, length: number): number;
}

const RANDOM: { readonly [Name in keyof RandomFunctions]: string } = {
  RAND_priv_bytes: 'int RAND_priv_bytes(uintptr_t at, int length)',
};

interface KeyFunctions {
  EVP_PKEY_new_raw_private_key(type: number, engine: 0, at: number, length: number): number;
  EVP_PKEY_new_raw_public_key(type: number, engine: 0, at: number, length: number): number;
  EVP_PKEY_get_raw_public_key(key: number, at: number, lengthAt: number): number;
  EVP_PKEY_set1_encoded_public_key(key: number, at: number, length: number): number;
  EVP_PKEY_free(key: number): void;
  EVP_PKEY_CTX_new(key: number, engine: 0): number;
  EVP_PKEY_CTX_free(context: number): void;
  EVP_PKEY_derive_init(context: number): number;
  EVP_PKEY_derive_set_peer_ex(context: number, peer: number, validate: 0): number;
  EVP_PKEY_derive(context: number, at: number, lengthAt: number): number;
}

const PROTOTYPES: { readonly [Name in keyof KeyFunctions]: string } = {
  EVP_PKEY_new_raw_private_key: 'uintptr_t EVP_PKEY_new_raw_private_key(int type, uintptr_t engine, uintptr_t at, size_t length)',
  EVP_PKEY_new_raw_public_key: 'uintptr_t EVP_PKEY_new_raw_public_key(int type, uintptr_t engine, uintptr_t at, size_t length)',
  EVP_PKEY_get_raw_public_key: 'int EVP_PKEY_get_raw_public_key(uintptr_t key, uintptr_t at, uintptr_t lengthAt)',
  EVP_PKEY_set1_encoded_public_key: 'int EVP_PKEY_set1_encoded_public_key(uintptr_t key, uintptr_t at, size_t length)',
  EVP_PKEY_free: 'void EVP_PKEY_free(uintptr_t key)',
  EVP_PKEY_CTX_new: 'uintptr_t EVP_PKEY_CTX_new(uintptr_t key, uintptr_t engine)',
  EVP_PKEY_CTX_free: 'void EVP_PKEY_CTX_free(uintptr_t context)',
  EVP_PKEY_derive_init: 'int EVP_PKEY_derive_init(uintptr_t context)',
  EVP_PKEY_derive_set_peer_ex: 'int EVP_PKEY_derive_set_peer_ex(uintptr_t context, uintptr_t peer, int validate)',
  EVP_PKEY_derive: 'int EVP_PKEY_derive(uintptr_t context, uintptr_t at, uintptr_t lengthAt)',
};

/** openssl/obj_mac.h: NID_X25519 and NID_X448, by the id of the method. */
const TYPES: Readonly<Record<number, number | undefined>> = { 31: 1034, 32: 1035 };
