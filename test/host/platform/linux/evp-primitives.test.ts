import { describe, expect, test } from 'vitest';
import { toHex } from '../../../../src/core/bytes/index.ts';
import { keyExchange, keyExchangeMethods, type PrfTransform, prfPlus, prfTransforms } from '../../../../src/core/crypto/index.ts';
import { createEvpMontgomery } from '../../../../src/host/platform/linux/evp-montgomery.ts';
import { evpPrimitives } from '../../../../src/host/platform/linux/evp-primitives.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { openEvp } from '../../../../src/host/platform/linux/openssl.ts';
import { providerAgreement } from '../../../../src/host/platform/linux/provider-montgomery.ts';
import { connection, End, settle } from '../../../core/ike/two-ends.ts';
import { describeWithNative, watchedNative } from '../../../support/native.ts';

describeWithNative('OpenSSL without objects', (native) => {
  const { primitives, keyExchange: fast } = evpPrimitives(native)!;
  const octets = (length: number, from = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => from + 7 * i);
  const known = prfTransforms().filter(({ id, compute }) => primitives.prf(id)!.compute !== compute);

  test('are the PRFs over HMAC; the others stay with core/crypto', () => {
    expect(known.map(({ id }) => id)).toEqual([2, 5, 6, 7]);
  });

  test.each(known.map((transform) => [transform.name, transform] as [string, PrfTransform]))('%s computes the same octets', (_, slow) => {
    const quick = primitives.prf(slow.id)!;
    for (const keyLength of [0, 1, 16, 20, 32, 64, 65, 128, 129, 512, 9000]) {
      for (const lengths of [[], [0], [1], [3, 0, 80], [32, 64, 1], [700, 700], [8000, 100], [9000]]) {
        const parts = lengths.map((length, i) => octets(length, i));
        expect(toHex(quick.compute(octets(keyLength, 3), ...parts))).toBe(toHex(slow.compute(octets(keyLength, 3), ...parts)));
      }
    }
    expect(toHex(prfPlus(quick, octets(32), octets(80), 10 * slow.outputLength + 1))).toBe(
      toHex(prfPlus(slow, octets(32), octets(80), 10 * slow.outputLength + 1)),
    );
  });

  test('what a PRF gives out is nobody else’s, and what it took is untouched', () => {
    const f = primitives.prf(5)!;
    const key = octets(32);
    const first = f.compute(key, key.subarray(3, 20));
    const kept = toHex(first);
    f.compute(octets(20, 9), octets(40));
    expect(toHex(first)).toBe(kept);
    expect(toHex(key)).toBe(toHex(octets(32)));
    expect(first.buffer.byteLength).toBe(32);
  });

  test('ids that nobody knows are not known here either', () => {
    expect(primitives.prf(1)).toBeUndefined();
    expect(fast(0)).toBeUndefined();
    // these are left to core/crypto
    expect(keyExchangeMethods().flatMap(({ id }) => (fast(id) === undefined ? [] : [id]))).toEqual([31, 32]);
  });

  describe.each([
    [31, 'as it comes', fast(31)!],
    [32, 'as it comes', fast(32)!],
    [31, 'by EVP', createEvpMontgomery(native, openEvp(native)!, native.allocate(8192), 31, false)!],
    [32, 'by EVP', createEvpMontgomery(native, openEvp(native)!, native.allocate(8192), 32, false)!],
  ])('key exchange %i, %s', (id, _how, quick) => {
    const slow = keyExchange(id)!;

    test('agrees with the other end, with a pair of its own each time', () => {
      const seen = new Set<string>();
      for (let i = 0; i < 20; i++) {
        const offer = slow.offer();
        const { publicValue, sharedSecret } = quick.accept(offer.publicValue);
        expect(toHex(offer.finish(publicValue))).toBe(toHex(sharedSecret));
        expect([publicValue, sharedSecret].map(({ length, buffer }) => [length, buffer.byteLength])).toEqual(
          Array(2).fill([slow.responderLength, slow.responderLength]),
        );
        seen.add(toHex(publicValue)).add(toHex(sharedSecret));
      }
      expect(seen.size).toBe(40);
    });

    test('with a seed it is what it always was', () => {
      const seed = octets(slow.seedLength);
      const peer = slow.offer(octets(slow.seedLength, 5)).publicValue;
      expect(quick.accept(peer, seed)).toEqual(slow.accept(peer, seed));
      expect(quick.offer(seed).publicValue).toEqual(slow.offer(seed).publicValue);
    });

    test.each<[string, Uint8Array]>([
      ['zero', new Uint8Array(slow.initiatorLength)],
      ['one', Uint8Array.of(1, ...new Uint8Array(slow.initiatorLength - 1))],
      ['too short', octets(slow.initiatorLength - 1)],
      ['too long', octets(slow.initiatorLength + 1)],
      ['empty', new Uint8Array(0)],
    ])('refuses a public value that is %s, as core/crypto does, and goes on', (_what, value) => {
      const said = (accept: (value: Uint8Array) => unknown): unknown => {
        try {
          return accept(value);
        } catch (error) {
          return error;
        }
      };
      const error = said((v) => quick.accept(v)) as Error & { code: string };
      expect(error.code).toBe('INVALID_PUBLIC_VALUE');
      expect(error.message).toBe((said((v) => slow.accept(v)) as Error).message);
      const offer = slow.offer();
      const { publicValue, sharedSecret } = quick.accept(offer.publicValue);
      expect(offer.finish(publicValue)).toEqual(sharedSecret);
    });
  });

  describe('below EVP', () => {
    const place = native.allocate(8192);
    const agreement = (of: Native): unknown => providerAgreement(of, openEvp(of)!, place, keyExchange(31)!);

    test.runIf(process.versions.openssl?.startsWith('3.0.'))('curves are computed where OpenSSL is the one that Node brings', () => {
      expect(agreement(native)).toBeTypeOf('function');
      expect(place.octets.every((octet) => octet === 0)).toBe(true);
    });

    test.each<[string, (...at: number[]) => number]>([
      ['does nothing', () => 1],
      ['refuses all', () => 0],
      [
        'gives the scalar for the result',
        (to, scalar) => Number(place.octets.copyWithin(to - place.address, scalar - place.address, scalar - place.address + 32) && 1),
      ],
    ])('what %s is not used', (_what, multiply) => {
      expect(agreement({ ...native, functionAt: () => multiply as never })).toBeUndefined();
      expect(place.octets.every((octet) => octet === 0)).toBe(true);
    });

    test('is nothing where Node keeps the functions to itself', () => {
      const functions = ((prototypes: Record<string, string>) =>
        'dlsym' in prototypes ? { dlsym: () => 0 } : native.functions(prototypes)) as Native['functions'];
      expect(agreement({ ...native, functions })).toBeUndefined();
    });
  });

  test('of keys and secrets nothing stays in the memory that native code works on', () => {
    const { watched, places, holds } = watchedNative(native);
    const computing = evpPrimitives(watched)!;
    const [key, data] = [octets(32, 77), octets(40, 99)];
    const output = computing.primitives.prf(5)!.compute(key, data);
    expect([key, data, output].map(holds)).toEqual([false, false, false]);
    const offer = keyExchange(31)!.offer();
    const { sharedSecret } = computing.keyExchange(31)!.accept(offer.publicValue);
    expect(holds(sharedSecret)).toBe(false);
    expect(places.every(({ octets: all }) => all.length !== 8192 || all.every((octet) => octet === 0))).toBe(true);
  });

  test('an IKE SA and its child come up between an end that computes so and one that does not', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')], primitives, keyExchange: fast });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    for (const end of [left, right])
      expect(end.endpoint.info()[0]).toMatchObject({ state: 'established', children: [{ state: 'installed' }] });
  });
});
