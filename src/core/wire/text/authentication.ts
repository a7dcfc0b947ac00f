import { toHex } from '../../bytes/bytes.ts';
import { AuthMethod } from '../iana.ts';

/** What follows the name of the method: the signature scheme of RFC 7427, where there is one, and the size of the rest. */
export function describeAuth(method: number, data: Uint8Array): string {
  if (method !== AuthMethod.DIGITAL_SIGNATURE) return `, ${data.length} octets`;
  // RFC 7427 §3: ASN.1 Length, AlgorithmIdentifier, signature
  const length = data[0] ?? 0;
  if (length === 0 || 1 + length > data.length) return `, ${data.length} octets`;
  return ` ${describeAlgorithm(data.subarray(1, 1 + length))}, ${data.length - 1 - length} octets`;
}

/** The name of an AlgorithmIdentifier (DER), as far as RFC 7427 appendix A and RFC 8420 list it; else its hex. */
export function describeAlgorithm(der: Uint8Array): string {
  const hex = toHex(der.subarray(0, 128));
  const name = ALGORITHMS[hex];
  if (name !== undefined) return name;
  if (hex.includes(RSASSA_PSS)) return `RSASSA-PSS${PSS_HASHES.find(([oid]) => hex.includes(oid))?.[1] ?? ''}`;
  return `algorithm ${hex}`;
}

const RSASSA_PSS = '06092a864886f70d01010a';
const PSS_HASHES: readonly (readonly [string, string])[] = [
  ['0609608648016503040201', ' with SHA-256'],
  ['0609608648016503040202', ' with SHA-384'],
  ['0609608648016503040203', ' with SHA-512'],
];

const ALGORITHMS: Readonly<Record<string, string>> = {
  '300d06092a864886f70d0101050500': 'RSA PKCS #1 v1.5 with SHA-1',
  '300d06092a864886f70d01010b0500': 'RSA PKCS #1 v1.5 with SHA-256',
  '300d06092a864886f70d01010c0500': 'RSA PKCS #1 v1.5 with SHA-384',
  '300d06092a864886f70d01010d0500': 'RSA PKCS #1 v1.5 with SHA-512',
  '300b06092a864886f70d01010b': 'RSA PKCS #1 v1.5 with SHA-256',
  '300b06092a864886f70d01010c': 'RSA PKCS #1 v1.5 with SHA-384',
  '300b06092a864886f70d01010d': 'RSA PKCS #1 v1.5 with SHA-512',
  '300906072a8648ce3d0401': 'ECDSA with SHA-1',
  '300a06082a8648ce3d040302': 'ECDSA with SHA-256',
  '300a06082a8648ce3d040303': 'ECDSA with SHA-384',
  '300a06082a8648ce3d040304': 'ECDSA with SHA-512',
  '300506032b6570': 'Ed25519',
  '300506032b6571': 'Ed448',
};
