import { describe, expect, test } from 'vitest';
import {
  encryption,
  encryptionTransforms,
  formatCapabilities,
  integrity,
  integrityTransforms,
  keyExchange,
  keyExchangeMethods,
  lackOf,
  optIn,
  parseKeyword,
  prf,
  prfPlus,
  prfTransforms,
  probeCapabilities,
} from '../../../src/core/crypto/index.ts';
import { EncryptionId, IntegrityId, KeyExchangeId, nameOf, PrfId, type Registry } from '../../../src/core/wire/iana.ts';

const named = (registry: Registry, transforms: readonly { id: number; name: string }[]) =>
  transforms.map(({ id, name }) => [id, name, nameOf(registry, id)]).filter(([, ours, registered]) => ours !== registered);

describe('tables', () => {
  test('names and numbers are those of the IANA registries', () => {
    expect(named(EncryptionId, encryptionTransforms())).toEqual([]);
    expect(named(PrfId, prfTransforms())).toEqual([]);
    expect(named(IntegrityId, integrityTransforms())).toEqual([]);
    expect(named(KeyExchangeId, keyExchangeMethods())).toEqual([]);
  });

  test('what RFC 8247 and RFC 8221 make a MUST is there', () => {
    for (const id of [12, 20]) expect(encryption(id)).toBeDefined();
    for (const id of [2, 5]) expect(prf(id)).toBeDefined();
    for (const id of [2, 12]) expect(integrity(id)).toBeDefined();
    expect(keyExchange(14)).toBeDefined();
    // RFC 8221 §5: NULL for ESP.
    expect(encryption(11)).toMatchObject({ forIke: false });
  });

  test('what RFC 8247 and RFC 8221 make a MUST NOT is not', () => {
    expect([1, 2, 4, 5, 6, 7, 8, 9].map(encryption)).toEqual(new Array(8).fill(undefined));
    expect([1, 3].map(prf)).toEqual([undefined, undefined]);
    expect([1, 3, 4, 6, 7].map(integrity)).toEqual(new Array(5).fill(undefined));
    expect(keyExchange(1)).toBeUndefined();
    // RFC 8247 §2.4 says so of 22 as well: only a connection that permits what is weak, and names it, speaks it.
    expect(optIn({ type: 4, id: 22 })).toMatchObject({ legacy: true, why: expect.stringContaining('MUST NOT') });
  });

  test('no number outside the tables answers, private ones included', () => {
    for (let id = 0; id < 65536; id++) {
      const method = keyExchange(id);
      if (method !== undefined) expect(method.id).toBe(id);
    }
    expect(keyExchange(1025)).toBeUndefined();
  });
});

describe('opt-in', () => {
  test('what needs leave besides its name is what can be broken or cannot be shown not to be', () => {
    const legacy = (type: number, transforms: readonly { readonly id: number }[]) =>
      transforms.filter(({ id }) => optIn({ type, id })?.legacy === true).map(({ id }) => id);
    expect(legacy(1, encryptionTransforms())).toEqual([3]);
    expect(legacy(2, prfTransforms())).toEqual([2]);
    expect(legacy(3, integrityTransforms())).toEqual([2]);
    expect(legacy(4, keyExchangeMethods())).toEqual([2, 5, 22, 23, 24, 25, 26]);
    expect(optIn({ type: 7, id: 2 })).toBe(optIn({ type: 4, id: 2 }));
  });

  test('every entry is that of a transform that is spoken, and what RFC 8247 recommends has none', () => {
    const spoken = [encryption, prf, integrity, keyExchange] as const;
    for (let type = 1; type <= 4; type++)
      for (let id = 0; id < 2000; id++)
        if (optIn({ type, id }) !== undefined) expect([type, id, spoken[type - 1]!(id) !== undefined]).toEqual([type, id, true]);
    for (const [type, id] of [
      [1, 12],
      [1, 20],
      [1, 28],
      [2, 5],
      [2, 7],
      [3, 12],
      [3, 14],
      [4, 14],
      [4, 19],
      [4, 31],
    ] as const)
      expect([type, id, optIn({ type, id })]).toEqual([type, id, undefined]);
  });

  test('what is for ESP or AH alone says so', () => {
    expect(encryptionTransforms().flatMap(({ id, forIke }) => (forIke ? [] : [id]))).toEqual([11, 21, 29, 30, 31]);
    expect(integrityTransforms().flatMap(({ id, forEsp }) => (forEsp ? [] : [id]))).toEqual([9, 10, 11]);
  });
});

