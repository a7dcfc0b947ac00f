import type { CertificateFailure } from '../bytes/errors.ts';
import type { Certificate } from './certificate.ts';

/** Says whether certificates were revoked, from what it knows already: path validation neither waits nor fetches. */
export interface RevocationSource {
  /** @returns why the certificate must not be trusted; undefined where nothing speaks against it */
  check(certificate: Certificate, issuer: Certificate, at: number): CertificateFailure | undefined;
}
