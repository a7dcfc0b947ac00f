import { execFileSync } from 'node:child_process';
import {
  type AuthorityRequest,
  type Certificate,
  type CertificateAuthority,
  type CertificateRequest,
  certificateSigner,
  createCa,
  generateKey,
  issueCa,
  issueCertificate,
  type KeyKind,
  type NewKey,
} from '../../../src/core/pki/index.ts';

export const DAY = 86_400_000;
export const NOW: number = Date.UTC(2026, 5, 1, 12);

/** A certificate and its key. */
export interface Holder {
  readonly certificate: Certificate;
  readonly key: NewKey;
}

export interface LabAuthority extends CertificateAuthority {
  readonly key: NewKey;
}

/** RSA keys take long to make: all holders of one size share one. */
const rsa = new Map<KeyKind, NewKey>();
function keyOf(kind: KeyKind): NewKey {
  if (!kind.startsWith('rsa')) return generateKey(kind);
  const key = rsa.get(kind) ?? generateKey(kind);
  rsa.set(kind, key);
  return key;
}

let count = 0;
const serial = (): Uint8Array => Uint8Array.of(0x40, 0, 0, 0, 0, 0, ++count >> 8, count & 0xff);
const span = { notBefore: NOW - 10 * DAY, notAfter: NOW + 301.5 * DAY };

/** A root authority, valid for a year around `NOW`. */
export function root(name = 'C=CH, O=lab, CN=lab CA', options: Partial<AuthorityRequest> & { readonly kind?: KeyKind } = {}): LabAuthority {
  const key = keyOf(options.kind ?? 'ecdsa-p256');
  const signer = certificateSigner(key.privateKey);
  return { ...createCa({ serial: serial(), ...span, notAfter: NOW + 3650 * DAY, name, ...options, signer }), key };
}

export function intermediate(
  ca: CertificateAuthority,
  name: string,
  options: Partial<AuthorityRequest> & { readonly key?: NewKey } = {},
): LabAuthority {
  const key = options.key ?? generateKey('ecdsa-p256');
  const certificate = issueCa({ serial: serial(), ...span, notAfter: NOW + 3000 * DAY, name, ...options, ca, publicKey: key.spki });
  return { certificate, signer: certificateSigner(key.privateKey), key };
}

export function peer(
  ca: CertificateAuthority,
  subject: string,
  sans: readonly string[],
  options: Partial<CertificateRequest> & { readonly kind?: KeyKind; readonly key?: NewKey } = {},
): Holder {
  const key = options.key ?? keyOf(options.kind ?? 'ecdsa-p256');
  return {
    certificate: issueCertificate({ serial: serial(), ...span, ca, subject, sans, usages: [], ...options, publicKey: key.spki }),
    key,
  };
}

/** What `openssl version` says; undefined where it is not installed. */
export function opensslVersion(): string | undefined {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}
