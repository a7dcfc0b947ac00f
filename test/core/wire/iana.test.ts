import { describe, expect, test } from 'vitest';
import * as iana from '../../../src/core/wire/iana.ts';
import {
  AuthMethod,
  CertEncoding,
  ConfigAttributeType,
  EncryptionId,
  ExchangeType,
  HashId,
  IdType,
  IntegrityId,
  isErrorNotify,
  KeyExchangeId,
  NotifyType,
  nameOf,
  PayloadType,
  PrfId,
  registeredName,
  SequenceNumbersId,
  TransformType,
  transformIds,
} from '../../../src/core/wire/iana.ts';

const registries = Object.entries(iana).flatMap(([name, value]): [string, iana.Registry][] =>
  typeof value === 'object' ? [[name, value]] : [],
);

describe('every registry', () => {
  test.each(registries)('%s gives each number one name', (_, registry) => {
    const numbers = Object.values(registry);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const [name, number] of Object.entries(registry)) expect(nameOf(registry, number)).toBe(name);
  });

  test.each(registries)('%s prints a number it does not know as a number', (_, registry) => {
    expect(nameOf(registry, 60_001)).toBe('60001');
    expect(registeredName(registry, 60_001)).toBeUndefined();
  });
});

describe('numbers of RFC 7296', () => {
  test('exchange types (§3.1)', () => {
    expect([ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL]).toEqual([
      34, 35, 36, 37,
    ]);
  });

  test('payload types (§3.2) run from 33 to 48', () => {
    const names = ['SA', 'KE', 'IDi', 'IDr', 'CERT', 'CERTREQ', 'AUTH', 'Nonce', 'N', 'D', 'V', 'TSi', 'TSr', 'SK', 'CP', 'EAP'];
    expect(names.map((name) => PayloadType[name as keyof typeof PayloadType])).toEqual(names.map((_, i) => 33 + i));
  });

  test('transforms (§3.3.2)', () => {
    expect(EncryptionId).toMatchObject({ ENCR_3DES: 3, ENCR_NULL: 11, ENCR_AES_CBC: 12, ENCR_AES_CTR: 13 });
    expect(PrfId).toMatchObject({ PRF_HMAC_MD5: 1, PRF_HMAC_SHA1: 2 });
    expect(IntegrityId).toMatchObject({ NONE: 0, AUTH_HMAC_MD5_96: 1, AUTH_HMAC_SHA1_96: 2, AUTH_AES_XCBC_96: 5 });
    expect(KeyExchangeId).toMatchObject({ NONE: 0, MODP_768: 1, MODP_1024: 2, MODP_1536: 5, MODP_2048: 14, MODP_8192: 18 });
    expect(SequenceNumbersId).toMatchObject({ NO_ESN: 0, ESN: 1 });
  });

  test('identities, certificates and authentication (§3.5, §3.6, §3.8)', () => {
    expect(IdType).toMatchObject({
      ID_IPV4_ADDR: 1,
      ID_FQDN: 2,
      ID_RFC822_ADDR: 3,
      ID_IPV6_ADDR: 5,
      ID_DER_ASN1_DN: 9,
      ID_DER_ASN1_GN: 10,
      ID_KEY_ID: 11,
    });
    expect(CertEncoding).toMatchObject({ X509_SIGNATURE: 4, HASH_AND_URL_X509: 12, HASH_AND_URL_X509_BUNDLE: 13 });
    expect(AuthMethod).toMatchObject({ RSA_DIGITAL_SIGNATURE: 1, SHARED_KEY_MIC: 2, DSS_DIGITAL_SIGNATURE: 3 });
  });

  test('notifies (§3.10.1): errors and status part at 16384', () => {
    expect(NotifyType).toMatchObject({
      UNSUPPORTED_CRITICAL_PAYLOAD: 1,
      INVALID_SYNTAX: 7,
      NO_PROPOSAL_CHOSEN: 14,
      INVALID_KE_PAYLOAD: 17,
    });
    expect(NotifyType).toMatchObject({ AUTHENTICATION_FAILED: 24, TS_UNACCEPTABLE: 38, TEMPORARY_FAILURE: 43, CHILD_SA_NOT_FOUND: 44 });
    expect(NotifyType).toMatchObject({ INITIAL_CONTACT: 16384, COOKIE: 16390, REKEY_SA: 16393, NON_FIRST_FRAGMENTS_ALSO: 16395 });
    expect([43, 16383].map(isErrorNotify)).toEqual([true, true]);
    expect([16384, 40960].map(isErrorNotify)).toEqual([false, false]);
  });
});

test('numbers of what came after RFC 7296', () => {
  expect(ExchangeType).toMatchObject({ IKE_SESSION_RESUME: 38, IKE_INTERMEDIATE: 43, IKE_FOLLOWUP_KE: 44 });
  expect(PayloadType).toMatchObject({ SKF: 53, PS: 54 });
  expect([TransformType.ADDKE1, TransformType.ADDKE7]).toEqual([6, 12]);
  expect(KeyExchangeId).toMatchObject({
    ECP_256: 19,
    ECP_521: 21,
    BRAINPOOL_P256R1: 28,
    CURVE25519: 31,
    CURVE448: 32,
    ML_KEM_512: 35,
    ML_KEM_768: 36,
    ML_KEM_1024: 37,
  });
  expect(EncryptionId).toMatchObject({ ENCR_AES_CCM_8: 14, ENCR_AES_GCM_16: 20, ENCR_CHACHA20_POLY1305: 28, ENCR_AES_GCM_16_IIV: 30 });
  expect(NotifyType).toMatchObject({
    STATE_NOT_FOUND: 47,
    TS_MAX_QUEUE: 48,
    MOBIKE_SUPPORTED: 16396,
    COOKIE2: 16401,
    REDIRECT: 16407,
    TICKET_OPAQUE: 16413,
  });
  expect(NotifyType).toMatchObject({
    IKEV2_FRAGMENTATION_SUPPORTED: 16430,
    SIGNATURE_HASH_ALGORITHMS: 16431,
    USE_PPK: 16435,
    INTERMEDIATE_EXCHANGE_SUPPORTED: 16438,
  });
  expect(NotifyType).toMatchObject({
    ADDITIONAL_KEY_EXCHANGE: 16441,
    USE_AGGFRAG: 16442,
    SUPPORTED_AUTH_METHODS: 16443,
    SA_RESOURCE_INFO: 16444,
    USE_PPK_INT: 16445,
    PPK_IDENTITY_KEY: 16446,
  });
  expect(ConfigAttributeType).toMatchObject({
    INTERNAL_DNS_DOMAIN: 25,
    INTERNAL_DNSSEC_TA: 26,
    ENCDNS_IP4: 27,
    ENCDNS_IP6: 28,
    ENCDNS_DIGEST_INFO: 29,
  });
  expect(AuthMethod).toMatchObject({ NULL_AUTHENTICATION: 13, DIGITAL_SIGNATURE: 14 });
  expect(HashId).toMatchObject({ SHA1: 1, SHA2_256: 2, SHA2_512: 4, IDENTITY: 5 });
});

test('additional key exchanges are named by the registry of key exchange methods (RFC 9370 §2.2.1)', () => {
  for (let type: number = TransformType.ADDKE1; type <= TransformType.ADDKE7; type++) expect(transformIds(type)).toBe(KeyExchangeId);
  expect(transformIds(99)).toBeUndefined();
});
