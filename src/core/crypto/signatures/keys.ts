import { createPrivateKey, createPublicKey, type KeyObject, type PrivateKeyInput } from 'node:crypto';
import { ConfigError, MalformedMessage } from '../../bytes/errors.ts';
import { keyOctets, plain } from '../octets.ts';

export type { KeyObject };

/** What of a public key decides how it can sign. */
export type PublicKeyInfo =
  | { readonly kind: 'rsa'; readonly bits: number /** id-RSASSA-PSS: signs with PSS only. */; readonly pssOnly: boolean }
  | {
      readonly kind: 'ecdsa' /** OpenSSL's name: `prime256v1`, `secp384r1`, `secp521r1`, `brainpoolP256r1` … */;
      readonly curve: string;
      readonly bits: number;
    }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ed448' };

/**
 * PKCS #8, PKCS #1 or SEC 1, as PEM text or DER. Throws `ConfigError` with code `PRIVATE_KEY` when it is none of these, encrypted
 * under another passphrase, or of a kind that IKE cannot sign with.
 */
export function importPrivateKey(data: string | Uint8Array, passphrase?: string): KeyObject {
  const secret = passphrase === undefined ? {} : { passphrase };
  const text = typeof data === 'string' ? data : pemText(data);
  const attempts: PrivateKeyInput[] =
    text === undefined
      ? (['pkcs8', 'pkcs1', 'sec1'] as const).map((type) => ({ key: keyOctets(data as Uint8Array), format: 'der', type, ...secret }))
      : [{ key: text, format: 'pem', ...secret }];
  let cause: unknown;
  for (const attempt of attempts) {
    let key: KeyObject;
    try {
      key = createPrivateKey(attempt);
    } catch (error) {
      cause ??= error;
      continue;
    }
    if (keyInfo(key) === undefined) {
      throw new ConfigError(`a private key of type ${key.asymmetricKeyType ?? 'unknown'} cannot sign for IKE`, {
        code: 'PRIVATE_KEY',
        hint: 'Use an RSA, ECDSA, Ed25519 or Ed448 key.',
      });
    }
    return key;
  }
  const encrypted = text?.includes('ENCRYPTED') ?? false;
  throw new ConfigError(encrypted ? 'the private key is encrypted and the passphrase does not open it' : 'the private key cannot be read', {
    code: 'PRIVATE_KEY',
    hint: encrypted ? 'Give the passphrase of the key.' : 'Give a PEM or DER file with an unencrypted PKCS #8, PKCS #1 or SEC 1 key.',
    cause,
  });
}

/** SubjectPublicKeyInfo in DER, or PEM text. Throws `MalformedMessage` with code `PUBLIC_KEY`. */
export function importPublicKey(spki: string | Uint8Array): KeyObject {
  try {
    return typeof spki === 'string' ? createPublicKey(spki) : createPublicKey({ key: keyOctets(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new MalformedMessage('the public key cannot be read as SubjectPublicKeyInfo', { code: 'PUBLIC_KEY', cause });
  }
}

export const publicKeyOf = (privateKey: KeyObject): KeyObject => createPublicKey(privateKey);

/** SubjectPublicKeyInfo in DER, of a public key or of the public half of a private one. */
export function exportSpki(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return plain(publicKey.export({ format: 'der', type: 'spki' }));
}

/** undefined for keys that cannot sign for IKE (X25519, DSA …). */
export function keyInfo(key: KeyObject): PublicKeyInfo | undefined {
  const known = INFOS.get(key);
  if (known !== undefined) return known;
  const info = lookUpInfo(key);
  if (info !== undefined) INFOS.set(key, info);
  return info;
}

function lookUpInfo(key: KeyObject): PublicKeyInfo | undefined {
  const details = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return { kind: 'rsa', bits: details.modulusLength ?? 0, pssOnly: false };
    case 'rsa-pss':
      return { kind: 'rsa', bits: details.modulusLength ?? 0, pssOnly: true };
    case 'ec':
      return { kind: 'ecdsa', curve: details.namedCurve ?? 'unnamed', bits: CURVE_BITS[details.namedCurve ?? ''] ?? 0 };
    case 'ed25519':
      return { kind: 'ed25519' };
    case 'ed448':
      return { kind: 'ed448' };
    default:
      return undefined;
  }
}

/** A sentence when a key is outside what any honest signer has; checked before OpenSSL computes with it. */
export function keyProblem(key: KeyObject): string | undefined {
  const info = keyInfo(key);
  if (info === undefined) return `a key of type ${key.asymmetricKeyType ?? 'unknown'} cannot sign`;
  if (info.kind === 'ecdsa' && info.bits === 0) return `the elliptic curve ${info.curve} is not supported`;
  if (info.kind !== 'rsa') return undefined;
  if (info.bits < SMALLEST_MODULUS) return `an RSA modulus of ${info.bits} bits is too small`;
  if (info.bits > LARGEST_MODULUS) return `an RSA modulus of ${info.bits} bits is too large`;
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n;
  if (exponent < 3n || exponent % 2n === 0n || exponent >= LARGEST_EXPONENT)
    return 'the RSA public exponent is not an odd number from 3 to 2^64';
  return undefined;
}

function pemText(data: Uint8Array): string | undefined {
  const start = String.fromCharCode(...data.subarray(0, 4096));
  return start.includes('-----BEGIN ') ? new TextDecoder().decode(data) : undefined;
}

/** Each look into a `KeyObject` goes through OpenSSL. */
const INFOS = new WeakMap<KeyObject, PublicKeyInfo>();

const CURVE_BITS: Readonly<Record<string, number>> = {
  secp224r1: 224,
  prime256v1: 256,
  secp384r1: 384,
  secp521r1: 521,
  brainpoolP224r1: 224,
  brainpoolP256r1: 256,
  brainpoolP384r1: 384,
  brainpoolP512r1: 512,
};

const SMALLEST_MODULUS = 1024;
/** Our choice: verification time grows with the square, and no certificate authority goes further. */
const LARGEST_MODULUS = 8192;
const LARGEST_EXPONENT = 2n ** 64n;
