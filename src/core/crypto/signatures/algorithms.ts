import { equalBytes, fromHex, toHex } from '../../bytes/bytes.ts';
import { DER_NULL, readAll, readOnly, readSmallInteger, Tag, writeInteger, writeTlv } from './der.ts';

export type SignatureHash = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'sha512-224' | 'sha512-256';

/** What an AlgorithmIdentifier of a signature says, parameters included. */
export type SignatureAlgorithm =
  | { readonly kind: 'rsa-pkcs1'; readonly hash: SignatureHash }
  | { readonly kind: 'rsa-pss'; readonly hash: SignatureHash; readonly mgfHash: SignatureHash; readonly saltLength: number }
  | { readonly kind: 'ecdsa'; readonly hash: SignatureHash }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ed448' };

/** `rsa-pss-sha256`, `ecdsa-sha384`, `ed25519`: how a scheme is written in configuration and shown. */
export function algorithmName(algorithm: SignatureAlgorithm): string {
  return 'hash' in algorithm ? `${algorithm.kind}-${algorithm.hash}` : algorithm.kind;
}

/** Octets of the digest. */
export const hashLength = (hash: SignatureHash): number => HASHES[hash].length;

/** Strict DER of one AlgorithmIdentifier and nothing behind it; a sentence that says what is wrong otherwise. */
export function parseAlgorithmIdentifier(der: Uint8Array): SignatureAlgorithm | string {
  const sequence = readOnly(der, Tag.SEQUENCE);
  if (sequence === undefined) return 'the AlgorithmIdentifier is not strict DER';
  const parts = readAll(sequence.value, 2);
  const oid = parts?.[0];
  if (parts === undefined || oid?.tag !== Tag.OID) return 'the AlgorithmIdentifier is not strict DER';
  const known = BY_OID.get(toHex(oid.value));
  if (known === undefined) return `signature algorithm with OID ${formatOid(oid.value)} is not supported`;
  const parameters = parts[1]?.raw;
  if (known.kind === 'rsa-pss') return parsePssParameters(parameters);
  if (known.kind === 'rsa-pkcs1') {
    // RFC 4055 §5: NULL, though absent must be understood as well.
    return parameters === undefined || equalBytes(parameters, DER_NULL)
      ? known
      : 'the parameters of an RSA AlgorithmIdentifier are not NULL';
  }
  // RFC 5758 §3.2 and RFC 8410 §3: absent.
  return parameters === undefined ? known : `an AlgorithmIdentifier of ${algorithmName(known)} has parameters`;
}

export function writeAlgorithmIdentifier(algorithm: SignatureAlgorithm): Uint8Array {
  switch (algorithm.kind) {
    case 'rsa-pkcs1':
      return writeTlv(Tag.SEQUENCE, oidOf(algorithm), DER_NULL);
    case 'rsa-pss':
      return writeTlv(Tag.SEQUENCE, oid(OID_PSS), writePssParameters(algorithm));
    default:
      return writeTlv(Tag.SEQUENCE, oidOf(algorithm));
  }
}

/** RFC 4055 §3.1; defaults are left out, as DER demands. */
export function writePssParameters(algorithm: {
  readonly hash: SignatureHash;
  readonly mgfHash: SignatureHash;
  readonly saltLength: number;
}): Uint8Array {
  const fields: Uint8Array[] = [];
  if (algorithm.hash !== 'sha1') fields.push(writeTlv(Tag.CONTEXT_0, hashIdentifier(algorithm.hash)));
  if (algorithm.mgfHash !== 'sha1')
    fields.push(writeTlv(Tag.CONTEXT_0 + 1, writeTlv(Tag.SEQUENCE, oid(OID_MGF1), hashIdentifier(algorithm.mgfHash))));
  if (algorithm.saltLength !== 20)
    fields.push(writeTlv(Tag.CONTEXT_0 + 2, writeInteger(Uint8Array.of(algorithm.saltLength >>> 8, algorithm.saltLength & 0xff))));
  return writeTlv(Tag.SEQUENCE, ...fields);
}

function parsePssParameters(der: Uint8Array | undefined): SignatureAlgorithm | string {
  const wrong = 'the RSASSA-PSS parameters are not strict DER';
  const sequence = der === undefined ? undefined : readOnly(der, Tag.SEQUENCE);
  const fields = sequence === undefined ? undefined : readAll(sequence.value, 4);
  if (fields === undefined) return wrong;
  // RFC 4055 §3.1: what is absent has its default, and a default that is spelt out is understood too.
  let hash: SignatureHash | undefined = 'sha1';
  let mgfHash: SignatureHash | undefined = 'sha1';
  let saltLength: number | undefined = 20;
  let last = Tag.CONTEXT_0 - 1;
  for (const field of fields) {
    if (field.tag <= last) return wrong;
    last = field.tag;
    if (field.tag === Tag.CONTEXT_0) hash = parseHashIdentifier(field.value);
    else if (field.tag === Tag.CONTEXT_0 + 1) mgfHash = parseMgf1(field.value);
    else if (field.tag === Tag.CONTEXT_0 + 2) saltLength = readSmallInteger(field.value);
    else if (field.tag !== Tag.CONTEXT_0 + 3 || readSmallInteger(field.value) !== 1) return wrong;
  }
  if (hash === undefined || mgfHash === undefined || saltLength === undefined) return 'the RSASSA-PSS parameters name something unknown';
  return { kind: 'rsa-pss', hash, mgfHash, saltLength };
}

