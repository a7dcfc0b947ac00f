import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { effectiveKeyLength, encryption } from '../../../../src/core/crypto/index.ts';
import { EvpAead } from '../../../../src/host/platform/linux/evp-aead.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { KeyStore } from '../../../../src/host/platform/linux/key-store.ts';
import { type Evp, openEvp } from '../../../../src/host/platform/linux/openssl.ts';
import { ProviderGcm } from '../../../../src/host/platform/linux/provider-gcm.ts';
import { describeWithNative } from '../../../support/native.ts';

const HEAD = 8;

describeWithNative('AES-GCM below EVP', (native) => {
  const evp = openEvp(native)!;
  const store = new KeyStore(native);
  const found = ProviderGcm.find(native, evp, store);

  test('is there in the series of OpenSSL that it was written for, and in no other', () => {
    expect(found !== undefined).toBe(/^3\.0\./.test(process.versions.openssl!));
  });

  test('is not asked for where a function is missing, or where EVP has its ciphers from another provider', () => {
    const without = (name: string): Native => ({
      ...native,
      functions: (prototypes) => {
        if (name in prototypes) throw new Error(name);
        return native.functions(prototypes);
      },
    });
    expect(ProviderGcm.find(without('ossl_gcm_one_shot'), evp, store)).toBeUndefined();
    const fips: Native = {
      ...native,
      functions: <T extends object>(prototypes: { readonly [Name in keyof T]: string }): T => {
        const bound = native.functions<T>(prototypes);
        return 'OSSL_PROVIDER_get0_name' in bound ? { ...bound, OSSL_PROVIDER_get0_name: () => 'fips' } : bound;
      },
    };
    expect(ProviderGcm.find(fips, evp, store)).toBeUndefined();
  });

  test('one that does not seal as EVP does is not used', () => {
    const wrong: Native = {
      ...native,
      functions: <T extends object>(prototypes: { readonly [Name in keyof T]: string }): T => {
        const bound = native.functions<T>(prototypes);
        if (!('ossl_gcm_one_shot' in bound)) return bound;
        const whole = bound.ossl_gcm_one_shot as (...args: number[]) => number;
        // as if a later version took the length of what is authenticated for another
        return { ...bound, ossl_gcm_one_shot: (...args: number[]) => whole(...args.with(2, 4)) };
      },
    };
    const keys = keysOf(16, 128);
    const gcm = ProviderGcm.find(wrong, evp, store);
    expect(gcm?.create(keys.transform, cipherOf(evp, 16, 128), keys.key, keys.salt)).toBeUndefined();
  });

  describe.runIf(found !== undefined)('as found here', () => {
    test('leaves short tags and other modes to EVP', () => {
      for (const number of [14, 15, 18, 19, 28]) {
        const bits = number === 14 || number === 15 ? 128 : 256;
        const { transform, key, salt } = keysOf(number, encryption(number)!.mode === 'ccm' ? 128 : bits);
        expect(found!.create(transform, 0, key, salt)).toBeUndefined();
      }
    });

    test.each([128, 192, 256])('is EVP’s with keys of %i bits, packet by packet, with and without ESN', (bits) => {
      for (const number of [20, 30]) {
        const { transform, key, salt } = keysOf(number, bits);
        const cipher = cipherOf(evp, number, bits);
        const [ours, theirs] = [found!.create(transform, cipher, key, salt)!, new EvpAead(evp, transform, cipher, key, salt)];
        for (let length = 0; length < 2000; length += length < 70 ? 1 : 97) {
          const high = length % 3 === 0 ? undefined : length * 0x01000193;
          const end = HEAD + ours.ivLength + length;
          const plain = Uint8Array.from({ length: end + 16 }, (_, i) => i * length + 3);
          const [a, b] = [plain.slice(), plain.slice()];
          expect(ours.seal(a, 0, HEAD, end, high)).toBe(theirs.seal(b, 0, HEAD, end, high));
          expect(Buffer.compare(a, b)).toBe(0);
          const changed = a.slice();
          changed[length % changed.length]! ^= 0x10;
          const before = changed.slice();
          expect(ours.open(changed, 0, HEAD, end + 16, high)).toBe(-1);
          expect(Buffer.compare(changed, before)).toBe(0);
          expect(ours.open(a, 0, HEAD, end + 16, high)).toBe(end);
          expect(Buffer.compare(a.subarray(0, end), plain.subarray(0, end))).toBe(0);
        }
        ours.destroy();
        theirs.destroy();
      }
    });

    test('more ciphers than there are contexts: each goes on under its own key, in both directions, and with what the others leave', () => {
      const many = Array.from({ length: 300 }, (_, i) => {
        const { transform, salt } = keysOf(20, 128);
        const key = Uint8Array.from({ length: 16 }, (_, at) => i + 3 * at);
        const cipher = cipherOf(evp, 20, 128);
        return { ours: found!.create(transform, cipher, key, salt)!, theirs: new EvpAead(evp, transform, cipher, key, salt) };
      });
      const end = HEAD + 8 + 100;
      for (let round = 0; round < 3; round++)
        many.forEach(({ ours, theirs }, i) => {
          const packet = Uint8Array.from({ length: end + 16 }, (_, at) => at * 5 + i + round);
          const expected = packet.slice();
          ours.seal(packet, 0, HEAD, end);
          theirs.seal(expected, 0, HEAD, end);
          expect(Buffer.compare(packet, expected)).toBe(0);
          expect(ours.open(packet, 0, HEAD, end + 16)).toBe(end);
          // in the middle of it some leave
          if (round === 1 && i % 3 === 0) {
            ours.destroy();
            expect(() => ours.seal(packet, 0, HEAD, end)).toThrow(ApiMisuse);
            many[i] = { ours: theirs, theirs };
          }
        });
      for (const { ours, theirs } of many) for (const cipher of [ours, theirs]) cipher.destroy();
    });
  });
});

function keysOf(number: number, bits: number) {
  const transform = encryption(number)!;
  const length = effectiveKeyLength(transform, transform.mode === 'gcm' || transform.mode === 'ccm' ? bits : undefined) ?? 256;
  return { transform, key: Uint8Array.from({ length: length / 8 }, (_, i) => i * 5 + 1), salt: Uint8Array.of(9, 8, 7, 6) };
}

const cipherOf = (evp: Evp, number: number, bits: number): number => evp.cipher(encryption(number)!.cipherNames(bits)[0])!;
