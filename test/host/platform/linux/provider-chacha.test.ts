import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { encryption } from '../../../../src/core/crypto/index.ts';
import { openBurst, sealBurst, sealEach } from '../../../../src/core/crypto/packet-burst.ts';
import { CallRunner } from '../../../../src/host/platform/linux/call-list.ts';
import { EvpAead } from '../../../../src/host/platform/linux/evp-aead.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { KeyStore } from '../../../../src/host/platform/linux/key-store.ts';
import { openEvp } from '../../../../src/host/platform/linux/openssl.ts';
import { ProviderChacha } from '../../../../src/host/platform/linux/provider-chacha.ts';
import { describeWithNative } from '../../../support/native.ts';
import { BURSTS, bentOf, burstOf, expectSameBursts } from './bursts.ts';

const [key, salt] = [Uint8Array.from({ length: 32 }, (_, i) => i * 5 + 1), Uint8Array.of(9, 8, 7, 6)];
const transform = encryption(28)!;

describeWithNative('ChaCha20-Poly1305 below EVP', (native) => {
  const evp = openEvp(native)!;
  const store = new KeyStore(native);
  const cipher = evp.cipher(transform.cipherNames(256)[0])!;
  const found = ProviderChacha.find(native, evp, store);

  test('is there in the series of OpenSSL that it was written for, and in no other', () => {
    expect(found !== undefined).toBe(/^3\.0\./.test(process.versions.openssl!));
  });

  test('is not asked for where a function is missing', () => {
    const without: Native = {
      ...native,
      functions: (prototypes) => {
        if ('Poly1305_Final' in prototypes) throw new Error('Poly1305_Final');
        return native.functions(prototypes);
      },
    };
    expect(ProviderChacha.find(without, evp, store)).toBeUndefined();
  });

  test('one that does not seal as EVP does is not used', () => {
    const wrong: Native = {
      ...native,
      functions: <T extends object>(prototypes: { readonly [Name in keyof T]: string }): T => {
        const bound = native.functions<T>(prototypes);
        if (!('ChaCha20_ctr32' in bound)) return bound;
        const crypt = bound.ChaCha20_ctr32 as (...args: number[]) => void;
        // as if a later version counted in blocks
        return { ...bound, ChaCha20_ctr32: (...args: number[]) => crypt(...args.with(2, Math.floor(args[2]! / 64))) };
      },
    };
    expect(ProviderChacha.find(wrong, evp, store)?.create(transform, cipher, key, salt)).toBeUndefined();
  });

  describe.runIf(found !== undefined)('as found here', () => {
    test('leaves other modes to those who have them', () => {
      expect(found!.create(encryption(20)!, 0, key, salt)).toBeUndefined();
    });

    test('is EVP’s, whatever the lengths of what is authenticated and of what is encrypted', () => {
      const [ours, theirs] = [found!.create(transform, cipher, key, salt)!, new EvpAead(evp, transform, cipher, key, salt)];
      for (const head of [0, 1, 8, 15, 16, 17, 28, 32, 33, 500])
        for (const length of [0, 1, 15, 16, 17, 63, 64, 65, 1000]) {
          const end = head + 8 + length;
          const plain = Uint8Array.from({ length: end + 16 }, (_, i) => i * (length + head) + 3);
          const [a, b] = [plain.slice(), plain.slice()];
          expect(ours.seal(a, 0, head, end)).toBe(theirs.seal(b, 0, head, end));
          expect(Buffer.compare(a, b)).toBe(0);
          expect(ours.open(a, 0, head, end + 16)).toBe(end);
          expect(Buffer.compare(a.subarray(0, end), plain.subarray(0, end))).toBe(0);
        }
      ours.destroy();
      theirs.destroy();
      expect(() => ours.seal(new Uint8Array(100), 0, 8, 40)).toThrow(ApiMisuse);
    });

    test('seals and opens a burst in few calls, as it does singly, and refuses what was changed alone', () => {
      const runner = CallRunner.find(native);
      let runs = 0;
      const counting = runner && {
        run: (from: number, behind: number) => {
          runs++;
          return runner.run(from, behind);
        },
      };
      const listed = ProviderChacha.find(native, evp, store, counting)!;
      for (const number of [28, 31]) {
        const kind = encryption(number)!;
        const [ours, theirs] = [listed.create(kind, cipher, key, salt)!, found!.create(kind, cipher, key, salt)!];
        for (const [count, seed, esn] of BURSTS) {
          runs = 0;
          expectSameBursts(ours, theirs, count, seed, esn);
          if (runner !== undefined) expect(runs).toBeLessThanOrEqual(2 * Math.ceil(count / 8) + bentOf(count).length);
        }
        // heads that no list has are authenticated all the same
        for (const head of number === 28 ? [0, 17, 40] : []) {
          const { buffer, bodies } = burstOf(ours, 3, 50);
          for (let i = 0; i < 3; i++) bodies.ends[i]! += 40;
          const room = new Uint8Array(buffer.length + 200);
          const expected = room.slice();
          sealBurst(ours, room, bodies, head, false);
          sealEach(theirs, expected, bodies, head, false);
          expect(Buffer.compare(room, expected)).toBe(0);
        }
        ours.destroy();
        theirs.destroy();
        const { buffer, burst, bodies } = burstOf(ours, 2, 9);
        expect(() => sealBurst(ours, buffer, bodies, 8, false)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
        expect(() => openBurst(ours, buffer, burst, 8, false)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
      }
    });

    test('a list that is not made as it is written is not used', () => {
      let runs = 0;
      const wrong = ProviderChacha.find(native, evp, store, { run: (_, behind) => ++runs && behind })!;
      const ours = wrong.create(transform, cipher, key, salt)!;
      expect(runs).toBeGreaterThan(0);
      runs = 0;
      const theirs = found!.create(transform, cipher, key, salt)!;
      expectSameBursts(ours, theirs, 9, 5, true);
      expect(runs).toBe(0);
      ours.destroy();
      theirs.destroy();
    });

    test('what no datagram holds is refused before anything is written', () => {
      const ours = found!.create(transform, cipher, key, salt)!;
      const buffer = new Uint8Array(70_000);
      expect(() => ours.seal(buffer, 0, 8, 16 + 65_537)).toThrow(ApiMisuse);
      expect(ours.open(buffer, 0, 8, 16 + 65_537 + 16)).toBe(-1);
      expect(ours.seal(buffer, 0, 8, 16 + 65_536)).toBe(16 + 65_536 + 16);
      ours.destroy();
    });
  });
});
