import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { isAllZero } from '../constant-time.ts';
import type { KeyExchangeMethod, KeyExchangeOffer } from '../key-exchange.ts';
import { fromLatin1, plain } from '../octets.ts';
import { checkLength, checkSeed, destroyedOffer, invalidPublicValue } from './public-value.ts';

interface MontgomeryCurve {
  readonly id: number;
  readonly name: string;
  readonly curve: 'X25519' | 'X448';
  readonly length: number;
}

interface Pair {
  readonly privateKey: KeyObject;
  readonly publicValue: Uint8Array;
}

function montgomery(curve: MontgomeryCurve): KeyExchangeMethod {
  const pair = (seed: Uint8Array | undefined): Pair => {
    if (seed !== undefined) {
      checkSeed(curve.name, seed, curve.length);
      // JWK (RFC 8037 §2), because node:crypto takes it ten times faster than PKCS #8. Of a private key it reads `d` alone, and makes `x` itself.
      const privateKey = createPrivateKey({ key: { kty: 'OKP', crv: curve.curve, d: toBase64Url(seed), x: '' }, format: 'jwk' });
      return { privateKey, publicValue: fromBase64Url(privateKey.export({ format: 'jwk' }).x!) };
    }
    const { privateKey, publicKey } = generatePair(curve.curve === 'X25519' ? 'x25519' : 'x448', { publicKeyEncoding: { format: 'jwk' } });
    return { privateKey, publicValue: fromBase64Url(publicKey.x) };
  };

  const agree = (privateKey: KeyObject, peerPublic: Uint8Array): Uint8Array => {
    // RFC 8031 §3.1
    checkLength(curve.name, peerPublic, curve.length);
    let sharedSecret: Uint8Array;
    try {
      // JWK, because node:crypto takes it many times faster than an SPKI.
      const publicKey = createPublicKey({ key: { kty: 'OKP', crv: curve.curve, x: toBase64Url(peerPublic) }, format: 'jwk' });
      sharedSecret = plain(diffieHellman({ privateKey, publicKey }));
    } catch {
      throw invalidPublicValue(curve.name, 'is of low order', 'RFC 8031 §3.2');
    }
    // RFC 8031 §3.2, RFC 7748 §6: OpenSSL refuses these as well; both must fail before a zero secret is used.
    if (isAllZero(sharedSecret)) throw invalidPublicValue(curve.name, 'is of low order', 'RFC 8031 §3.2');
    return sharedSecret;
  };

  return {
    id: curve.id,
    name: curve.name,
    kind: 'montgomery',
    initiatorLength: curve.length,
    responderLength: curve.length,
    seedLength: curve.length,
    needs: [],
    offer(seed) {
      const { privateKey, publicValue } = pair(seed);
      let key: KeyObject | undefined = privateKey;
      const offer: KeyExchangeOffer = {
        method: curve.id,
        publicValue,
        finish(peerPublic) {
          if (key === undefined) throw destroyedOffer();
          return agree(key, peerPublic);
        },
        destroy() {
          key = undefined;
        },
      };
      return offer;
    },
    accept(peerPublic, seed) {
      const { privateKey, publicValue } = pair(seed);
      return { publicValue, sharedSecret: agree(privateKey, peerPublic) };
    },
  };
}

/** The public half as JWK at once, since only its octets are wanted; the types of node:crypto know PEM and DER alone here. */
const generatePair = generateKeyPairSync as unknown as (
  type: 'x25519' | 'x448',
  options: { readonly publicKeyEncoding: { readonly format: 'jwk' } },
) => { readonly privateKey: KeyObject; readonly publicKey: { readonly x: string } };

/** `atob` passes over the padding that base64url leaves out. */
const fromBase64Url = (text: string): Uint8Array => fromLatin1(atob(text.replaceAll('-', '+').replaceAll('_', '/')));

const toBase64Url = (data: Uint8Array): string =>
  btoa(String.fromCharCode(...data))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=/g, '');

/** RFC 8031. */
export const MONTGOMERY_METHODS: readonly KeyExchangeMethod[] = [
  montgomery({ id: 31, name: 'CURVE25519', curve: 'X25519', length: 32 }),
  montgomery({ id: 32, name: 'CURVE448', curve: 'X448', length: 56 }),
];