function parseMgf1(der: Uint8Array): SignatureHash | undefined {
  const sequence = readOnly(der, Tag.SEQUENCE);
  const parts = sequence === undefined ? undefined : readAll(sequence.value, 2);
  if (parts?.length !== 2 || parts[0]!.tag !== Tag.OID || toHex(parts[0]!.value) !== OID_MGF1) return undefined;
  return parseHashIdentifier(parts[1]!.raw);
}

/** RFC 4055 §2.1: parameters NULL or absent, both must be understood. */
function parseHashIdentifier(der: Uint8Array): SignatureHash | undefined {
  const sequence = readOnly(der, Tag.SEQUENCE);
  const parts = sequence === undefined ? undefined : readAll(sequence.value, 2);
  const first = parts?.[0];
  if (parts === undefined || first?.tag !== Tag.OID) return undefined;
  if (parts[1] !== undefined && !equalBytes(parts[1].raw, DER_NULL)) return undefined;
  const text = toHex(first.value);
  return HASH_NAMES.find((name) => HASHES[name].oid === text);
}

function oidOf(algorithm: SignatureAlgorithm): Uint8Array {
  const name = algorithmName(algorithm);
  for (const [text, candidate] of BY_OID) if (algorithmName(candidate) === name) return oid(text);
  return oid('');
}

const oid = (hex: string): Uint8Array => writeTlv(Tag.OID, fromHex(hex));
const hashIdentifier = (hash: SignatureHash): Uint8Array => writeTlv(Tag.SEQUENCE, oid(HASHES[hash].oid), DER_NULL);

/** Dotted decimal. */
function formatOid(value: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of value.subarray(0, 32)) {
    arc = arc * 128 + (octet & 0x7f);
    if (octet >= 0x80) continue;
    if (arcs.length === 0) {
      const top = Math.min(2, Math.floor(arc / 40));
      arcs.push(top, arc - 40 * top);
    } else arcs.push(arc);
    arc = 0;
  }
  return arcs.join('.');
}

const HASHES: Readonly<Record<SignatureHash, { readonly oid: string; readonly length: number }>> = {
  sha1: { oid: '2b0e03021a', length: 20 },
  sha224: { oid: '608648016503040204', length: 28 },
  sha256: { oid: '608648016503040201', length: 32 },
  sha384: { oid: '608648016503040202', length: 48 },
  sha512: { oid: '608648016503040203', length: 64 },
  'sha512-224': { oid: '608648016503040205', length: 28 },
  'sha512-256': { oid: '608648016503040206', length: 32 },
};
const HASH_NAMES = Object.keys(HASHES) as SignatureHash[];

const OID_MGF1 = '2a864886f70d010108';
const OID_PSS = '2a864886f70d01010a';

/** RFC 4055 §5, RFC 8017 appendix C, RFC 5758 §3.2, RFC 8410 §3. */
const BY_OID: ReadonlyMap<string, SignatureAlgorithm> = new Map<string, SignatureAlgorithm>([
  ['2a864886f70d010105', { kind: 'rsa-pkcs1', hash: 'sha1' }],
  ['2a864886f70d01010e', { kind: 'rsa-pkcs1', hash: 'sha224' }],
  ['2a864886f70d01010b', { kind: 'rsa-pkcs1', hash: 'sha256' }],
  ['2a864886f70d01010c', { kind: 'rsa-pkcs1', hash: 'sha384' }],
  ['2a864886f70d01010d', { kind: 'rsa-pkcs1', hash: 'sha512' }],
  ['2a864886f70d01010f', { kind: 'rsa-pkcs1', hash: 'sha512-224' }],
  ['2a864886f70d010110', { kind: 'rsa-pkcs1', hash: 'sha512-256' }],
  [OID_PSS, { kind: 'rsa-pss', hash: 'sha1', mgfHash: 'sha1', saltLength: 20 }],
  ['2a8648ce3d0401', { kind: 'ecdsa', hash: 'sha1' }],
  ['2a8648ce3d040301', { kind: 'ecdsa', hash: 'sha224' }],
  ['2a8648ce3d040302', { kind: 'ecdsa', hash: 'sha256' }],
  ['2a8648ce3d040303', { kind: 'ecdsa', hash: 'sha384' }],
  ['2a8648ce3d040304', { kind: 'ecdsa', hash: 'sha512' }],
  ['2b6570', { kind: 'ed25519' }],
  ['2b6571', { kind: 'ed448' }],
]);
