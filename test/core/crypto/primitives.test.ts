import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { equalSecrets, isAllZero, sha1, sha256, sha384, sha512, systemRandom, zeroise } from '../../../src/core/crypto/index.ts';

describe('secrets', () => {
  test('are equal when every octet is', () => {
    expect(equalSecrets(Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 3))).toBe(true);
    expect(equalSecrets(Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 4))).toBe(false);
    expect(equalSecrets(Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2))).toBe(false);
    expect(equalSecrets(new Uint8Array(0), new Uint8Array(0))).toBe(true);
    // Views into larger buffers compare their own octets.
    expect(equalSecrets(Uint8Array.of(9, 1, 2, 9).subarray(1, 3), Uint8Array.of(1, 2))).toBe(true);
  });

  test('are overwritten', () => {
    const [a, b] = [Uint8Array.of(1, 2), Uint8Array.of(3)];
    zeroise(a, undefined, b);
    expect([...a, ...b]).toEqual([0, 0, 0]);
    expect([isAllZero(a), isAllZero(Uint8Array.of(0, 1)), isAllZero(new Uint8Array(0))]).toEqual([true, false, true]);
  });
});

test('digests of "abc" (FIPS 180-4)', () => {
  expect(toHex(sha1(utf8('a'), utf8('bc')))).toBe('a9993e364706816aba3e25717850c26c9cd0d89d');
  expect(toHex(sha256(utf8('abc')))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(toHex(sha384(utf8('abc'))).slice(0, 16)).toBe('cb00753f45a35e8b');
  expect(toHex(sha512(utf8('abc'))).slice(0, 16)).toBe('ddaf35a193617aba');
});

describe('system randomness', () => {
  const random = systemRandom();
  test('draws have their lengths and do not repeat', () => {
    for (const draw of [random.nonce, random.cbcIv, random.secret]) {
      const [a, b] = [draw(32), draw(32)];
      expect([a.length, b.length]).toEqual([32, 32]);
      expect(a).not.toEqual(b);
    }
    expect(random.ikeSpi().length).toBe(8);
    expect(random.keySeed(31, 32)).toBeUndefined();
  });

  test('no nonce and no IV comes twice, and none can be foreseen (RFC 7296 §3.9, §3.14)', () => {
    const draws = Array.from({ length: 600 }, (_, i) => toHex(i % 2 === 0 ? random.nonce(32) : random.cbcIv(16)));
    expect(new Set(draws.map((draw) => draw.slice(0, 32))).size).toBe(draws.length);
    // octets as they come: none of the 256 is missing in 14,400
    expect(new Set(draws.flatMap((draw) => draw.match(/../g)!)).size).toBe(256);
  });

  test('SPIs of children are above 255 and within 32 bits', () => {
    const spis = Array.from({ length: 2000 }, () => random.childSpi());
    expect(spis.every((spi) => Number.isInteger(spi) && spi > 255 && spi < 2 ** 32)).toBe(true);
    expect(new Set(spis).size).toBeGreaterThan(1990);
  });

  test('jitter is spread over [0, 1)', () => {
    const draws = Array.from({ length: 4000 }, () => random.jitter());
    expect(draws.every((draw) => draw >= 0 && draw < 1)).toBe(true);
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    expect(mean).toBeGreaterThan(0.45);
    expect(mean).toBeLessThan(0.55);
  });
});
