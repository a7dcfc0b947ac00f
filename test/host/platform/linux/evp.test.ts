import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, type PacketCipher } from '../../../../src/core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../../../src/core/esp/index.ts';
import { createEvpCipher } from '../../../../src/host/platform/linux/evp.ts';
import { countingRandom, everySuite, type Suite } from '../../../core/esp/suites.ts';
import { describeWithNative } from '../../../support/native.ts';

const HEAD = 8;
/** Where a packet begins in its buffer, and what lies behind it: neither is anybody's business. */
const BEFORE = 5;
const BEHIND = 7;

/** Differ from octet to octet and from packet to packet. */
function packet(cipher: PacketCipher, length: number, seed: number): { buffer: Uint8Array; end: number } {
  const end = BEFORE + HEAD + cipher.ivLength + length;
  const buffer = new Uint8Array(end + cipher.icvLength + BEHIND);
  let state = seed + 1;
  for (let i = 0; i < buffer.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    buffer[i] = state >>> 24;
  }
  return { buffer, end };
}

/** Extended sequence numbers on and off, and words whose octets all differ. */
const highOf = (seed: number): number | undefined => (seed % 2 === 0 ? undefined : (0xfedcba98 + seed * 0x01000193) >>> 0);

const isLeft = ({ keys }: Suite): boolean => encryption(keys.encryption)!.mode === 'block-ccm' || keys.integrity === 5;

