import { algorithmName, parseAlgorithmIdentifier } from '../crypto/index.ts';
import type { PublicKeyInfo } from './public-key.ts';

/** Which keys and signatures of certificates count. */
export interface AlgorithmPolicy {
  /** Bits of an RSA modulus. */
  readonly rsa: number;
  /** Bits of an elliptic curve. */
  readonly ecdsa: number;
  /** Hashes of signatures, as node names them. EdDSA brings its own. */
  readonly hashes: readonly string[];
}

/** NIST SP 800-131A: 112 bits of security at least, and SHA-1 no more. */
export const DEFAULT_ALGORITHMS: AlgorithmPolicy = { rsa: 2048, ecdsa: 256, hashes: ['sha256', 'sha384', 'sha512'] };

/** What is wrong with a certificate's signature algorithm, as the rest of a sentence; undefined where it counts. */
export function signatureProblem(algorithm: Uint8Array, policy: AlgorithmPolicy): string | undefined {
  const parsed = parseAlgorithmIdentifier(algorithm);
  if (typeof parsed === 'string') return parsed;
  if (!('hash' in parsed) || policy.hashes.includes(parsed.hash)) return undefined;
  return `${algorithmName(parsed)} is too weak to count`;
}

/** What is wrong with a key, as the rest of a sentence; undefined where it counts. */
export function keyWeakness(key: PublicKeyInfo, policy: AlgorithmPolicy): string | undefined {
  switch (key.kind) {
    case 'rsa':
    case 'rsa-pss':
      return key.bits < policy.rsa ? `an RSA key of ${key.bits} bits, less than the ${policy.rsa} demanded here` : undefined;
    case 'ec': {
      const bits = Number(/\d+/.exec(key.curve)![0]);
      return bits < policy.ecdsa ? `a key on ${key.curve}, less than the ${policy.ecdsa} bits demanded here` : undefined;
    }
    case 'unknown':
      return key.why;
    default:
      return undefined;
  }
}
