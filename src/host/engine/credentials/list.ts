import {
  type Certificate,
  certificateIdentities,
  describePublicKey,
  formatIdentity,
  formatName,
  keyFingerprint,
  parsePublicKeyInfo,
  serialText,
} from '../../../core/pki/index.ts';
import type { Keyring } from './keyring.ts';
import { formatOwners } from './secrets.ts';

/** One thing that is loaded, for `status`; never a secret. */
export type LoadedCredential =
  | ({
      readonly kind: 'certificate';
      readonly handle: string /** Without one it cannot prove anything. */;
      readonly hasPrivateKey: boolean;
    } & CertificateSummary)
  | ({ readonly kind: 'authority' | 'peer certificate'; readonly handle: string } & CertificateSummary)
  | ({ readonly kind: 'public key' | 'peer public key'; readonly handle: string } & RawKeySummary)
  | { readonly kind: 'pre-shared key'; readonly handle: string; readonly owners: string }
  | { readonly kind: 'post-quantum pre-shared key'; readonly handle: string; readonly id: string };

/** A key that no certificate vouches for (RFC 7670). */
export interface RawKeySummary {
  /** `sha256:` and hex. */
  readonly fingerprint: string;
  /** `Ed25519`; empty where nothing but the fingerprint is known. */
  readonly key: string;
}

export interface CertificateSummary {
  readonly subject: string;
  readonly issuer: string;
  /** Hex. */
  readonly serial: string;
  /** What it speaks for, subject first. */
  readonly identities: readonly string[];
  /** `ECDSA P-256`. */
  readonly key: string;
  /** Milliseconds since 1970-01-01T00:00Z. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Whole days; negative when it has expired. */
  readonly daysLeft: number;
}

export function listLoaded(keyring: Keyring, at: number): LoadedCredential[] {
  return [
    ...keyring.own.map(({ handle, certificate, key }) => ({
      kind: 'certificate' as const,
      handle,
      hasPrivateKey: key !== undefined,
      ...summary(certificate, at),
    })),
    ...keyring.authorities.map(({ handle, certificate }) => ({ kind: 'authority' as const, handle, ...summary(certificate, at) })),
    ...keyring.peers.map(({ handle, certificate }) => ({ kind: 'peer certificate' as const, handle, ...summary(certificate, at) })),
    ...keyring.rawKeys.map(({ handle, spki }) => ({
      kind: 'public key' as const,
      handle,
      fingerprint: keyFingerprint(spki),
      key: kindOf(spki),
    })),
    ...keyring.pinned.map(({ handle, fingerprint, spki }) => ({
      kind: 'peer public key' as const,
      handle,
      fingerprint,
      key: spki === undefined ? '' : kindOf(spki),
    })),
    ...keyring.secrets.all.map(({ handle, owners }) => ({ kind: 'pre-shared key' as const, handle, owners: formatOwners(owners) })),
    ...keyring.postQuantum.all.map(({ handle, id }) => ({ kind: 'post-quantum pre-shared key' as const, handle, id: formatIdentity(id) })),
  ];
}

const kindOf = (spki: Uint8Array): string => describePublicKey(parsePublicKeyInfo(spki));

export const daysLeft = (certificate: Certificate, at: number): number => Math.floor((certificate.notAfter - at) / DAY);

function summary(certificate: Certificate, at: number): CertificateSummary {
  return {
    subject: formatName(certificate.subject),
    issuer: formatName(certificate.issuer),
    serial: serialText(certificate),
    identities: certificateIdentities(certificate).map(formatIdentity),
    key: describePublicKey(certificate.publicKey),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    daysLeft: daysLeft(certificate, at),
  };
}

const DAY = 86_400_000;
