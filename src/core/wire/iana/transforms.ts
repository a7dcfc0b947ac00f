import type { Registry } from './registry.ts';

/** IKEv2 Security Protocol Identifiers. */
export const ProtocolId = {
  NONE: 0,
  IKE: 1,
  AH: 2,
  ESP: 3,
  FC_ESP_HEADER: 4, // RFC 4595
  FC_CT_AUTHENTICATION: 5,
  GIKE_UPDATE: 6, // RFC 9838
} as const;

/** Transform Type Values. */
export const TransformType = {
  ENCR: 1,
  PRF: 2,
  INTEG: 3,
  KE: 4,
  /** Sequence Numbers since RFC 9827; the wire and everybody's tongue know it as ESN. */
  ESN: 5,
  ADDKE1: 6, // RFC 9370
  ADDKE2: 7,
  ADDKE3: 8,
  ADDKE4: 9,
  ADDKE5: 10,
  ADDKE6: 11,
  ADDKE7: 12,
  KWA: 13, // RFC 9838
  GCAUTH: 14,
} as const;

/** Transform Type 1, Encryption Algorithm. */
export const EncryptionId = {
  ENCR_DES_IV64: 1,
  ENCR_DES: 2,
  ENCR_3DES: 3,
  ENCR_RC5: 4,
  ENCR_IDEA: 5,
  ENCR_CAST: 6,
  ENCR_BLOWFISH: 7,
  ENCR_3IDEA: 8,
  ENCR_DES_IV32: 9,
  ENCR_NULL: 11,
  ENCR_AES_CBC: 12,
  ENCR_AES_CTR: 13,
  ENCR_AES_CCM_8: 14,
  ENCR_AES_CCM_12: 15,
  ENCR_AES_CCM_16: 16,
  ENCR_AES_GCM_8: 18,
  ENCR_AES_GCM_12: 19,
  ENCR_AES_GCM_16: 20,
  ENCR_NULL_AUTH_AES_GMAC: 21,
  ENCR_CAMELLIA_CBC: 23,
  ENCR_CAMELLIA_CTR: 24,
  ENCR_CAMELLIA_CCM_8: 25,
  ENCR_CAMELLIA_CCM_12: 26,
  ENCR_CAMELLIA_CCM_16: 27,
  ENCR_CHACHA20_POLY1305: 28,
  ENCR_AES_CCM_8_IIV: 29, // RFC 8750
  ENCR_AES_GCM_16_IIV: 30,
  ENCR_CHACHA20_POLY1305_IIV: 31,
  ENCR_KUZNYECHIK_MGM_KTREE: 32, // RFC 9227
  ENCR_MAGMA_MGM_KTREE: 33,
  ENCR_KUZNYECHIK_MGM_MAC_KTREE: 34,
  ENCR_MAGMA_MGM_MAC_KTREE: 35,
} as const;

/** Transform Type 2, Pseudorandom Function. */
export const PrfId = {
  PRF_HMAC_MD5: 1,
  PRF_HMAC_SHA1: 2,
  PRF_HMAC_TIGER: 3,
  PRF_AES128_XCBC: 4,
  PRF_HMAC_SHA2_256: 5,
  PRF_HMAC_SHA2_384: 6,
  PRF_HMAC_SHA2_512: 7,
  PRF_AES128_CMAC: 8,
  PRF_HMAC_STREEBOG_512: 9, // RFC 9385
} as const;

/** Transform Type 3, Integrity Algorithm. */
export const IntegrityId = {
  NONE: 0,
  AUTH_HMAC_MD5_96: 1,
  AUTH_HMAC_SHA1_96: 2,
  AUTH_DES_MAC: 3,
  AUTH_KPDK_MD5: 4,
  AUTH_AES_XCBC_96: 5,
  AUTH_HMAC_MD5_128: 6,
  AUTH_HMAC_SHA1_160: 7,
  AUTH_AES_CMAC_96: 8,
  AUTH_AES_128_GMAC: 9,
  AUTH_AES_192_GMAC: 10,
  AUTH_AES_256_GMAC: 11,
  AUTH_HMAC_SHA2_256_128: 12,
  AUTH_HMAC_SHA2_384_192: 13,
  AUTH_HMAC_SHA2_512_256: 14,
  /** Private use, as strongSwan numbers it: SHA2-256 cut to 96 bits, from before RFC 4868. */
  AUTH_HMAC_SHA2_256_96: 1026,
} as const;

/** Transform Type 4, Key Exchange Method; Transform Types 6–12 (ADDKE) share it. */
export const KeyExchangeId = {
  NONE: 0,
  MODP_768: 1,
  MODP_1024: 2,
  MODP_1536: 5,
  MODP_2048: 14,
  MODP_3072: 15,
  MODP_4096: 16,
  MODP_6144: 17,
  MODP_8192: 18,
  ECP_256: 19,
  ECP_384: 20,
  ECP_521: 21,
  /** 1024-bit MODP with a 160-bit prime order subgroup; 23 and 24 likewise (RFC 5114). */
  MODP_1024_160: 22,
  MODP_2048_224: 23,
  MODP_2048_256: 24,
  ECP_192: 25,
  ECP_224: 26,
  BRAINPOOL_P224R1: 27, // RFC 6954
  BRAINPOOL_P256R1: 28,
  BRAINPOOL_P384R1: 29,
  BRAINPOOL_P512R1: 30,
  CURVE25519: 31, // RFC 8031
  CURVE448: 32,
  GOST3410_2012_256: 33, // RFC 9385
  GOST3410_2012_512: 34,
  ML_KEM_512: 35,
  ML_KEM_768: 36,
  ML_KEM_1024: 37,
  /** Private use, as OpenIKED numbers it. */
  SNTRUP761_X25519: 1035,
} as const;

/** Transform Type 5, Sequence Numbers (RFC 9827; Extended Sequence Numbers before). */
export const SequenceNumbersId = {
  /** 32-bit sequential numbers. */
  NO_ESN: 0,
  /** Partially transmitted 64-bit sequential numbers. */
  ESN: 1,
  UNSPECIFIED_32_BIT: 2,
} as const;

/** IKEv2 Transform Attribute Types. */
export const TransformAttributeType = {
  KEY_LENGTH: 14,
} as const;

/** The registry that names the ids of a transform type; undefined for a type we know nothing of. */
export function transformIds(type: number): Registry | undefined {
  if (type >= TransformType.ADDKE1 && type <= TransformType.ADDKE7) return KeyExchangeId;
  return idsByType[type];
}

const idsByType: Readonly<Record<number, Registry>> = {
  [TransformType.ENCR]: EncryptionId,
  [TransformType.PRF]: PrfId,
  [TransformType.INTEG]: IntegrityId,
  [TransformType.KE]: KeyExchangeId,
  [TransformType.ESN]: SequenceNumbersId,
};
