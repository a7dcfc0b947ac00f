import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { ConfigError } from '../bytes/errors.ts';
import { plain } from './octets.ts';
import { type SignatureAlgorithm, writeAlgorithmIdentifier } from './signatures/algorithms.ts';
import { exportSpki, keyInfo } from './signatures/keys.ts';
import { signWith } from './signatures/verify.ts';

/** What signs certificates, requests and lists: the private key itself stays behind `sign`. */
export interface CertificateSigner {
  /** DER of the AlgorithmIdentifier that goes with `sign`. */
  readonly algorithm: Uint8Array;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  sign(tbs: Uint8Array): Uint8Array;
}

/** Signs as RFC 4055, RFC 5758 and RFC 8410 say, with the SHA-2 hash that goes with the strength of the key. Throws `ConfigError`. */
export function certificateSigner(privateKey: KeyObject): CertificateSigner {
  const algorithm = algorithmFor(privateKey);
  return {
    algorithm: writeAlgorithmIdentifier(algorithm),
    spki: exportSpki(privateKey),
    sign: (tbs) => plain(signWith(algorithm, privateKey, tbs, 'der')),
  };
}

export type KeyKind = 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-3072' | 'rsa-4096' | 'ed25519' | 'ed448';

export interface NewKey {
  readonly privateKey: KeyObject;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** PEM of the PKCS #8 PrivateKeyInfo, not encrypted. */
  readonly pem: string;
}

/** A fresh key pair from the system's own randomness. RSA takes about half a second. */
export function generateKey(kind: KeyKind): NewKey {
  const { privateKey } = GENERATORS[kind]();
  return { privateKey, spki: exportSpki(privateKey), pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
}

function algorithmFor(privateKey: KeyObject): SignatureAlgorithm {
  const info = keyInfo(privateKey);
  switch (info?.kind) {
    case 'rsa':
      return info.pssOnly ? { kind: 'rsa-pss', hash: 'sha256', mgfHash: 'sha256', saltLength: 32 } : { kind: 'rsa-pkcs1', hash: 'sha256' };
    case 'ecdsa':
      return { kind: 'ecdsa', hash: info.bits <= 256 ? 'sha256' : info.bits <= 384 ? 'sha384' : 'sha512' };
    case 'ed25519':
    case 'ed448':
      return { kind: info.kind };
    default:
      throw new ConfigError('this key cannot sign certificates', { code: 'PRIVATE_KEY', hint: 'Use an ECDSA, RSA, Ed25519 or Ed448 key.' });
  }
}

const GENERATORS: Readonly<Record<KeyKind, () => { readonly privateKey: KeyObject }>> = {
  'ecdsa-p256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ecdsa-p384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'rsa-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
  'rsa-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }),
  ed25519: () => generateKeyPairSync('ed25519'),
  ed448: () => generateKeyPairSync('ed448'),
};
