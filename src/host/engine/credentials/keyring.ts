import type { KeyObject, PrfTransform } from '../../../core/crypto/index.ts';
import type { AlgorithmPolicy, Certificate, PinnedKey, RevocationSource } from '../../../core/pki/index.ts';
import type { HttpGet } from '../../platform/http.ts';
import type { CertificateCache } from './cache.ts';
import type { PostQuantumKeys } from './ppk.ts';
import type { SharedSecrets } from './secrets.ts';

export interface CredentialOptions {
  /** Keys and hashes that certificates may use: RSA from 2048 bits, curves from 256 bits, SHA-2 unless said otherwise. */
  readonly algorithms?: AlgorithmPolicy;
  /** Let AUTH rest on SHA-1, for peers that know nothing of RFC 7427 (RFC 8247 §3.2: MUST NOT). */
  readonly allowSha1?: boolean;
  /** Demand the whole certificate profile of RFC 5280 §4. */
  readonly strict?: boolean;
  readonly revocation?: RevocationSource;
  /** Who computes PRFs in place of `core/crypto`, with the same results. Undefined for an id leaves it there. */
  readonly prf?: ((id: number) => PrfTransform | undefined) | undefined;
  /** Who fetches certificates that peers name by hash and URL. Absent: nobody does. */
  readonly httpGet?: HttpGet | undefined;
}

export interface OwnCertificate {
  readonly handle: string;
  readonly certificate: Certificate;
  readonly key: KeyObject | undefined;
}

/** A key of our own that no certificate vouches for (RFC 7670). */
export interface OwnRawKey {
  readonly handle: string;
  readonly spki: Uint8Array;
  readonly key: KeyObject;
}

export interface TrustedCertificate {
  readonly handle: string;
  readonly certificate: Certificate;
  /** Of an authority: what the URLs of the certificates that it issued begin with (RFC 7296 §3.6); their SHA-1 follows, in hex. */
  readonly certificateUrls?: string | undefined;
}

/** Everything loaded, as those see it who answer with it. */
export interface Keyring {
  readonly options: CredentialOptions;
  readonly own: readonly OwnCertificate[];
  readonly rawKeys: readonly OwnRawKey[];
  readonly pinned: readonly (PinnedKey & { readonly handle: string })[];
  readonly authorities: readonly TrustedCertificate[];
  readonly peers: readonly TrustedCertificate[];
  /** What was loaded along with certificates of our own; helps to build paths, trusted for nothing. */
  readonly intermediates: readonly Certificate[];
  readonly secrets: SharedSecrets;
  readonly postQuantum: PostQuantumKeys;
  readonly cache: CertificateCache;
}
