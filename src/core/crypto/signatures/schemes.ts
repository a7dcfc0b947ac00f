import { equalBytes } from '../../bytes/bytes.ts';
import { algorithmName, parseAlgorithmIdentifier, type SignatureAlgorithm, writeAlgorithmIdentifier } from './algorithms.ts';
import { type KeyObject, keyInfo, type PublicKeyInfo } from './keys.ts';

/** One way to fill an AUTH payload with a signature. */
export interface SignatureScheme {
  /** `rsa-pss-sha256`, `ecdsa-sha384`, `ed25519` for method 14; `rsa`, `ecdsa-256`, `ecdsa-384`, `ecdsa-521` for the older methods. */
  readonly name: string;
  /** Authentication Method: 1, 9, 10, 11 or 14. */
  readonly authMethod: number;
  /** RFC 7427 §7 hash algorithm id; 5 (Identity, RFC 8420) for EdDSA. */
  readonly hash: number;
  readonly algorithm: SignatureAlgorithm;
  /** RFC 7427 §3: DER that stands in front of the signature; empty for methods 1 and 9 to 11. */
  readonly algorithmIdentifier: Uint8Array;
}

/** IKEv2 Authentication Method values that carry a signature. */
export const AuthMethod = { RSA: 1, ECDSA_256: 9, ECDSA_384: 10, ECDSA_521: 11, DIGITAL_SIGNATURE: 14 } as const;

/** IKEv2 Hash Algorithms (RFC 7427 §7, RFC 8420 §2). */
export const HashAlgorithm = { SHA1: 1, SHA2_256: 2, SHA2_384: 3, SHA2_512: 4, IDENTITY: 5 } as const;

/** What SIGNATURE_HASH_ALGORITHMS announces: all that we can verify. SHA-1 is not offered (RFC 8247 §3.2). */
export const OUR_HASHES: readonly number[] = [
  HashAlgorithm.SHA2_256,
  HashAlgorithm.SHA2_384,
  HashAlgorithm.SHA2_512,
  HashAlgorithm.IDENTITY,
];

/**
 * The scheme to sign with: a Digital Signature (RFC 7427) when the peer announced a hash that goes with the key, otherwise the
 * method that RFC 7296 or RFC 4754 binds to the key. undefined when nothing is left, be it by `restrict` or because the key has no
 * older method.
 * @param peerHashes ids of SIGNATURE_HASH_ALGORITHMS; undefined when the peer sent none
 * @param allowSha1 false leaves out method 1 of RSA, which is over SHA-1; it is allowed unless said otherwise
 * @param accepts what the peer takes besides, where it said so (RFC 9593)
 * @param restrict scheme names, families (`rsa`, `rsa-pss`, `rsa-pkcs1`, `ecdsa`, `ed25519`, `ed448`) or hashes (`sha256` …); see `schemeAllowed`
 */
export function chooseScheme(input: {
  readonly key: KeyObject | PublicKeyInfo;
  readonly peerHashes: readonly number[] | undefined;
  readonly restrict?: readonly string[] | undefined;
  readonly allowSha1?: boolean | undefined;
  readonly accepts?: ((scheme: SignatureScheme) => boolean) | undefined;
}): SignatureScheme | undefined {
  const info = 'kind' in input.key ? input.key : keyInfo(input.key);
  if (info === undefined) return undefined;
  const { peerHashes = [], accepts = () => true } = input;
  const allowed = (scheme: SignatureScheme) =>
    schemeAllowed(scheme, input.restrict) && (scheme.hash !== HashAlgorithm.SHA1 || input.allowSha1 !== false) && accepts(scheme);
  return digitalSignatures(info).find((scheme) => peerHashes.includes(scheme.hash) && allowed(scheme)) ?? olderSchemes(info).find(allowed);
}

/** What a key of this kind can sign with, the best first. */
function digitalSignatures(info: PublicKeyInfo): readonly SignatureScheme[] {
  const known = RANKED.get(info);
  if (known !== undefined) return known;
  const ranked = DIGITAL_SIGNATURES.filter((scheme) => suits(scheme, info)).sort((a, b) => rank(a, info) - rank(b, info));
  RANKED.set(info, ranked);
  return ranked;
}

/**
 * Words restrict like this: a scheme named in full is allowed; otherwise it needs one of the families given, if any is, and one of
 * the hashes given, if any is; EdDSA, whose hash is its own, passes the latter. An empty list allows everything.
 */
export function schemeAllowed(scheme: SignatureScheme, restrict: readonly string[] | undefined): boolean {
  if (restrict === undefined || restrict.length === 0 || restrict.includes(scheme.name)) return true;
  const families = restrict.filter((word) => FAMILIES.includes(word));
  const hashes = restrict.filter((word) => HASH_WORDS.includes(word));
  if (families.length + hashes.length === 0) return false;
  const { algorithm } = scheme;
  const ofFamily =
    families.length === 0 || families.some((word) => algorithm.kind === word || (word === 'rsa' && algorithm.kind.startsWith('rsa-')));
  const ofHash = hashes.length === 0 || !('hash' in algorithm) || hashes.includes(algorithm.hash);
  return ofFamily && ofHash;
}

/** What a peer may sign with: what `restrict` allows and its hashes, SHA-1 only where that names it. */
export const acceptableSchemes = (restrict: readonly string[] | undefined, hashes: readonly number[]): readonly SignatureScheme[] =>
  ALL.filter(
    (scheme) =>
      schemeAllowed(scheme, restrict) && (hashes.includes(scheme.hash) || (scheme === RSA_SHA1 && restrict?.includes('sha1') === true)),
  );

