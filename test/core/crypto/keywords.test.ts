import { describe, expect, test } from 'vitest';
import {
  encryptionTransforms,
  explainKeyword,
  integrityTransforms,
  keyExchangeMethods,
  keywordOf,
  knownKeywords,
  parseKeyword,
  prfTransforms,
} from '../../../src/core/crypto/index.ts';

describe('keywords of proposals', () => {
  test.each([
    ['aes256gcm16', { type: 1, id: 20, keyLength: 256 }],
    ['aes128gcm128', { type: 1, id: 20, keyLength: 128 }],
    ['aes192gcm12', { type: 1, id: 19, keyLength: 192 }],
    ['aes128ctr', { type: 1, id: 13, keyLength: 128 }],
    ['aes256ccm8', { type: 1, id: 14, keyLength: 256 }],
    ['aes256ccm64', { type: 1, id: 14, keyLength: 256 }],
    ['aes256ccm128', { type: 1, id: 16, keyLength: 256 }],
    ['chacha20poly1305', { type: 1, id: 28 }],
    ['null', { type: 1, id: 11 }],
    ['aes', { type: 1, id: 12, keyLength: 128 }],
    ['aes256', { type: 1, id: 12, keyLength: 256 }],
    ['AES256', { type: 1, id: 12, keyLength: 256 }],
    [' sha256 ', { type: 3, id: 12 }],
    ['sha2_512', { type: 3, id: 14 }],
    ['sha1', { type: 3, id: 2 }],
    ['aesxcbc', { type: 3, id: 5 }],
    ['aescmac', { type: 3, id: 8 }],
    ['prfsha384', { type: 2, id: 6 }],
    ['prfaescmac', { type: 2, id: 8 }],
    ['prfaesxcbc', { type: 2, id: 4 }],
    ['ecp256', { type: 4, id: 19 }],
    ['curve25519', { type: 4, id: 31 }],
    ['x25519', { type: 4, id: 31 }],
    ['x448', { type: 4, id: 32 }],
    ['modp2048', { type: 4, id: 14 }],
    ['mlkem768', { type: 4, id: 36 }],
    ['none', { type: 4, id: 0 }],
    ['ke1_mlkem768', { type: 6, id: 36 }],
    ['ke7_x448', { type: 12, id: 32 }],
    ['ke2_none', { type: 7, id: 0 }],
    ['3des', { type: 1, id: 3 }],
    ['camellia', { type: 1, id: 23, keyLength: 128 }],
    ['camellia256', { type: 1, id: 23, keyLength: 256 }],
    ['camellia192ctr', { type: 1, id: 24, keyLength: 192 }],
    ['camellia128ccm8', { type: 1, id: 25, keyLength: 128 }],
    ['camellia128ccm96', { type: 1, id: 26, keyLength: 128 }],
    ['camellia256ccm128', { type: 1, id: 27, keyLength: 256 }],
    ['aes128gmac', { type: 1, id: 21, keyLength: 128 }],
    ['aes128ccm8iiv', { type: 1, id: 29, keyLength: 128 }],
    ['aes256gcm16iiv', { type: 1, id: 30, keyLength: 256 }],
    ['chacha20poly1305iiv', { type: 1, id: 31 }],
    ['aes192gmac_ah', { type: 3, id: 10 }],
    ['sha256_96', { type: 3, id: 1026 }],
    ['modp1024', { type: 4, id: 2 }],
    ['modp1536', { type: 4, id: 5 }],
    ['modp1024s160', { type: 4, id: 22 }],
    ['modp2048s224', { type: 4, id: 23 }],
    ['modp2048s256', { type: 4, id: 24 }],
    ['ecp192', { type: 4, id: 25 }],
    ['ecp224', { type: 4, id: 26 }],
    ['ecp224bp', { type: 4, id: 27 }],
    ['ecp256bp', { type: 4, id: 28 }],
    ['ecp384bp', { type: 4, id: 29 }],
    ['ecp512bp', { type: 4, id: 30 }],
    ['ke1_modp1024', { type: 6, id: 2 }],
    ['noesn', { type: 5, id: 0 }],
    ['esn', { type: 5, id: 1 }],
  ])('%s', (word, transform) => {
    expect(parseKeyword(word)).toEqual(transform);
    expect(explainKeyword(word)).toBeUndefined();
    expect(parseKeyword(keywordOf(transform))).toEqual(transform);
  });

  test.each([
    ['modp768', /never/],
    ['des', /never/],
    ['md5', /never/],
    ['prfmd5', /never/],
    ['ke1_modp768', /never/],
    ['blowfish', /must not be negotiated/],
    ['blowfish256', /must not be negotiated/],
    ['cast128', /must not be negotiated/],
    ['idea', /must not be negotiated/],
    ['rc5', /must not be negotiated/],
    ['chacha20poly1305compat', /RFC 7634/],
    ['sntrup761x25519', /OpenIKED/],
    ['ntru256', /mlkem/],
  ])('%s is not taken, and it is said why', (word, reason) => {
    expect(parseKeyword(word)).toBeUndefined();
    expect(explainKeyword(word)).toMatch(reason);
  });

  test.each([
    '',
    'aes257',
    'ke8_x25519',
    'ke0_x25519',
    'ke1_aes128',
    'ke1_esn',
    'ke1_',
    'aes128ctr ctr',
    '__proto__',
    'constructor',
    'sha'.repeat(50),
  ])('%j is unknown', (word) => {
    expect(parseKeyword(word)).toBeUndefined();
    expect(explainKeyword(word)).toBeUndefined();
  });

  test('every registered transform has a word, and comes back from it', () => {
    const all = [
      ...encryptionTransforms().flatMap(({ id, keyLengths, keyLengthAttribute }) =>
        keyLengths.map((bits) => (keyLengthAttribute === 'required' ? { type: 1, id, keyLength: bits } : { type: 1, id })),
      ),
      ...prfTransforms().map(({ id }) => ({ type: 2, id })),
      ...integrityTransforms().map(({ id }) => ({ type: 3, id })),
      ...keyExchangeMethods().flatMap(({ id }) => [4, 6, 7, 8, 9, 10, 11, 12].map((type) => ({ type, id }))),
    ];
    for (const transform of all) expect(parseKeyword(keywordOf(transform))).toEqual(transform);
    expect(new Set(all.map(keywordOf)).size).toBe(all.length);
  });

  test('every word that is listed parses, and no word means two things', () => {
    expect(new Set(knownKeywords()).size).toBe(knownKeywords().length);
    for (const word of knownKeywords()) expect([word, parseKeyword(word) !== undefined]).toEqual([word, true]);
  });

  test('what a peer sends is shown, whatever it is', () => {
    expect(keywordOf({ type: 4, id: 2 })).toBe('modp1024');
    expect(keywordOf({ type: 1, id: 23, keyLength: 256 })).toBe('camellia256');
    expect(keywordOf({ type: 1, id: 12 })).toBe('encr-12');
    expect(keywordOf({ type: 1, id: 12, keyLength: 512 })).toBe('encr-12-512');
    expect(keywordOf({ type: 1, id: 999 })).toBe('encr-999');
    expect(keywordOf({ type: 2, id: 5, keyLength: 256 })).toBe('prfsha256-256');
    expect(keywordOf({ type: 6, id: 999 })).toBe('ke1_ke-999');
    expect(keywordOf({ type: 13, id: 1 })).toBe('type13-1');
  });
});
