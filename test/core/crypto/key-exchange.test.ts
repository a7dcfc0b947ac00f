import { getDiffieHellman } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../src/core/bytes/index.ts';
import { type KeyExchangeMethod, keyExchange, keyExchangeMethods, warmUpMlKem } from '../../../src/core/crypto/index.ts';
import { MODP_NUMBERS } from '../../../src/core/crypto/key-exchange/modp-numbers.ts';

const seedOf = (method: KeyExchangeMethod, from: number): Uint8Array =>
  new Uint8Array(method.seedLength).map((_, i) => (from + i * 29) & 0xff);
const refusal = expect.objectContaining({ name: 'PeerViolation', code: 'INVALID_PUBLIC_VALUE', notify: 7 });

describe.each(keyExchangeMethods().map((method) => [method.name, method] as const))('%s', (_, method) => {
  test('both ends come to the same secret', () => {
    const offer = method.offer();
    const answer = method.accept(offer.publicValue);
    expect(offer.method).toBe(method.id);
    expect([offer.publicValue.length, answer.publicValue.length]).toEqual([method.initiatorLength, method.responderLength]);
    expect(offer.finish(answer.publicValue)).toEqual(answer.sharedSecret);
    expect(answer.sharedSecret.some((octet) => octet !== 0)).toBe(true);
    for (const value of [offer.publicValue, answer.publicValue, answer.sharedSecret]) expect(value.constructor).toBe(Uint8Array);
  });

  test('a seed makes it repeatable, another seed makes it another key', () => {
    const [first, again, other] = [method.offer(seedOf(method, 1)), method.offer(seedOf(method, 1)), method.offer(seedOf(method, 2))];
    expect(again.publicValue).toEqual(first.publicValue);
    expect(other.publicValue).not.toEqual(first.publicValue);
    const answer = method.accept(first.publicValue, seedOf(method, 3));
    expect(method.accept(first.publicValue, seedOf(method, 3))).toEqual(answer);
    expect(first.finish(answer.publicValue)).toEqual(answer.sharedSecret);
    for (const seed of [new Uint8Array(method.seedLength), new Uint8Array(method.seedLength).fill(0xff)]) {
      const offer = method.offer(seed);
      const reply = method.accept(offer.publicValue, seed);
      expect(offer.finish(reply.publicValue)).toEqual(reply.sharedSecret);
    }
    expect(() => method.offer(new Uint8Array(method.seedLength - 1))).toThrow(/seed/);
    expect(() => method.accept(first.publicValue, new Uint8Array(method.seedLength + 1))).toThrow(/seed/);
  });

  test('values of another length are refused, by both ends', () => {
    const offer = method.offer();
    const answer = method.accept(offer.publicValue);
    for (const length of [0, 1, method.initiatorLength - 1, method.initiatorLength + 1]) {
      const bent = new Uint8Array(length);
      bent.set(offer.publicValue.subarray(0, length));
      expect(() => method.accept(bent)).toThrow(refusal);
    }
    for (const length of [0, 1, method.responderLength - 1, method.responderLength + 1]) {
      const bent = new Uint8Array(length);
      bent.set(answer.publicValue.subarray(0, length));
      expect(() => offer.finish(bent)).toThrow(refusal);
    }
    // The offer is none the worse for it.
    expect(offer.finish(answer.publicValue)).toEqual(answer.sharedSecret);
  });

  test('all zeros are refused where they are no value', () => {
    if (method.kind === 'kem') return expect(method.accept(new Uint8Array(method.initiatorLength)).sharedSecret.length).toBe(32);
    expect(() => method.accept(new Uint8Array(method.initiatorLength))).toThrow(refusal);
    expect(() => method.offer().finish(new Uint8Array(method.responderLength))).toThrow(refusal);
  });

  test('a destroyed offer finishes nothing', () => {
    const offer = method.offer();
    const answer = method.accept(offer.publicValue);
    offer.destroy();
    offer.destroy();
    expect(() => offer.finish(answer.publicValue)).toThrow(expect.objectContaining({ code: 'OFFER_DESTROYED' }));
  });
});