describeWithNative('OpenSSL contexts that are used again', (native) => {
  const suites = everySuite();

  test('what is left to the other ciphers is Camellia-CCM and AES-XCBC, and nothing else', () => {
    for (const suite of suites) {
      const cipher = createEvpCipher(native, suite.keys);
      expect([suite.name, cipher === undefined]).toEqual([suite.name, isLeft(suite)]);
      cipher?.destroy();
    }
  });

  test('keys that no transform takes are left to what says so', () => {
    const [suite] = suites.filter(({ encryption }) => encryption === 20);
    const { encryptionKey } = suite!.keys;
    expect(createEvpCipher(native, { ...suite!.keys, encryptionKey: encryptionKey.subarray(1) })).toBeUndefined();
    expect(createEvpCipher(native, { ...suite!.keys, encryption: 4711 })).toBeUndefined();
    expect(createEvpCipher(native, { ...suite!.keys, keyLength: 160 })).toBeUndefined();
    expect(createEvpCipher(native, { ...suite!.keys, integrity: 12, integrityKey: new Uint8Array(32) })).toBeUndefined();
    expect(createEvpCipher(native, { encryption: 12, keyLength: 128, encryptionKey: new Uint8Array(16) })).toBeUndefined();
  });

  describe.each(suites.filter((suite) => !isLeft(suite)).map((suite) => [suite.name, suite] as const))('%s', (_, suite) => {
    const slow = suite.create();
    const fast = createEvpCipher(native, suite.keys)!;
    const block = fast.blockLength;
    const { mode } = encryption(suite.encryption)!;

    test('says of itself what its twin says', () => {
      const { ivLength, icvLength, blockLength, ivKind } = slow;
      expect({ ivLength, icvLength, blockLength, ivKind }).toEqual({
        ivLength: fast.ivLength,
        icvLength: fast.icvLength,
        blockLength: fast.blockLength,
        ivKind: fast.ivKind,
      });
    });

    test('seals to the same octets and opens them, whatever came before', () => {
      // What a MAC does with lengths does not depend on the cipher before it.
      const step = block > 1 || !suite.keys.integrity || mode === 'null' ? block : 7;
      const lengths = Array.from({ length: Math.floor(200 / step) + 1 }, (_, i) => i * step);
      const long = !suite.keys.integrity || suite.keys.integrity === 12 ? [9008, 65_424] : [];
      for (const length of [...lengths, 1408, ...long]) {
        const { buffer, end } = packet(fast, length, length / block);
        const high = highOf(length / block);
        const expected = new Uint8Array(buffer);
        const actual = new Uint8Array(buffer);
        expectSame(length, fast.seal(actual, BEFORE, HEAD, end, high), slow.seal(expected, BEFORE, HEAD, end, high));
        expectSame(length, actual, expected);
        expectSame(length, fast.open(actual, BEFORE, HEAD, end + fast.icvLength, high), end);
        expectSame(length, slow.open(expected, BEFORE, HEAD, end + slow.icvLength, high), end);
        expectSame(length, actual, expected);
      }
    });

    test('refuses what was changed anywhere, and leaves it as it was', () => {
      const length = 5 * block + (block === 1 ? 27 : 0);
      const high = 0x01020304;
      const { buffer, end } = packet(fast, length, 3);
      slow.seal(buffer, BEFORE, HEAD, end, high);
      const sealedEnd = end + fast.icvLength;
      for (let at = BEFORE; at < sealedEnd; at++) {
        const changed = new Uint8Array(buffer);
        changed[at]! ^= 1 << (at % 8);
        const before = new Uint8Array(changed);
        expectSame(at, fast.open(changed, BEFORE, HEAD, sealedEnd, high), -1);
        expectSame(at, changed, before);
      }
      expect(fast.open(new Uint8Array(buffer), BEFORE, HEAD, sealedEnd, high + 1)).toBe(-1);
      expect(fast.open(new Uint8Array(buffer), BEFORE, HEAD, sealedEnd)).toBe(-1);
      expect(fast.open(buffer, BEFORE, HEAD, sealedEnd, high)).toBe(end);
    });

    test('lengths that do not fit are refused like its twin does', () => {
      const { buffer, end } = packet(fast, 4 * block, 9);
      for (let sealedEnd = 0; sealedEnd <= buffer.length + 3; sealedEnd++) {
        const before = new Uint8Array(buffer);
        expectSame(sealedEnd, fast.open(buffer, BEFORE, HEAD, sealedEnd), -1);
        expectSame(sealedEnd, buffer, before);
      }
      expect(fast.open(buffer, -1, HEAD, end)).toBe(-1);
      expect(fast.open(buffer, BEFORE, -1, end)).toBe(-1);
      expect(fast.open(buffer, Number.NaN, HEAD, end)).toBe(-1);
    });

    test('sealing without room for the ICV is misuse', () => {
      const { buffer, end } = packet(fast, 4 * block, 9);
      const before = new Uint8Array(buffer);
      const seal = (start: number, headLength: number, to: number) => () => fast.seal(buffer, start, headLength, to);
      expect(seal(BEFORE, HEAD, buffer.length - fast.icvLength + block)).toThrow(ApiMisuse);
      expect(seal(-1, HEAD, end)).toThrow(ApiMisuse);
      expect(seal(BEFORE, -1, end)).toThrow(ApiMisuse);
      expect(seal(BEFORE, HEAD, BEFORE + HEAD + fast.ivLength - 1)).toThrow(ApiMisuse);
      if (block > 1) expect(seal(BEFORE, HEAD, end - 1)).toThrow(ApiMisuse);
      expectSame(0, buffer, before);
    });

    test('after destroy, which may come twice, it throws instead of protecting badly', () => {
      const gone = createEvpCipher(native, suite.keys)!;
      const { buffer, end } = packet(gone, 4 * block, 1);
      gone.seal(buffer, BEFORE, HEAD, end);
      gone.destroy();
      gone.destroy();
      expect(() => gone.seal(buffer, BEFORE, HEAD, end)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
      expect(() => gone.open(buffer, BEFORE, HEAD, end + gone.icvLength)).toThrow(expect.objectContaining({ code: 'CIPHER_DESTROYED' }));
    });
  });

  test('an implicit IV is that of an ESP packet alone', () => {
    const suite = suites.find(({ keys }) => encryption(keys.encryption)!.ivKind === 'implicit')!;
    const cipher = createEvpCipher(native, suite.keys)!;
    expect(() => cipher.seal(new Uint8Array(100), 0, 32, 60)).toThrow(expect.objectContaining({ code: 'ESP_ONLY' }));
  });

  test('ESP with it at one end and its twin at the other, either way round, with ESN', () => {
    const memory = native.allocate(4096).octets;
    const opened = new OpenedPacket();
    for (const { name, keys } of suites.filter((suite) => !isLeft(suite))) {
      for (const fastSeals of [true, false]) {
        const [fast, slow] = [createEvpCipher(native, keys)!, createPacketCipher(keys)];
        const outbound = new OutboundSa({ spi: 0x1001, cipher: fastSeals ? fast : slow, esn: true, random: countingRandom() });
        const inbound = new InboundSa({ spi: 0x1001, cipher: fastSeals ? slow : fast, esn: true });
        for (const length of [0, 20, 1391]) {
          memory.fill(length);
          const sealed = memory.subarray(16, 16 + outbound.seal(new Uint8Array(length).fill(0x45), 4, memory, 16));
          const again = sealed.slice();
          expectSame(name, inbound.open(sealed, opened), 'ok');
          expectSame(name, opened.length, length);
          expectSame(name, sealed.subarray(opened.start, opened.start + length), new Uint8Array(length).fill(0x45));
          expectSame(name, inbound.open(again, opened), 'replay');
        }
        outbound.destroy();
        inbound.destroy();
      }
    }
  });

  test('ciphers that take turns do not disturb each other', () => {
    const pairs = suites
      .filter((suite) => !isLeft(suite))
      .filter((_, i) => i % 5 === 0)
      .map((suite) => ({ slow: suite.create(), fast: createEvpCipher(native, suite.keys)! }));
    for (let round = 0; round < 4; round++) {
      for (const { slow, fast } of pairs) {
        const { buffer, end } = packet(fast, 96, round);
        const expected = new Uint8Array(buffer);
        slow.seal(expected, BEFORE, HEAD, end, highOf(round));
        fast.seal(buffer, BEFORE, HEAD, end, highOf(round));
        expectSame(round, buffer, expected);
        if (round % 2 === 0) expected[BEFORE]! ^= 1;
        expect(fast.open(expected, BEFORE, HEAD, end + fast.icvLength, highOf(round))).toBe(round % 2 === 0 ? -1 : end);
      }
    }
  });
});

/** As `toEqual`, for thousands of them: it takes its time. @param what is told beside the difference */
function expectSame<T extends Uint8Array | number | string>(what: number | string, actual: T, expected: T): void {
  const same = actual instanceof Uint8Array ? Buffer.compare(actual, expected as Uint8Array) === 0 : actual === expected;
  if (!same) expect([what, actual]).toEqual([what, expected]);
}