/** Whether an announcement (RFC 9593 §3.2) means this scheme. Without an algorithm it means whatever goes by the method. */
export function meansScheme(method: number, algorithm: Uint8Array | undefined, scheme: SignatureScheme): boolean {
  if (method !== scheme.authMethod) return false;
  if (algorithm === undefined || method !== AuthMethod.DIGITAL_SIGNATURE) return true;
  const named = parseAlgorithmIdentifier(algorithm);
  return typeof named !== 'string' && equalBytes(writeAlgorithmIdentifier(named), scheme.algorithmIdentifier);
}

/** Every word that `restrict` understands, for configuration to check against. */
export const schemeWords = (): readonly string[] => [...new Set([...FAMILIES, ...HASH_WORDS, ...ALL.map((scheme) => scheme.name)])];

export const schemeByName = (name: string): SignatureScheme | undefined => ALL.find((scheme) => scheme.name === name);

/** Curve and hash that methods 9 to 11 bind (RFC 4754 §3). */
export const ECDSA_METHODS: ReadonlyMap<number, { readonly curve: string; readonly scheme: SignatureScheme }> = new Map(
  (
    [
      [AuthMethod.ECDSA_256, 'prime256v1', 'sha256', HashAlgorithm.SHA2_256, 'ecdsa-256'],
      [AuthMethod.ECDSA_384, 'secp384r1', 'sha384', HashAlgorithm.SHA2_384, 'ecdsa-384'],
      [AuthMethod.ECDSA_521, 'secp521r1', 'sha512', HashAlgorithm.SHA2_512, 'ecdsa-521'],
    ] as const
  ).map(([authMethod, curve, hash, hashId, name]) => [
    authMethod,
    { curve, scheme: { name, authMethod, hash: hashId, algorithm: { kind: 'ecdsa', hash }, algorithmIdentifier: new Uint8Array(0) } },
  ]),
);

function olderSchemes(info: PublicKeyInfo): readonly SignatureScheme[] {
  if (info.kind === 'rsa') return info.pssOnly ? [] : [RSA_SHA1];
  if (info.kind !== 'ecdsa') return [];
  return [...ECDSA_METHODS.values()].filter((method) => method.curve === info.curve).map((method) => method.scheme);
}

/** Whether a key of this kind can make such a signature. */
export function suits(scheme: SignatureScheme, info: PublicKeyInfo): boolean {
  const { kind } = scheme.algorithm;
  if (info.kind !== 'rsa') return kind === info.kind;
  return kind === 'rsa-pss' || (kind === 'rsa-pkcs1' && !info.pssOnly);
}

/** RFC 8247 §3.2: RSASSA-PSS before PKCS #1 v1.5, SHA2-256 first; for ECDSA the hash as long as the curve. */
function rank(scheme: SignatureScheme, info: PublicKeyInfo): number {
  if (info.kind === 'ecdsa') return Math.abs(HASH_BITS[scheme.hash]! - Math.min(info.bits, 512));
  return DIGITAL_SIGNATURES.indexOf(scheme);
}

const digitalSignature = (hash: number, algorithm: SignatureAlgorithm): SignatureScheme => ({
  name: algorithmName(algorithm),
  authMethod: AuthMethod.DIGITAL_SIGNATURE,
  hash,
  algorithm,
  algorithmIdentifier: writeAlgorithmIdentifier(algorithm),
});

const SHA2 = [
  [HashAlgorithm.SHA2_256, 'sha256', 32],
  [HashAlgorithm.SHA2_384, 'sha384', 48],
  [HashAlgorithm.SHA2_512, 'sha512', 64],
] as const;

/** RFC 7427 with what RFC 8247 §3.2 leaves standing, and RFC 8420; in order of preference. */
const DIGITAL_SIGNATURES: readonly SignatureScheme[] = [
  ...SHA2.map(([id, hash, saltLength]) => digitalSignature(id, { kind: 'rsa-pss', hash, mgfHash: hash, saltLength })),
  ...SHA2.map(([id, hash]) => digitalSignature(id, { kind: 'rsa-pkcs1', hash })),
  ...SHA2.map(([id, hash]) => digitalSignature(id, { kind: 'ecdsa', hash })),
  digitalSignature(HashAlgorithm.IDENTITY, { kind: 'ed25519' }),
  digitalSignature(HashAlgorithm.IDENTITY, { kind: 'ed448' }),
];

/** `keyInfo` gives the same object for a key each time. */
const RANKED = new WeakMap<PublicKeyInfo, readonly SignatureScheme[]>();

/** RFC 7296 §3.8 method 1: SHA-1 unless both ends were configured otherwise. */
const RSA_SHA1: SignatureScheme = {
  name: 'rsa-sha1',
  authMethod: AuthMethod.RSA,
  hash: HashAlgorithm.SHA1,
  algorithm: { kind: 'rsa-pkcs1', hash: 'sha1' },
  algorithmIdentifier: new Uint8Array(0),
};

const ALL: readonly SignatureScheme[] = [...DIGITAL_SIGNATURES, RSA_SHA1, ...[...ECDSA_METHODS.values()].map((method) => method.scheme)];
const FAMILIES = ['rsa', 'rsa-pss', 'rsa-pkcs1', 'ecdsa', 'ed25519', 'ed448'];
const HASH_WORDS = ['sha1', 'sha256', 'sha384', 'sha512'];
const HASH_BITS: Readonly<Record<number, number>> = { 2: 256, 3: 384, 4: 512 };