describe('RFC 6989', () => {
  test.each([2, 5, 14, 15, 16, 17, 18])('MODP group %i: 0, 1, p - 1, p and above are refused, 2 and p - 2 are not', (id) => {
    const method = keyExchange(id)!;
    const prime = BigInt(`0x${getDiffieHellman(`modp${id}`).getPrime('hex')}`);
    const encode = (value: bigint): Uint8Array =>
      Uint8Array.from(
        value
          .toString(16)
          .padStart(2 * method.initiatorLength, '0')
          .match(/../g)!,
        (pair) => Number.parseInt(pair, 16),
      );
    for (const value of [0n, 1n, prime - 1n, prime, prime + 1n, (1n << BigInt(8 * method.initiatorLength)) - 1n]) {
      expect(() => method.accept(encode(value), new Uint8Array(method.seedLength).fill(3))).toThrow(refusal);
    }
    for (const value of [2n, prime - 2n])
      expect(method.accept(encode(value), new Uint8Array(method.seedLength).fill(3)).sharedSecret.length).toBe(method.initiatorLength);
  });

  test.each([22, 23, 24] as const)('MODP group %i: what lies outside the subgroup is refused, by both ends (§2.2)', (id) => {
    const method = keyExchange(id)!;
    const group = MODP_NUMBERS[id];
    const [prime, order] = [group.prime, group.order].map((octets) => BigInt(`0x${toHex(octets)}`)) as [bigint, bigint];
    const encode = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(2 * method.initiatorLength, '0'));
    const power = (base: bigint, exponent: bigint): bigint => {
      let result = 1n;
      for (const bit of exponent.toString(2)) result = (result * result * (bit === '1' ? base : 1n)) % prime;
      return result;
    };
    // Of the order of the cofactor's part: in range, and the way to learn a private value modulo something small.
    const small = power(3n, order);
    expect(power(small, order)).not.toBe(1n);
    const offer = method.offer();
    for (const value of [0n, 1n, 2n, small, prime - 2n, prime - 1n, prime, prime + 1n]) {
      expect(() => method.accept(encode(value))).toThrow(refusal);
      expect(() => offer.finish(encode(value))).toThrow(refusal);
    }
    expect(method.accept(group.generator).sharedSecret.length).toBe(method.initiatorLength);
    const { publicValue } = method.accept(offer.publicValue);
    expect(offer.finish(publicValue).length).toBe(method.initiatorLength);
  });

  test('MODP secrets keep their leading zeros (RFC 7296 §2.14)', () => {
    const method = keyExchange(14)!;
    const offer = method.offer(seedOf(method, 9));
    // With the peer's value 2 and private value 1000 the secret is 2^1000: 125 octets and 131 of zeros in front.
    const two = new Uint8Array(256);
    two[255] = 2;
    const seed = new Uint8Array(method.seedLength);
    seed.set([1000 >> 8, 1000 & 0xff], seed.length - 2);
    const { sharedSecret } = method.accept(two, seed);
    expect(sharedSecret.length).toBe(256);
    expect(sharedSecret.findIndex((octet) => octet !== 0)).toBe(256 - 126);
    expect(offer.finish(two).length).toBe(256);
  });

  test.each([19, 20, 21, 25, 26, 27, 28, 29, 30])('ECP group %i: points off the curve are refused', (id) => {
    const method = keyExchange(id)!;
    const offer = method.offer();
    for (let at = 0; at < method.initiatorLength; at += 7) {
      const bent = new Uint8Array(method.offer().publicValue);
      bent[at]! ^= 0x04;
      expect(() => offer.finish(bent)).toThrow(refusal);
      expect(() => method.accept(bent)).toThrow(refusal);
    }
    expect(() => method.accept(new Uint8Array(method.initiatorLength).fill(0xff))).toThrow(refusal);
  });
});

test('a forged ML-KEM ciphertext yields another secret, not an error (FIPS 203 §6.3)', () => {
  for (const id of [35, 36, 37]) {
    const method = keyExchange(id)!;
    const offer = method.offer();
    const answer = method.accept(offer.publicValue);
    const bent = new Uint8Array(answer.publicValue);
    bent[100]! ^= 1;
    const secret = offer.finish(bent);
    expect(secret.length).toBe(32);
    expect(secret).not.toEqual(answer.sharedSecret);
  }
});

test('warming up ML-KEM has no effect but time', () => {
  expect(warmUpMlKem()).toBeUndefined();
});
