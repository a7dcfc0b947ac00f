import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { encryption } from '../../../../src/core/crypto/index.ts';
import { EvpAead } from '../../../../src/host/platform/linux/evp-aead.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { KeyStore } from '../../../../src/host/platform/linux/key-store.ts';
import { openEvp } from '../../../../src/host/platform/linux/openssl.ts';
import { ProviderChacha } from '../../../../src/host/platform/linux/provider-chacha.ts';
import { describeWithNative } from '../../../support/native.ts';

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
