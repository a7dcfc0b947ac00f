import { ApiMisuse } from '../bytes/errors.ts';

/** Dotted form of the content octets of an OBJECT IDENTIFIER (X.690 §8.19); undefined where they are not one. */
export function decodeOid(content: Uint8Array): string | undefined {
  if (content.length === 0 || content.length > MAX_OCTETS || content[content.length - 1]! >= 0x80) return undefined;
  const arcs: (number | bigint)[] = [];
  let arc: number | bigint = 0;
  let first = true;
  for (const octet of content) {
    if (first && octet === 0x80) return undefined;
    // Arcs made of a UUID have 128 bits (X.667).
    arc = typeof arc === 'number' && arc < 2 ** 45 ? arc * 128 + (octet & 0x7f) : BigInt(arc) * 128n + BigInt(octet & 0x7f);
    first = octet < 0x80;
    if (first) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const head = arcs[0]!;
  const root = head < 40 ? 0 : head < 80 ? 1 : 2;
  const second = typeof head === 'number' ? head - 40 * root : head - 80n;
  return [root, second, ...arcs.slice(1)].join('.');
}

/** Content octets of an OBJECT IDENTIFIER from its dotted form; throws `ApiMisuse` for anything else. */
export function encodeOid(dotted: string): Uint8Array {
  if (!/^[0-2](\.(0|[1-9]\d{0,38}))+$/.test(dotted))
    throw new ApiMisuse(`not an object identifier: ${dotted.slice(0, 64)}`, { code: 'NOT_AN_OID' });
  const arcs = dotted.split('.').map(BigInt);
  if (arcs[0]! < 2n && arcs[1]! >= 40n) throw new ApiMisuse(`not an object identifier: ${dotted.slice(0, 64)}`, { code: 'NOT_AN_OID' });
  const octets: number[] = [];
  for (const arc of [arcs[0]! * 40n + arcs[1]!, ...arcs.slice(2)]) {
    const groups = [Number(arc & 0x7fn)];
    for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) groups.unshift(Number(rest & 0x7fn) | 0x80);
    octets.push(...groups);
  }
  return Uint8Array.from(octets);
}

/** The object identifiers this module acts upon, under the names of the documents that register them. */
export const Oid = {
  // RFC 5280 appendix A: extensions
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  issuerAltName: '2.5.29.18',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  policyMappings: '2.5.29.33',
  authorityKeyIdentifier: '2.5.29.35',
  policyConstraints: '2.5.29.36',
  extKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
  msApplicationPolicies: '1.3.6.1.4.1.311.21.10',
  anyPolicy: '2.5.29.32.0',
  cpsQualifier: '1.3.6.1.5.5.7.2.1',
  userNoticeQualifier: '1.3.6.1.5.5.7.2.2',
  // Access methods
  ocsp: '1.3.6.1.5.5.7.48.1',
  caIssuers: '1.3.6.1.5.5.7.48.2',
  // Key purposes
  anyExtendedKeyUsage: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  ocspSigning: '1.3.6.1.5.5.7.3.9',
  ipsecEndSystem: '1.3.6.1.5.5.7.3.5',
  ipsecTunnel: '1.3.6.1.5.5.7.3.6',
  ipsecUser: '1.3.6.1.5.5.7.3.7',
  ipsecIke: '1.3.6.1.5.5.7.3.17',
  ikeIntermediate: '1.3.6.1.5.5.8.2.2',
  // Keys: RFC 3279, 4055, 5480, 8410
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsassaPss: '1.2.840.113549.1.1.10',
  ecPublicKey: '1.2.840.10045.2.1',
  ed25519: '1.3.101.112',
  ed448: '1.3.101.113',
  mgf1: '1.2.840.113549.1.1.8',
  // Attribute types that are treated specially
  commonName: '2.5.4.3',
  emailAddress: '1.2.840.113549.1.9.1',
} as const;

/** What to call a key purpose in a sentence; the dotted form where it has no name here. */
export const keyPurposeName = (oid: string): string => KEY_PURPOSES[oid] ?? oid;

const KEY_PURPOSES: Readonly<Record<string, string>> = {
  [Oid.anyExtendedKeyUsage]: 'anyExtendedKeyUsage',
  [Oid.serverAuth]: 'serverAuth',
  [Oid.clientAuth]: 'clientAuth',
  '1.3.6.1.5.5.7.3.3': 'codeSigning',
  '1.3.6.1.5.5.7.3.4': 'emailProtection',
  [Oid.ipsecEndSystem]: 'ipsecEndSystem',
  [Oid.ipsecTunnel]: 'ipsecTunnel',
  [Oid.ipsecUser]: 'ipsecUser',
  '1.3.6.1.5.5.7.3.8': 'timeStamping',
  [Oid.ocspSigning]: 'OCSPSigning',
  [Oid.ipsecIke]: 'ipsecIKE',
  [Oid.ikeIntermediate]: 'ikeIntermediate',
};

/** Ours: 63 octets hold every registered identifier, and UUID arcs besides. */
const MAX_OCTETS = 127;
