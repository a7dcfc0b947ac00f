/** IKEv2 Identification Payload ID Types. */
export const IdType = {
  ID_IPV4_ADDR: 1,
  ID_FQDN: 2,
  ID_RFC822_ADDR: 3,
  ID_IPV6_ADDR: 5,
  ID_DER_ASN1_DN: 9,
  ID_DER_ASN1_GN: 10,
  ID_KEY_ID: 11,
  ID_FC_NAME: 12, // RFC 4595
  ID_NULL: 13, // RFC 7619
} as const;

/** IKEv2 Certificate Encodings. */
export const CertEncoding = {
  PKCS7_WRAPPED_X509: 1,
  PGP: 2,
  DNS_SIGNED_KEY: 3,
  X509_SIGNATURE: 4,
  KERBEROS_TOKEN: 6,
  CRL: 7,
  ARL: 8,
  SPKI: 9,
  X509_ATTRIBUTE: 10,
  /** PKCS #1 key, of RFC 4306; RFC 7670 replaced it by RAW_PUBLIC_KEY. */
  RAW_RSA_KEY: 11,
  HASH_AND_URL_X509: 12,
  HASH_AND_URL_X509_BUNDLE: 13,
  OCSP_CONTENT: 14, // RFC 4806
  RAW_PUBLIC_KEY: 15, // RFC 7670
} as const;

/** IKEv2 Authentication Methods. */
export const AuthMethod = {
  RSA_DIGITAL_SIGNATURE: 1,
  SHARED_KEY_MIC: 2,
  DSS_DIGITAL_SIGNATURE: 3,
  ECDSA_SHA256_P256: 9, // RFC 4754
  ECDSA_SHA384_P384: 10,
  ECDSA_SHA512_P521: 11,
  GENERIC_SECURE_PASSWORD: 12, // RFC 6467
  NULL_AUTHENTICATION: 13, // RFC 7619
  DIGITAL_SIGNATURE: 14, // RFC 7427
} as const;

/** IKEv2 Hash Algorithms, of SIGNATURE_HASH_ALGORITHMS (RFC 7427). */
export const HashId = {
  SHA1: 1,
  SHA2_256: 2,
  SHA2_384: 3,
  SHA2_512: 4,
  IDENTITY: 5, // RFC 8420
  STREEBOG_256: 6, // RFC 9385
  STREEBOG_512: 7,
} as const;

/** IKEv2 Post-quantum Preshared Key ID Types (RFC 8784). */
export const PpkIdType = {
  PPK_ID_OPAQUE: 1,
  PPK_ID_FIXED: 2,
} as const;

/** IKEv2 Secure Password Methods (RFC 6467). */
export const SecurePasswordMethod = {
  PACE: 1,
  AUGPAKE: 2,
  SECURE_PSK: 3,
} as const;

/** IKEv2 Gateway Identity Types, of REDIRECT (RFC 5685). */
export const GatewayIdType = {
  IPV4: 1,
  IPV6: 2,
  FQDN: 3,
} as const;
