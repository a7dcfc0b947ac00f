import { DerReader, DerTag, readSequence } from './der.ts';
import { Oid } from './oid.ts';

/** What a SubjectPublicKeyInfo says about its key: enough to judge its strength and to choose a signature scheme. */
export type PublicKeyInfo =
  | { readonly kind: 'rsa' | 'rsa-pss'; readonly bits: number /** Octets of the public exponent. */; readonly exponent: Uint8Array }
  | { readonly kind: 'ec'; readonly curve: string }
  | { readonly kind: 'ed25519' | 'ed448' }
  | { readonly kind: 'unknown'; readonly algorithm: string; readonly why: string };

/** Parses the DER of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7). What is well formed but not usable is `unknown`; throws `MalformedMessage`. */
export function parsePublicKeyInfo(spki: Uint8Array): PublicKeyInfo {
  return readSequence(spki, 'subjectPublicKeyInfo', (reader) => {
    const algorithm = reader.sequence('algorithm');
    const oid = algorithm.oid('algorithm');
    const parameters = algorithm.done ? undefined : algorithm.any('parameters');
    algorithm.end('algorithm');
    const key = reader.octetBits('subjectPublicKey');
    const unknown = (why: string): PublicKeyInfo => ({ kind: 'unknown', algorithm: oid, why });
    switch (oid) {
      case Oid.rsaEncryption:
        // RFC 3279 §2.3.1: parameters are NULL. Absent ones are let pass, they change nothing.
        if (parameters !== undefined && parameters.tag !== DerTag.NULL) return unknown('an RSA key with parameters');
        return rsaKey('rsa', key);
      case Oid.rsassaPss:
        return rsaKey('rsa-pss', key);
      case Oid.ecPublicKey: {
        // RFC 5480 §2.1.1: namedCurve only; curves written out by their parameters have been used to forge keys (CVE-2020-0601).
        if (parameters?.tag !== DerTag.OID) return unknown('an EC key whose curve is not named');
        const curve = new DerReader(parameters.whole).oid('namedCurve');
        return CURVES[curve] === undefined ? unknown(`an EC key on curve ${curve}`) : { kind: 'ec', curve: CURVES[curve] };
      }
      case Oid.ed25519:
      case Oid.ed448:
        // RFC 8410 §3: the parameters MUST be absent.
        if (parameters !== undefined || key.length !== (oid === Oid.ed25519 ? 32 : 57))
          return unknown('an EdDSA key that is not encoded by RFC 8410');
        return { kind: oid === Oid.ed25519 ? 'ed25519' : 'ed448' };
      default:
        return unknown(`a key of algorithm ${oid}`);
    }
  });
}

/** `RSA 3072`, `ECDSA P-256`, `Ed25519`: for people. */
export function describePublicKey(key: PublicKeyInfo): string {
  switch (key.kind) {
    case 'rsa':
      return `RSA ${key.bits}`;
    case 'rsa-pss':
      return `RSA-PSS ${key.bits}`;
    case 'ec':
      return `ECDSA ${key.curve}`;
    case 'ed25519':
      return 'Ed25519';
    case 'ed448':
      return 'Ed448';
    case 'unknown':
      return key.why;
  }
}

function rsaKey(kind: 'rsa' | 'rsa-pss', der: Uint8Array): PublicKeyInfo {
  return readSequence(der, 'RSAPublicKey', (reader) => {
    const modulus = positive(reader, 'modulus');
    const exponent = positive(reader, 'publicExponent');
    return { kind, bits: modulus.length * 8 - Math.clz32(modulus[0]!) + 24, exponent };
  });
}

function positive(reader: DerReader, field: string): Uint8Array {
  const value = reader.integer(field);
  if (value[0]! >= 0x80 || (value.length === 1 && value[0] === 0)) throw reader.malformed(`${field} is not positive`, field);
  return value[0] === 0 ? value.subarray(1) : value;
}

/** Named curves of RFC 5480 and RFC 5639 that we take for signatures. */
const CURVES: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
  '1.3.132.0.35': 'P-521',
  '1.3.36.3.3.2.8.1.1.7': 'brainpoolP256r1',
  '1.3.36.3.3.2.8.1.1.11': 'brainpoolP384r1',
  '1.3.36.3.3.2.8.1.1.13': 'brainpoolP512r1',
};
