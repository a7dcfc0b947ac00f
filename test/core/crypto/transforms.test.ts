import { describe, expect, test } from 'vitest';
import {
  encryption,
  encryptionTransforms,
  formatCapabilities,
  integrity,
  integrityTransforms,
  keyExchange,
  keyExchangeMethods,
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
    expect([1, 2, 4, 5, 6, 7, 9].map(encryption)).toEqual(new Array(7).fill(undefined));
    expect([1, 3].map(prf)).toEqual([undefined, undefined]);
    expect([1, 3, 4, 6, 7].map(integrity)).toEqual(new Array(5).fill(undefined));
    expect([1, 22].map(keyExchange)).toEqual([undefined, undefined]);
  });

  test('no number outside the tables answers, private ones included', () => {
    for (let id = 0; id < 65536; id++) {
      const method = keyExchange(id);
      if (method !== undefined) expect(method.id).toBe(id);
    }
    expect(keyExchange(1025)).toBeUndefined();
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
    expect(formatCapabilities(rows)).toMatch(/^yes {2}ENCR_AES_GCM_16 +aes128gcm16 aes192gcm16 aes256gcm16 +OpenSSL/m);
  });
});