describe('prf+', () => {
  const seed = new Uint8Array(40).fill(9);
  test.each(prfTransforms().map((transform) => [transform.name, transform] as const))(
    '%s: a shorter stream is the beginning of a longer one',
    (_, transform) => {
      const key = new Uint8Array(transform.keyLength).fill(5);
      const long = prfPlus(transform, key, seed, 300);
      for (const length of [0, 1, transform.outputLength, transform.outputLength + 1, 299])
        expect(prfPlus(transform, key, seed, length)).toEqual(long.slice(0, length));
      expect(transform.compute(key).length).toBe(transform.outputLength);
    },
  );

  test('ends after 255 blocks', () => {
    const transform = prf(8)!;
    const key = new Uint8Array(16);
    expect(prfPlus(transform, key, seed, 255 * 16).length).toBe(4080);
    expect(() => prfPlus(transform, key, seed, 255 * 16 + 1)).toThrow(expect.objectContaining({ code: 'PRF_PLUS_EXHAUSTED' }));
  });

  test('only the PRFs over AES take half of each nonce for SKEYSEED', () => {
    expect(
      prfTransforms()
        .filter((transform) => transform.fixedKeyLength)
        .map(({ id }) => id),
    ).toEqual([4, 8]);
  });
});

describe('capabilities', () => {
  test('everything that is registered works here, and the row says through what', () => {
    const rows = probeCapabilities();
    const all = [...encryptionTransforms(), ...prfTransforms(), ...integrityTransforms(), ...keyExchangeMethods()];
    expect(rows.map(({ name }) => name)).toEqual(all.map(({ name }) => name));
    expect(rows.filter(({ available }) => !available)).toEqual([]);
    expect(rows.find(({ id, type }) => type === 1 && id === 20)!.provider).toMatch(/^OpenSSL \d+\.\d+\.\d+$/);
    expect(formatCapabilities(rows).split('\n')).toHaveLength(rows.length);
    const words = rows.flatMap(({ type, id, keywords }) => keywords.map((word) => ({ type, id, word })));
    for (const { word } of words) expect([word, lackOf(parseKeyword(word)!)]).toEqual([word, undefined]);
    expect(formatCapabilities(rows)).toMatch(/^yes {2}ENCR_AES_GCM_16 +aes128gcm16 aes192gcm16 aes256gcm16 +OpenSSL/m);
  });

  test('what OpenSSL lacks is named: ciphers, curves, hashes, and the parts of CCM', () => {
    const have = new Set(['aes-128-gcm', 'prime256v1', 'camellia-128-ctr']);
    const lack = (word: string) => lackOf(parseKeyword(word)!, have);
    expect(lack('aes128gcm16')).toBeUndefined();
    expect(lack('ecp256')).toBeUndefined();
    expect(lack('x25519')).toBeUndefined();
    expect(lack('noesn')).toBeUndefined();
    expect(lack('3des')).toMatch(/^is not in the OpenSSL \d+\.\d+\.\d+ of this Node, which lacks des-ede3-cbc$/);
    expect(lack('ecp384bp')).toMatch(/brainpoolP384r1/);
    expect(lack('ke1_ecp384bp')).toMatch(/brainpoolP384r1/);
    expect(lack('camellia128ccm8')).toMatch(/lacks camellia-128-cbc$/);
    expect(lack('camellia256ccm8')).toMatch(/lacks camellia-256-ctr and camellia-256-cbc$/);
    expect(lack('sha512')).toMatch(/sha512/);
    expect(lack('prfsha384')).toMatch(/sha384/);
    expect(lackOf({ type: 1, id: 999 }, have)).toBeUndefined();
  });
});
