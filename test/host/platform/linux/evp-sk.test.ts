import { describe, expect, test } from 'vitest';
import { ApiMisuse, toHex } from '../../../../src/core/bytes/index.ts';
import { type CipherKeys, createPacketCipher, encryption, type PacketCipher } from '../../../../src/core/crypto/index.ts';
import { evpPrimitives } from '../../../../src/host/platform/linux/evp-primitives.ts';
import { everySuite } from '../../../core/esp/suites.ts';
import { describeWithNative, watchedNative } from '../../../support/native.ts';

/** Header of the message and generic header of its SK payload. */
const HEAD = 32;
const BEFORE = 3;
const BEHIND = 5;

const octets = (length: number, seed: number): Uint8Array => {
  let state = seed + 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
};

/** What the core seals: a message somewhere in a buffer, whose IV is there. */
function message(cipher: PacketCipher, bodyLength: number, seed: number): { readonly buffer: Uint8Array; readonly end: number } {
  const end = BEFORE + HEAD + cipher.ivLength + bodyLength;
  return { buffer: octets(end + cipher.icvLength + BEHIND, seed), end };
}

describeWithNative('SK payloads by contexts that are lent', (native) => {
  const { createPacketCipher: create } = evpPrimitives(native)!.primitives;
  const suites = everySuite().filter(({ keys }) => encryption(keys.encryption)!.forIke);
  const all = suites.filter(({ keys }) => create(keys).constructor !== createPacketCipher(keys).constructor);

  // every cipher with one MAC, every MAC with one cipher
  const fast = all.filter(({ keys }) => (keys.integrity ?? 12) === 12 || keys.encryption === 12);

  test('are those of all ciphers of an IKE SA but Camellia-CCM, with every HMAC that IKE has', () => {
    const left = suites.filter((suite) => !all.includes(suite));
    for (const { keys } of left)
      expect(encryption(keys.encryption)!.mode === 'block-ccm' || [5, 8, 1026].includes(keys.integrity ?? 0)).toBe(true);
    expect(new Set(fast.map(({ keys }) => encryption(keys.encryption)!.mode))).toEqual(
      new Set(['gcm', 'ccm', 'chacha20-poly1305', 'cbc', 'ctr']),
    );
  });

  describe.each(fast.map(({ name, keys }) => [name, keys] as const))('%s', (_, keys) => {
    const slow = createPacketCipher(keys);
    const quick = create(keys);
    const block = quick.blockLength;

    test('says of itself what its twin says', () => {
      for (const field of ['ivLength', 'icvLength', 'blockLength', 'ivKind'] as const) expect(quick[field]).toBe(slow[field]);
    });

    test('seals to the same octets and opens them, short and long, with ESN as well', () => {
      for (const [i, blocks] of [1, 2, 5, 16, 31, 9000 / block].map(Math.floor).entries()) {
        const { buffer, end } = message(quick, blocks * block, i);
        const high = i === 3 ? 0xfedcba98 : undefined;
        const [actual, expected] = [buffer.slice(), buffer.slice()];
        expect(quick.seal(actual, BEFORE, HEAD, end, high)).toBe(slow.seal(expected, BEFORE, HEAD, end, high));
        expect(toHex(actual)).toBe(toHex(expected));
        const sealedEnd = end + quick.icvLength;
        expect(quick.open(actual, BEFORE, HEAD, sealedEnd, high)).toBe(slow.open(expected, BEFORE, HEAD, sealedEnd, high));
        expect(toHex(actual)).toBe(toHex(expected));
        expect(toHex(actual.subarray(BEFORE, end))).toBe(toHex(buffer.subarray(BEFORE, end)));
      }
    });

    test('refuses what was changed anywhere or does not fit, and leaves it as it was', () => {
      const { buffer, end } = message(quick, 3 * block, 7);
      slow.seal(buffer, BEFORE, HEAD, end);
      const sealedEnd = end + quick.icvLength;
      for (let at = BEFORE; at < sealedEnd; at++) {
        const changed = buffer.slice();
        changed[at]! ^= 1 << (at % 8);
        const before = toHex(changed);
        expect(quick.open(changed, BEFORE, HEAD, sealedEnd)).toBe(-1);
        expect(toHex(changed)).toBe(before);
      }
      for (const wrong of [-1, 0, HEAD, sealedEnd - 1, sealedEnd + 1, buffer.length + 1, Number.NaN])
        expect(quick.open(buffer, BEFORE, HEAD, wrong)).toBe(-1);
      expect(quick.open(buffer, -1, HEAD, sealedEnd)).toBe(-1);
      expect(quick.open(buffer, BEFORE, -1, sealedEnd)).toBe(-1);
      expect(quick.open(buffer, BEFORE, HEAD, sealedEnd)).toBe(end);
    });

    test('sealing what does not fit the buffer is misuse', () => {
      const { buffer, end } = message(quick, 4 * block, 9);
      const before = toHex(buffer);
      const seal = (start: number, headLength: number, to: number) => () => quick.seal(buffer, start, headLength, to);
      expect(seal(BEFORE, HEAD, buffer.length - quick.icvLength + block)).toThrow(ApiMisuse);
      expect(seal(-1, HEAD, end)).toThrow(ApiMisuse);
      expect(seal(BEFORE, -1, end)).toThrow(ApiMisuse);
      if (block > 1) expect(seal(BEFORE, HEAD, end - 1)).toThrow(ApiMisuse);
      expect(toHex(buffer)).toBe(before);
    });
  });

  test('ciphers that take turns under other keys do not disturb each other, and neither does what was refused', () => {
    const others = fast.flatMap(({ keys }) => [
      { slow: createPacketCipher(keys), quick: create(keys) },
      ...[1, 2].map((seed) => {
        const changed: CipherKeys = {
          ...keys,
          encryptionKey: octets(keys.encryptionKey.length, seed),
          ...(keys.integrityKey && { integrityKey: octets(keys.integrityKey.length, seed) }),
        };
        return { slow: createPacketCipher(changed), quick: create(changed) };
      }),
    ]);
    for (let round = 0; round < 3; round++) {
      for (const { slow, quick } of others) {
        const { buffer, end } = message(quick, 96, round);
        const expected = buffer.slice();
        quick.seal(buffer, BEFORE, HEAD, end);
        slow.seal(expected, BEFORE, HEAD, end);
        expect(toHex(buffer)).toBe(toHex(expected));
        if (round === 1) buffer[BEFORE]! ^= 1;
        expect(quick.open(buffer, BEFORE, HEAD, end + quick.icvLength)).toBe(round === 1 ? -1 : end);
      }
    }
  });

  test('keys that no transform takes are refused in the words of core/crypto', () => {
    const encryptionKey = new Uint8Array(20);
    for (const keys of [
      { encryption: 20, keyLength: 128, encryptionKey: encryptionKey.subarray(1) },
      { encryption: 20, keyLength: 160, encryptionKey },
      { encryption: 4711, encryptionKey },
      { encryption: 20, keyLength: 128, encryptionKey, integrity: 12, integrityKey: new Uint8Array(32) },
      { encryption: 12, keyLength: 128, encryptionKey: new Uint8Array(16) },
      { encryption: 12, keyLength: 128, encryptionKey: new Uint8Array(16), integrity: 12, integrityKey: new Uint8Array(31) },
    ] satisfies CipherKeys[])
      expect(() => create(keys)).toThrow(thrownBy(() => createPacketCipher(keys)).message);
  });

  test('the keys are its own, and after destroy, which may come twice, it throws', () => {
    const [{ keys }] = fast as [(typeof fast)[number]];
    const encryptionKey = keys.encryptionKey.slice();
    const cipher = create({ ...keys, encryptionKey });
    encryptionKey.fill(0);
    const { buffer, end } = message(cipher, 64, 1);
    cipher.seal(buffer, BEFORE, HEAD, end);
    expect(createPacketCipher(keys).open(buffer, BEFORE, HEAD, end + cipher.icvLength)).toBe(end);
    cipher.destroy();
    cipher.destroy();
    expect(() => cipher.seal(buffer, BEFORE, HEAD, end)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
    expect(() => cipher.open(buffer, BEFORE, HEAD, end)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
  });

  test('of keys and messages nothing stays in the memory that native code works on', () => {
    const { watched, holds } = watchedNative(native);
    const { primitives } = evpPrimitives(watched)!;
    for (const { keys } of fast) {
      const cipher = primitives.createPacketCipher(keys);
      const { buffer, end } = message(cipher, 96, 5);
      const body = buffer.slice(BEFORE + HEAD + cipher.ivLength, end);
      cipher.seal(buffer, BEFORE, HEAD, end);
      cipher.open(buffer, BEFORE, HEAD, end + cipher.icvLength);
      const salt = keys.encryptionKey.subarray(-encryption(keys.encryption)!.saltLength || keys.encryptionKey.length);
      const secrets = [
        keys.encryptionKey.subarray(0, 8),
        ...(salt.length >= 4 ? [salt] : []),
        body.subarray(0, 16),
        ...(keys.integrityKey ? [keys.integrityKey] : []),
      ];
      expect(secrets.map(holds)).toEqual(secrets.map(() => false));
    }
  });
});

function thrownBy(act: () => unknown): Error {
  try {
    act();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
