import type { KeyObject } from 'node:crypto';
import { concat, utf8 } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { plain } from './octets.ts';
import { algorithmName, parseAlgorithmIdentifier, type SignatureAlgorithm } from './signatures/algorithms.ts';
import { keyInfo } from './signatures/keys.ts';
import { AuthMethod, ECDSA_METHODS, HashAlgorithm, type SignatureScheme, schemeAllowed, suits } from './signatures/schemes.ts';
import { signWith, verifyWith } from './signatures/verify.ts';
import type { PrfTransform } from './transforms.ts';

export {
  algorithmName,
  parseAlgorithmIdentifier,
  type SignatureAlgorithm,
  type SignatureHash,
  writeAlgorithmIdentifier,
} from './signatures/algorithms.ts';
export {
  exportSpki,
  importPrivateKey,
  importPublicKey,
  type KeyObject,
  keyInfo,
  publicKeyOf,
} from './signatures/keys.ts';
export {
  acceptableSchemes,
  chooseScheme,
  HashAlgorithm,
  meansScheme,
  OUR_HASHES,
  type SignatureScheme,
  schemeByName,
  schemeWords,
} from './signatures/schemes.ts';
export { verifySignature } from './signatures/verify.ts';

/** AUTH of method 2: prf(prf(Shared Secret, "Key Pad for IKEv2"), octets) (RFC 7296 §2.15). */
export function pskAuth(prf: PrfTransform, psk: Uint8Array, octets: Uint8Array): Uint8Array {
  const padded = padPsk(prf, psk);
  const auth = prf.compute(padded, octets);
  padded.fill(0);
  return auth;
}

/** The inner half of it, which is the same for every peer: whoever keeps it keeps a secret. */
export const padPsk = (prf: PrfTransform, psk: Uint8Array): Uint8Array => prf.compute(psk, KEY_PAD);

/** The whole Authentication Data of the AUTH payload. Throws `ApiMisuse` with code `SIGNATURE_SCHEME` when the key cannot sign this way. */
export function signAuth(privateKey: KeyObject, scheme: SignatureScheme, octets: Uint8Array): Uint8Array {
  if (!canSign(privateKey, scheme)) throw new ApiMisuse(`this private key cannot sign with ${scheme.name}`, { code: 'SIGNATURE_SCHEME' });
  let signature: Uint8Array;
  try {
    signature = plain(signWith(scheme.algorithm, privateKey, octets, encodingOf(scheme)));
  } catch (cause) {
    throw new ApiMisuse(`this private key cannot sign with ${scheme.name}`, { code: 'SIGNATURE_SCHEME', cause });
  }
  if (scheme.authMethod !== AuthMethod.DIGITAL_SIGNATURE) return signature;
  // RFC 7427 §3
  return concat(Uint8Array.of(scheme.algorithmIdentifier.length), scheme.algorithmIdentifier, signature);
}

function canSign(key: KeyObject, scheme: SignatureScheme): boolean {
  const info = keyInfo(key);
  if (info === undefined || !suits(scheme, info)) return false;
  const bound = ECDSA_METHODS.get(scheme.authMethod);
  return bound === undefined || (info.kind === 'ecdsa' && info.curve === bound.curve);
}

/** RFC 4754 §3 concatenates r and s; RFC 7427 leaves the encoding to the algorithm, and that of ECDSA is DER. */
const encodingOf = (scheme: SignatureScheme): 'der' | 'ieee-p1363' =>
  scheme.authMethod === AuthMethod.DIGITAL_SIGNATURE ? 'der' : 'ieee-p1363';

export type AuthVerdict =
  | { readonly ok: true /** As `SignatureScheme.name`. */; readonly scheme: string }
  | { readonly ok: false; readonly reason: string };

/**
 * Judges the peer's AUTH payload of a signature method. Never throws for bad octets; the reason is for the local log alone.
 * @param method Authentication Method: 1, 9, 10, 11 or 14
 * @param data the Authentication Data
 * @param octets what the peer has to have signed (RFC 7296 §2.15)
 * @param restrict as in `chooseScheme`
 * @param allowSha1 whether a signature over SHA-1 may count (RFC 8247 §3.2: MUST NOT; method 1 of old peers knows nothing else)
 */
export function verifyAuth(input: {
  readonly method: number;
  readonly data: Uint8Array;
  readonly publicKey: KeyObject;
  readonly octets: Uint8Array;
  readonly restrict?: readonly string[] | undefined;
  readonly allowSha1?: boolean | undefined;
}): AuthVerdict {
  switch (input.method) {
    case AuthMethod.DIGITAL_SIGNATURE:
      return verifyDigitalSignature(input);
    case AuthMethod.RSA:
      return verifyRsa(input);
    default:
      return verifyEcdsa(input);
  }
}

