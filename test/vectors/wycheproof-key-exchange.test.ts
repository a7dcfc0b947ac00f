import { expect, test } from 'vitest';
import { concat, equalBytes, PeerViolation, toHex } from '../../src/core/bytes/index.ts';
import { type KeyExchangeMethod, type KeyExchangeOffer, keyExchange } from '../../src/core/crypto/index.ts';
import { describeWithShared } from '../support/shared.ts';
import { type Case, hex, tally, text } from './wycheproof-files.ts';

/**
 * The shared secret; undefined when the peer's value is refused in the way the contract says. The initiator's side computes every case,
 * from one offer per private value, of which a file has a few; the responder's every eighth, because both end in the same call and the
 * large curves are slow.
 */
function agree(method: KeyExchangeMethod, privateValue: Uint8Array, peer: Uint8Array, tcId: number): Uint8Array | undefined {
  const refusals: unknown[] = [];
  const attempt = (compute: () => Uint8Array): Uint8Array | undefined => {
    try {
      return compute();
    } catch (error) {
      refusals.push(error);
      return undefined;
    }
  };
  const agreed = attempt(() => offerOf(method, privateValue).finish(peer));
  if (tcId % 8 === 0) expect(attempt(() => method.accept(peer, privateValue).sharedSecret)).toEqual(agreed);
  for (const refusal of refusals) {
    expect(refusal).toBeInstanceOf(PeerViolation);
    expect(refusal).toMatchObject({ code: 'INVALID_PUBLIC_VALUE', notify: 7 });
  }
  return agreed;
}

const offers = new Map<string, KeyExchangeOffer>();
function offerOf(method: KeyExchangeMethod, privateValue: Uint8Array): KeyExchangeOffer {
  const key = `${method.id} ${toHex(privateValue)}`;
  const offer = offers.get(key) ?? method.offer(privateValue);
  offers.set(key, offer);
  return offer;
}

function padded(value: Uint8Array, length: number): Uint8Array {
  const significant = value.subarray(Math.max(0, value.length - length));
  return concat(new Uint8Array(length - significant.length), significant);
}

const matches = (secret: Uint8Array | undefined, vector: Case): boolean =>
  secret !== undefined && equalBytes(secret, hex(vector, 'shared'));

describeWithShared('Wycheproof: key exchange', 'vectors/wycheproof', () => {
  for (const [file, id] of [
    ['ecdh_secp256r1_ecpoint.json', 19],
    ['ecdh_secp384r1_ecpoint.json', 20],
    ['ecdh_secp521r1_ecpoint.json', 21],
  ] as const) {
    test(`${file} as x | y`, () => {
      const method = keyExchange(id)!;
      const result = tally(file, (_, vector) => {
        const point = hex(vector, 'public');
        // RFC 5903 §7 has no place for the octet in front. Compressed points (acceptable) cannot be told in it: refused for their length.
        return matches(
          agree(method, padded(hex(vector, 'private'), method.seedLength), point[0] === 4 ? point.subarray(1) : point, vector.tcId),
          vector,
        );
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(200);
    });
  }

  for (const [file, id, spki] of [
    ['ecdh_brainpoolP256r1.json', 28, '305a301406072a8648ce3d020106092b240303020801010703420004'],
    ['ecdh_brainpoolP384r1.json', 29, '307a301406072a8648ce3d020106092b240303020801010b03620004'],
    ['ecdh_brainpoolP512r1.json', 30, '30819b301406072a8648ce3d020106092b240303020801010d0381820004'],
  ] as const) {
    test(`${file} as x | y`, () => {
      const method = keyExchange(id)!;
      const result = tally(
        file,
        (_, vector) => {
          const point = hex(vector, 'public').subarray(spki.length / 2);
          return matches(agree(method, padded(hex(vector, 'private'), method.seedLength), point, vector.tcId), vector);
        },
        {
          skip: (_, vector) => (text(vector, 'public').startsWith(spki) ? undefined : 'IKE sends the point alone, in no other encoding'),
        },
      );
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(100);
    });
  }

  for (const [file, id] of [
    ['x25519.json', 31],
    ['x448.json', 32],
  ] as const) {
    test(`${file}: a zero secret is refused, twist and non-canonical values are computed with`, () => {
      const method = keyExchange(id)!;
      const result = tally(
        file,
        (_, vector) => matches(agree(method, hex(vector, 'private'), hex(vector, 'public'), vector.tcId), vector),
        {
          // RFC 7748 §5: what is not reduced MUST be accepted, and the twist is harmless; RFC 8031 §3.2: a zero secret MUST abort.
          acceptable: (vector) => !vector.flags!.includes('ZeroSharedSecret'),
        },
      );
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(300);
    });
  }
});

describeWithShared('Wycheproof: ML-KEM', 'vectors/wycheproof', () => {
  for (const [size, id] of [
    [512, 35],
    [768, 36],
    [1024, 37],
  ] as const) {
    const method = keyExchange(id)!;

    test(`mlkem_${size}: key generation and decapsulation`, () => {
      const result = tally(`mlkem_${size}.json`, (_, vector) => {
        const seed = hex(vector, 'seed');
        if (seed.length !== method.seedLength) {
          expect(() => method.offer(seed)).toThrow(/seed/);
          return false;
        }
        const offer = method.offer(seed);
        if (vector.result === 'valid') expect(offer.publicValue).toEqual(hex(vector, 'ek'));
        try {
          return equalBytes(offer.finish(hex(vector, 'c')), hex(vector, 'K'));
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_PUBLIC_VALUE' });
          return false;
        }
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(20);
    });

    test(`mlkem_${size}: encapsulation, with the check of the key's coefficients`, () => {
      const result = tally(`mlkem_${size}_encaps.json`, (_, vector) => {
        try {
          const { publicValue, sharedSecret } = method.accept(hex(vector, 'ek'), concat(hex(vector, 'm'), new Uint8Array(32)));
          return equalBytes(publicValue, hex(vector, 'c')) && equalBytes(sharedSecret, hex(vector, 'K'));
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_PUBLIC_VALUE', notify: 7 });
          return false;
        }
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(20);
    });

    test(`mlkem_${size}: key from seed`, () => {
      const result = tally(`mlkem_${size}_keygen_seed.json`, (_, vector) =>
        equalBytes(method.offer(hex(vector, 'seed')).publicValue, hex(vector, 'ek')),
      );
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(10);
    });
  }
});
