import { CertificateFailure } from '../bytes/errors.ts';

/** Every way in which a certificate or its path fails: `code` of a `CertificateFailure`, stable API. */
export type CertificateCode =
  | 'CERTIFICATE_UNREADABLE'
  | 'CERTIFICATE_MISSING'
  | 'CERTIFICATE_NOT_FETCHED'
  | 'CERTIFICATE_URL_REFUSED'
  | 'CERTIFICATE_EXPIRED'
  | 'NOT_YET_VALID'
  | 'CERTIFICATE_REVOKED'
  | 'UNKNOWN_CA'
  | 'BAD_SIGNATURE'
  | 'WEAK_ALGORITHM'
  | 'WEAK_KEY'
  | 'NOT_A_CA'
  | 'KEY_USAGE'
  | 'EXTENDED_KEY_USAGE'
  | 'PATH_TOO_LONG'
  | 'PATH_TOO_COMPLEX'
  | 'CRITICAL_EXTENSION'
  | 'NAME_CONSTRAINTS'
  | 'POLICY'
  | 'CERTIFICATE_PROFILE'
  | 'IDENTITY_MISMATCH';

/** @param message one sentence: which certificate, and why
 *  @param hint one sentence: what to do */
export function certificateFailure(
  code: CertificateCode,
  message: string,
  hint: string,
  section?: string,
  cause?: unknown,
): CertificateFailure {
  return new CertificateFailure(message, {
    code,
    hint,
    ...(section === undefined ? {} : { section }),
    ...(cause === undefined ? {} : { cause }),
  });
}
