import { constants, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { concat } from '../../bytes/bytes.ts';
import { isAllZero } from '../constant-time.ts';
import { keyOctets } from '../octets.ts';
import { algorithmName, hashLength, parseAlgorithmIdentifier, type SignatureAlgorithm, writePssParameters } from './algorithms.ts';
import { readAll, readOnly, Tag, writeTlv } from './der.ts';
import { importPublicKey, keyInfo, keyProblem } from './keys.ts';

export type SignatureVerdict =
  | {
      readonly ok: true;
      /** `rsa-pss-sha256`, `ecdsa-sha384`, `ed25519` … */
      readonly scheme: string;
      /** The signature holds, but rests on SHA-1: whether that is enough is policy. */
      readonly weak?: 'sha1';
    }
  | { readonly ok: false; readonly reason: string };

/**
 * A signature as certificates, CRLs and OCSP responses carry it. Never throws for bad octets.
 * @param algorithm DER of the AlgorithmIdentifier
 * @param publicKey DER of the SubjectPublicKeyInfo, or a key that was imported from it
 * @param data what was signed
 * @param signature the octets of the BIT STRING; ECDSA as DER
 */
export function verifySignature(input: {
  readonly algorithm: Uint8Array;
  readonly publicKey: Uint8Array | KeyObject;
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}): SignatureVerdict {
  const algorithm = parseAlgorithmIdentifier(input.algorithm);
  if (typeof algorithm === 'string') return { ok: false, reason: algorithm };
  let key: KeyObject;
  if (input.publicKey instanceof Uint8Array) {
    try {
      key = importPublicKey(input.publicKey);
    } catch {
      return { ok: false, reason: 'the public key cannot be read' };
    }
  } else key = input.publicKey;
  const problem = verifyWith(algorithm, key, input.data, input.signature, 'der');
  if (problem !== undefined) return { ok: false, reason: problem };
  const scheme = algorithmName(algorithm);
  return 'hash' in algorithm && algorithm.hash === 'sha1' ? { ok: true, scheme, weak: 'sha1' } : { ok: true, scheme };
}

/** undefined when the signature holds, otherwise a sentence that says why it does not. */
export function verifyWith(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
  ecdsaEncoding: 'der' | 'ieee-p1363',
): string | undefined {
  const unfit = keyProblem(key) ?? shapeProblem(algorithm, key, signature, ecdsaEncoding);
  if (unfit !== undefined) return unfit;
  try {
    return holds(algorithm, key, data, signature, ecdsaEncoding) ? undefined : 'the signature is wrong';
  } catch {
    return 'the signature is wrong';
  }
}

/** The signature of `data`; whether key and algorithm go together was settled by whoever chose the algorithm. */
export function signWith(algorithm: SignatureAlgorithm, key: KeyObject, data: Uint8Array, ecdsaEncoding: 'der' | 'ieee-p1363'): Uint8Array {
  switch (algorithm.kind) {
    case 'rsa-pkcs1':
      return sign(algorithm.hash, data, { key, padding: constants.RSA_PKCS1_PADDING });
    case 'rsa-pss':
      return sign(algorithm.hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: algorithm.saltLength });
    case 'ecdsa':
      return sign(algorithm.hash, data, { key, dsaEncoding: ecdsaEncoding });
    default:
      return sign(null, data, key);
  }
}

function holds(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
  dsaEncoding: 'der' | 'ieee-p1363',
): boolean {
  switch (algorithm.kind) {
    case 'rsa-pkcs1':
      return verify(algorithm.hash, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case 'rsa-pss': {
      const { hash, mgfHash, saltLength } = algorithm;
      const fitted = hash === mgfHash ? key : asPssKey(key, algorithm);
      return verify(hash, data, { key: fitted, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
    }
    case 'ecdsa':
      return verify(algorithm.hash, data, { key, dsaEncoding }, signature);
    default:
      return verify(null, data, key, signature);
  }
}

/** What can be refused before any arithmetic: key of another kind, a signature of impossible length, nothing but zeros. */
function shapeProblem(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  signature: Uint8Array,
  encoding: 'der' | 'ieee-p1363',
): string | undefined {
  const info = keyInfo(key)!;
  const family = algorithm.kind.startsWith('rsa') ? 'rsa' : algorithm.kind;
  if (info.kind !== family) return `a signature of ${algorithmName(algorithm)} cannot come from a key of kind ${info.kind}`;
  if (isAllZero(signature)) return 'the signature is empty or zero';
  if (info.kind === 'rsa') {
    // RFC 8017 §8.1.2, §8.2.2, step 1.
    if (signature.length !== Math.ceil(info.bits / 8))
      return `the signature has ${signature.length} octets, the modulus ${Math.ceil(info.bits / 8)}`;
    if (info.pssOnly && algorithm.kind !== 'rsa-pss') return 'the key is for RSASSA-PSS only';
    // RFC 8017 §9.1.2, step 3.
    if (algorithm.kind === 'rsa-pss' && Math.ceil((info.bits - 1) / 8) < hashLength(algorithm.hash) + algorithm.saltLength + 2) {
      return `a salt of ${algorithm.saltLength} octets does not fit the modulus`;
    }
    return undefined;
  }
  if (info.kind === 'ecdsa') {
    const field = Math.ceil(info.bits / 8);
    if (encoding === 'ieee-p1363')
      return signature.length === 2 * field ? undefined : `the signature has ${signature.length} octets instead of ${2 * field}`;
    return ecdsaShape(signature, field) ? undefined : 'the ECDSA signature is not strict DER';
  }
  const length = info.kind === 'ed25519' ? 64 : 114;
  return signature.length === length ? undefined : `the signature has ${signature.length} octets instead of ${length}`;
}

/** SEQUENCE of two positive INTEGERs in shortest form (RFC 3279 §2.2.3), each small enough for the field. */
function ecdsaShape(signature: Uint8Array, field: number): boolean {
  const sequence = readOnly(signature, Tag.SEQUENCE);
  const parts = sequence === undefined ? undefined : readAll(sequence.value, 2);
  if (parts?.length !== 2) return false;
  return parts.every(({ tag, value }) => {
    if (tag !== Tag.INTEGER || value.length === 0 || value.length > field + 1 || value[0]! >= 0x80) return false;
    return !(value[0] === 0 && (value.length === 1 || value[1]! < 0x80));
  });
}

/**
 * node:crypto takes the hash of MGF1 to be that of the message. OpenSSL obeys the parameters of an id-RSASSA-PSS key, so the same RSA
 * key with the parameters of the signature inside gives the combinations that RFC 4055 allows.
 */
function asPssKey(key: KeyObject, algorithm: Extract<SignatureAlgorithm, { kind: 'rsa-pss' }>): KeyObject {
  if (key.asymmetricKeyType === 'rsa-pss') return key;
  const pkcs1 = key.export({ format: 'der', type: 'pkcs1' });
  const identifier = writeTlv(Tag.SEQUENCE, OID_PSS, writePssParameters(algorithm));
  const spki = writeTlv(Tag.SEQUENCE, identifier, writeTlv(Tag.BIT_STRING, concat(Uint8Array.of(0), pkcs1)));
  return createPublicKey({ key: keyOctets(spki), format: 'der', type: 'spki' });
}

/** id-RSASSA-PSS, 1.2.840.113549.1.1.10. */
const OID_PSS: Uint8Array = Uint8Array.of(0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a);