type Input = Parameters<typeof verifyAuth>[0];

function verifyDigitalSignature({ data, publicKey, octets, restrict, allowSha1 }: Input): AuthVerdict {
  const length = data[0];
  if (length === undefined || 1 + length > data.length) return refused('the ASN.1 Length does not fit the Authentication Data');
  const algorithm = parseAlgorithmIdentifier(data.subarray(1, 1 + length));
  if (typeof algorithm === 'string') return refused(algorithm);
  const problem = policyProblem(algorithm, allowSha1);
  if (problem !== undefined) return refused(problem);
  return judge(schemeOf(AuthMethod.DIGITAL_SIGNATURE, algorithm), publicKey, octets, data.subarray(1 + length), restrict);
}

/** RFC 7296 §3.8: PKCS #1 v1.5 names its hash inside the signature, so a receiver may try those it trusts. */
function verifyRsa({ data, publicKey, octets, restrict, allowSha1 }: Input): AuthVerdict {
  let last: AuthVerdict = refused('the signature is wrong, or made with SHA-1, which is not allowed here');
  for (const hash of ['sha256', 'sha384', 'sha512', 'sha1'] as const) {
    if (hash === 'sha1' && !allowSha1) continue;
    const verdict = judge(schemeOf(AuthMethod.RSA, { kind: 'rsa-pkcs1', hash }), publicKey, octets, data, restrict);
    if (verdict.ok) return verdict;
    if (hash === 'sha1') last = verdict;
  }
  return last;
}

function verifyEcdsa({ method, data, publicKey, octets, restrict }: Input): AuthVerdict {
  const bound = ECDSA_METHODS.get(method);
  if (bound === undefined) return refused(`authentication method ${method} is no signature that can be verified`);
  const info = keyInfo(publicKey);
  if (info?.kind !== 'ecdsa' || info.curve !== bound.curve)
    return refused(`authentication method ${method} needs a key on ${bound.curve} (RFC 4754 §3)`);
  return judge(bound.scheme, publicKey, octets, data, restrict);
}

function judge(
  scheme: SignatureScheme,
  key: KeyObject,
  octets: Uint8Array,
  signature: Uint8Array,
  restrict: readonly string[] | undefined,
): AuthVerdict {
  if (!schemeAllowed(scheme, restrict)) return refused(`${scheme.name} is not among the signature schemes that this connection accepts`);
  const problem = verifyWith(scheme.algorithm, key, octets, signature, encodingOf(scheme));
  return problem === undefined ? { ok: true, scheme: scheme.name } : refused(problem);
}

/** What RFC 8247 §3.2 leaves of RFC 7427, and RSASSA-PSS parameters within reason. */
function policyProblem(algorithm: SignatureAlgorithm, allowSha1: boolean | undefined): string | undefined {
  if (!('hash' in algorithm)) return undefined;
  if (algorithm.hash === 'sha1' && !allowSha1) return `${algorithmName(algorithm)} is not allowed (RFC 8247 §3.2)`;
  if (HASH_IDS[algorithm.hash] === undefined) return `${algorithm.hash} is no hash of SIGNATURE_HASH_ALGORITHMS`;
  if (algorithm.kind !== 'rsa-pss') return undefined;
  if (algorithm.mgfHash !== algorithm.hash) return 'RSASSA-PSS with another hash in MGF1 than over the message';
  return undefined;
}

const schemeOf = (authMethod: number, algorithm: SignatureAlgorithm): SignatureScheme => ({
  name: authMethod === AuthMethod.RSA && 'hash' in algorithm ? `rsa-${algorithm.hash}` : algorithmName(algorithm),
  authMethod,
  hash: 'hash' in algorithm ? (HASH_IDS[algorithm.hash] ?? 0) : HashAlgorithm.IDENTITY,
  algorithm,
  algorithmIdentifier: new Uint8Array(0),
});

const refused = (reason: string): AuthVerdict => ({ ok: false, reason });

const HASH_IDS: Readonly<Partial<Record<string, number>>> = {
  sha1: HashAlgorithm.SHA1,
  sha256: HashAlgorithm.SHA2_256,
  sha384: HashAlgorithm.SHA2_384,
  sha512: HashAlgorithm.SHA2_512,
};

const KEY_PAD = utf8('Key Pad for IKEv2');
