import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { effectiveKeyLength, encryption } from '../../../../src/core/crypto/index.ts';
import { openBurst, sealBurst, sealEach } from '../../../../src/core/crypto/packet-burst.ts';
import { CallRunner, type RunCalls } from '../../../../src/host/platform/linux/call-list.ts';
import { EvpAead } from '../../../../src/host/platform/linux/evp-aead.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { GcmCalls } from '../../../../src/host/platform/linux/gcm-calls.ts';
import { KeyStore } from '../../../../src/host/platform/linux/key-store.ts';
import { type Evp, openEvp } from '../../../../src/host/platform/linux/openssl.ts';
import { ProviderGcm } from '../../../../src/host/platform/linux/provider-gcm.ts';
import { describeWithNative } from '../../../support/native.ts';
import { BURSTS, bentOf, burstOf, expectSameBursts } from './bursts.ts';

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

describeWithNative('AES-GCM below EVP, a burst in one call', (native) => {
  const evp = openEvp(native)!;
  const store = new KeyStore(native);
  const runner = CallRunner.find(native);
  const runs = { count: 0 };
  const counting = ({ run }: RunCalls): RunCalls => ({
    run: (from, behind) => {
      runs.count++;
      return run(from, behind);
    },
  });
  const found = runner && ProviderGcm.find(native, evp, store, counting(runner));
  const singly = ProviderGcm.find(native, evp, store);

  describe.runIf(found !== undefined && singly !== undefined)('as found here', () => {
    test.each([128, 192, 256])('seals and opens what it does singly with keys of %i bits, and refuses what was changed alone', (bits) => {
      for (const number of [20, 30]) {
        const { transform, key, salt } = keysOf(number, bits);
        const cipher = cipherOf(evp, number, bits);
        const [ours, theirs] = [found!.create(transform, cipher, key, salt)!, singly!.create(transform, cipher, key, salt)!];
        for (const [count, seed, esn] of BURSTS) {
          runs.count = 0;
          expectSameBursts(ours, theirs, count, seed, esn);
          // to seal all; to open those up to one that was changed, to take it back, and to go on behind it
          expect(runs.count).toBe(2 + 2 * bentOf(count).length);
        }
        ours.destroy();
        theirs.destroy();
      }
    });

    test('lengths that do not fit are refused as they are singly, and sealing them is misuse', () => {
      const { transform, key, salt } = keysOf(20, 128);
      const ours = found!.create(transform, cipherOf(evp, 20, 128), key, salt)!;
      const { buffer, burst, bodies } = burstOf(ours, 3, 50);
      sealBurst(ours, buffer, bodies, HEAD, false);
      burst.ends[1] = burst.starts[1]! + HEAD + 8 + 15;
      openBurst(ours, buffer, burst, HEAD, false);
      expect([...burst.opened.subarray(0, 3)].map((end) => end === -1)).toEqual([false, true, false]);
      for (const end of [buffer.length - 15, -1, Number.MAX_SAFE_INTEGER]) {
        bodies.ends[2] = end;
        const before = buffer.slice();
        expect(() => sealBurst(ours, buffer, bodies, HEAD, false)).toThrow(ApiMisuse);
        expect(Buffer.compare(buffer, before)).toBe(0);
      }
      ours.destroy();
      expect(() => openBurst(ours, buffer, burst, HEAD, false)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
    });

    test('more ciphers than there are contexts: each burst is under the key of its own', () => {
      const { transform, salt } = keysOf(20, 128);
      const cipher = cipherOf(evp, 20, 128);
      const many = Array.from({ length: 300 }, (_, i) => {
        const key = Uint8Array.from({ length: 16 }, (_, at) => i + 3 * at);
        return [found!.create(transform, cipher, key, salt)!, new EvpAead(evp, transform, cipher, key, salt)] as const;
      });
      for (const [i, [ours, theirs]] of many.entries()) {
        const { buffer, burst, bodies } = burstOf(ours, 3, i + 1);
        const expected = buffer.slice();
        sealBurst(ours, buffer, bodies, HEAD, true);
        sealEach(theirs, expected, bodies, HEAD, true);
        expect(Buffer.compare(buffer, expected)).toBe(0);
        openBurst(many[(i + 7) % 300]![0], buffer, burst, HEAD, true);
        expect([...burst.opened.subarray(0, 3)]).toEqual([-1, -1, -1]);
        openBurst(ours, buffer, burst, HEAD, true);
        expect([...burst.opened.subarray(0, 3)]).toEqual([...bodies.ends.subarray(0, 3)]);
      }
      for (const ciphers of many) for (const each of ciphers) each.destroy();
    });

    test('a list that is not made as it is written is not used', () => {
      const { transform, key, salt } = keysOf(20, 128);
      const cipher = cipherOf(evp, 20, 128);
      for (const run of [
        // makes none
        (_: number, behind: number) => behind,
        // makes all but the last
        (from: number, behind: number) => Math.max(behind, runner!.run(from, behind - 80)),
        // stops nowhere
        (from: number, behind: number) => Math.max(behind, runner!.run(from, behind)),
      ]) {
        const wrong = ProviderGcm.find(native, evp, store, counting({ run }))!;
        runs.count = 0;
        const ours = wrong.create(transform, cipher, key, salt)!;
        expect(runs.count).toBeGreaterThan(0);
        runs.count = 0;
        const { buffer, bodies } = burstOf(ours, 4, 9);
        const expected = buffer.slice();
        sealBurst(ours, buffer, bodies, HEAD, false);
        const theirs = singly!.create(transform, cipher, key, salt)!;
        sealEach(theirs, expected, bodies, HEAD, false);
        expect([runs.count, Buffer.compare(buffer, expected)]).toEqual([0, 0]);
        ours.destroy();
        theirs.destroy();
      }
    });

    test('packets whose addresses carry from one half into the other are not written down', () => {
      const calls = new GcmCalls(native, runner!, { setIv: 1, oneShot: 1 });
      expect([calls.begin(2 ** 33 - 100, 99), calls.begin(2 ** 33 - 100, 100), calls.begin(2 ** 33, 100)]).toEqual([true, false, true]);
    });
  });
});

function keysOf(number: number, bits: number) {
  const transform = encryption(number)!;
  const length = effectiveKeyLength(transform, transform.mode === 'gcm' || transform.mode === 'ccm' ? bits : undefined) ?? 256;
  return { transform, key: Uint8Array.from({ length: length / 8 }, (_, i) => i * 5 + 1), salt: Uint8Array.of(9, 8, 7, 6) };
}

const cipherOf = (evp: Evp, number: number, bits: number): number => evp.cipher(encryption(number)!.cipherNames(bits)[0])!;
