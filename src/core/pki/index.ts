/**
 * X.509 for IKE: certificates and names read by our own bounded DER reader, identities, paths to a trust anchor, and the making of
 * certificates. Pure: time, randomness and private keys are arguments.
 */
export { type CertificateSigner, certificateSigner, generateKey, type KeyKind, type NewKey } from '../crypto/certificate-signing.ts';
export { type AlgorithmPolicy, DEFAULT_ALGORITHMS, keyWeakness } from './algorithm-policy.ts';
export { type Certificate, certificateTitle, isSelfIssued, parseCertificate, sameCertificate, serialText } from './certificate.ts';
export { parseCertificateBundle } from './certificate-bundle.ts';
export { certificateIdentities, type IdentityMatchOptions, identityMatchesCertificate, identityMismatch } from './certificate-identity.ts';
export {
  type AccessDescription,
  type AuthorityKeyIdentifier,
  type BasicConstraints,
  type DistributionPoint,
  type Extension,
  KeyUsage,
  type KnownExtensions,
  type NameConstraints,
} from './extensions.ts';
export { type CertificateCode, certificateFailure } from './failure.ts';
export { formatGeneralName, type GeneralName } from './general-name.ts';
export { formatIdentity, identityTypeName, parseIdentity } from './identity.ts';
export {
  formatIdentityPattern,
  type IdentityPattern,
  matchIdentity,
  matchStrength,
  parseIdentityPattern,
  sameIdentity,
} from './identity-pattern.ts';
export {
  type AuthorityRequest,
  type CertificateAuthority,
  type CertificateRequest,
  CLIENT_USAGES,
  createCa,
  GATEWAY_USAGES,
  issueCa,
  issueCertificate,
  keyIdentifier,
} from './issuing/certificates.ts';
export { ANY_PURPOSE, CLIENT_PURPOSE, IKE_PURPOSE, type KeyPurpose, SERVER_PURPOSE } from './key-purpose.ts';
export { attributeTexts, formatName, isWithin, type Name, parseName, type RelativeName, sameName } from './name.ts';
export { parseNameText } from './name-text.ts';
export { keyPurposeName, Oid } from './oid.ts';
export { findPath, type PathLimits, type PathOptions, type PathResult } from './path.ts';
export { certificateKey } from './path-check.ts';
export { formatPem, type PemBlock, parsePem } from './pem.ts';
export type { PolicyInputs } from './policy-graph.ts';
export { describePublicKey, type PublicKeyInfo, parsePublicKeyInfo } from './public-key.ts';
export {
  describeRawKey,
  isInlineKey,
  keyFingerprint,
  keyIdentity,
  type PinnedKey,
  parsePinnedKey,
  readPublicKey,
} from './raw-public-key.ts';
export type { RevocationSource } from './revocation.ts';
export { formatTime } from './time.ts';
