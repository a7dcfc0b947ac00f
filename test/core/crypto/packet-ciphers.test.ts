import { createCipheriv } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/index.ts';
import {
  createPacketCipher,
  encryption,
  encryptionKeyOctets,
  encryptionTransforms,
  integrity,
  integrityTransforms,
} from '../../../src/core/crypto/index.ts';
import { everySuite } from '../esp/suites.ts';

const octets = (length: number, from = 0): Uint8Array => new Uint8Array(length).map((_, i) => (from + i * 11) & 0xff);

/** Those of ESP alone as well, but for implicit IVs, which need the head of an ESP packet. */
const suites = everySuite().filter((suite) => encryption(suite.encryption)!.ivKind !== 'implicit');

describe.each(suites.map((suite) => [suite.name, suite] as const))('%s as IKE uses it', (_, suite) => {
  const cipher = suite.create();
  const hides = !['null', 'gmac'].includes(encryption(suite.encryption)!.mode);

  test('a message at any offset, with heads of any length, comes back and nothing around it is touched', () => {
    for (const [start, headLength, blocks] of [
      [0, 32, 1],
      [5, 32, 4],
      [17, 36, 9],
      [3, 0, 2],
    ] as const) {
      const bodyLength = blocks * cipher.blockLength;
      const end = start + headLength + cipher.ivLength + bodyLength;
      const buffer = octets(end + cipher.icvLength + 9, start);
      const original = new Uint8Array(buffer);
      expect(cipher.seal(buffer, start, headLength, end)).toBe(end + cipher.icvLength);
      expect(buffer.subarray(0, start + headLength + cipher.ivLength)).toEqual(original.subarray(0, start + headLength + cipher.ivLength));
      expect(buffer.subarray(end + cipher.icvLength)).toEqual(original.subarray(end + cipher.icvLength));
      if (hides) expect(buffer.subarray(end - bodyLength, end)).not.toEqual(original.subarray(end - bodyLength, end));
      else expect(buffer.subarray(0, end)).toEqual(original.subarray(0, end));
      expect(cipher.open(buffer, start, headLength, end + cipher.icvLength)).toBe(end);
      expect(buffer.subarray(0, end)).toEqual(original.subarray(0, end));
    }
  });

  test('lengths that do not fit are refused, never thrown', () => {
    const buffer = octets(200);
    for (let end = 0; end <= 230; end++) expect([end, cipher.open(buffer, 8, 32, end)]).toEqual([end, -1]);
  });

  test('the same message seals to the same octets whatever was sealed and opened before', () => {
    const message = octets(32 + cipher.ivLength + 4 * cipher.blockLength + cipher.icvLength);
    const end = message.length - cipher.icvLength;
    const fresh = new Uint8Array(message);
    suite.create().seal(fresh, 0, 32, end);
    for (let i = 0; i < 5; i++) {
      const again = new Uint8Array(message);
      cipher.seal(again, 0, 32, end);
      expect(again).toEqual(fresh);
      const other = octets(32 + cipher.ivLength + (i + 1) * cipher.blockLength + cipher.icvLength, i);
      cipher.seal(other, 0, 32, other.length - cipher.icvLength);
      expect(cipher.open(new Uint8Array(other), 0, 32, other.length)).toBeGreaterThan(0);
    }
  });

  test('keys in a Buffer are the same keys, and stay what they were', () => {
    const { encryptionKey, integrityKey } = suite.keys;
    const keys = { ...suite.keys, encryptionKey: Buffer.from(encryptionKey), integrityKey: integrityKey && Buffer.from(integrityKey) };
    const message = octets(32 + cipher.ivLength + 4 * cipher.blockLength + cipher.icvLength);
    const [sealed, end] = [new Uint8Array(message), message.length - cipher.icvLength];
    cipher.seal(sealed, 0, 32, end);
    const other = createPacketCipher(keys);
    other.seal(message, 0, 32, end);
    expect(message).toEqual(sealed);
    other.destroy();
    expect([...keys.encryptionKey, ...(keys.integrityKey ?? [])]).toEqual([...encryptionKey, ...(integrityKey ?? [])]);
  });

  test('after destroy it throws instead of protecting badly', () => {
    const gone = suite.create();
    gone.destroy();
    expect(() => gone.seal(octets(200), 0, 32, 32 + gone.ivLength + gone.blockLength)).toThrow(/destroyed/);
    expect(() => gone.open(octets(200), 0, 32, 32 + gone.ivLength + gone.blockLength + gone.icvLength)).toThrow(/destroyed/);
  });
});

test('CBC over one long-lived context equals a new context per packet', () => {
  const key = octets(32, 3);
  const macKey = octets(32, 9);
  const cipher = createPacketCipher({ encryption: 12, keyLength: 256, encryptionKey: key, integrity: 12, integrityKey: macKey });
  for (let i = 0; i < 300; i++) {
    const head = octets(8, i);
    const iv = octets(16, i * 3);
    const body = octets(16 * (1 + (i % 7)), i * 5);
    const packet = concat(head, iv, body, new Uint8Array(16));
    const end = packet.length - 16;
    cipher.seal(packet, 0, 8, end);
    const slow = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false).update(body);
    expect(packet.subarray(24, end)).toEqual(new Uint8Array(slow));
    expect(packet.subarray(end)).toEqual(integrity(12)!.compute(macKey, head, iv, new Uint8Array(slow)));
    expect(cipher.open(packet, 0, 8, packet.length)).toBe(end);
    expect(packet.subarray(24, end)).toEqual(body);
  }
});

describe('extended sequence numbers', () => {
  test('AEAD authenticates SPI | high | low (RFC 4106 §5)', () => {
    const key = octets(36);
    const cipher = createPacketCipher({ encryption: 20, keyLength: 256, encryptionKey: key });
    const packet = concat(octets(8, 1), octets(8, 2), octets(20, 3), new Uint8Array(16));
    cipher.seal(packet, 0, 8, 36, 0x01020304);
    const slow = createCipheriv('aes-256-gcm', key.subarray(0, 32), concat(key.subarray(32), octets(8, 2)));
    slow.setAAD(concat(octets(8, 1).subarray(0, 4), Uint8Array.of(1, 2, 3, 4), octets(8, 1).subarray(4)));
    expect(packet.subarray(16, 36)).toEqual(new Uint8Array(slow.update(octets(20, 3))));
    slow.final();
    expect(packet.subarray(36)).toEqual(new Uint8Array(slow.getAuthTag()));
  });

  const ofEsp = integrityTransforms().filter(({ forEsp }) => forEsp);
  test.each(ofEsp.map((mac) => [mac.name, mac] as const))('%s covers the high half behind the packet (RFC 4303 §2.8)', (_, mac) => {
    const macKey = octets(mac.keyLength);
    const cipher = createPacketCipher({ encryption: 11, encryptionKey: new Uint8Array(0), integrity: mac.id, integrityKey: macKey });
    for (const bodyLength of [4, 8, 20, 24, 100]) {
      const packet = concat(octets(8 + bodyLength), new Uint8Array(mac.icvLength));
      cipher.seal(packet, 0, 8, 8 + bodyLength, 0xfffefdfc);
      expect(packet.subarray(8 + bodyLength)).toEqual(mac.compute(macKey, octets(8 + bodyLength), Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc)));
    }
  });
});

describe('what cannot be negotiated is refused', () => {
  const key = (length: number) => new Uint8Array(length);
  test.each([
    [
      'an AEAD with a MAC',
      { encryption: 20, keyLength: 128, encryptionKey: key(20), integrity: 12, integrityKey: key(32) },
      'INTEGRITY_WITH_AEAD',
    ],
    ['CBC alone', { encryption: 12, keyLength: 128, encryptionKey: key(16) }, 'INTEGRITY_MISSING'],
    ['CBC with NONE', { encryption: 12, keyLength: 128, encryptionKey: key(16), integrity: 0 }, 'INTEGRITY_MISSING'],
    ['NULL alone', { encryption: 11, encryptionKey: key(0) }, 'INTEGRITY_MISSING'],
    ['AES without a key length', { encryption: 20, encryptionKey: key(20) }, 'KEY_LENGTH'],
    ['AES with 160 bits', { encryption: 20, keyLength: 160, encryptionKey: key(24) }, 'KEY_LENGTH'],
    ['ChaCha20 with a key length', { encryption: 28, keyLength: 256, encryptionKey: key(36) }, 'KEY_LENGTH'],
    ['a key without its salt', { encryption: 20, keyLength: 128, encryptionKey: key(16) }, 'KEY_LENGTH'],
    [
      'a MAC key of another length',
      { encryption: 12, keyLength: 128, encryptionKey: key(16), integrity: 12, integrityKey: key(20) },
      'KEY_LENGTH',
    ],
    ['a cipher that is not spoken', { encryption: 2, encryptionKey: key(8), integrity: 2, integrityKey: key(20) }, 'UNKNOWN_TRANSFORM'],
    [
      '3DES with a key length',
      { encryption: 3, keyLength: 192, encryptionKey: key(24), integrity: 2, integrityKey: key(20) },
      'KEY_LENGTH',
    ],
    [
      'GMAC beside a MAC',
      { encryption: 21, keyLength: 128, encryptionKey: key(20), integrity: 12, integrityKey: key(32) },
      'INTEGRITY_WITH_AEAD',
    ],
    [
      'the GMAC of AH in ESP',
      { encryption: 12, keyLength: 128, encryptionKey: key(16), integrity: 9, integrityKey: key(20) },
      'INTEGRITY_OF_AH',
    ],
    [
      'a MAC that is not spoken',
      { encryption: 12, keyLength: 128, encryptionKey: key(16), integrity: 1, integrityKey: key(16) },
      'UNKNOWN_TRANSFORM',
    ],
  ] as const)('%s', (_, keys, code) => {
    expect(() => createPacketCipher(keys)).toThrow(expect.objectContaining({ name: 'ApiMisuse', code }));
  });
});

test('octets of key and salt for every cipher', () => {
  const table = encryptionTransforms().flatMap(({ id, name, keyLengths, keyLengthAttribute }) =>
    keyLengths.map((bits) => [name, bits, encryptionKeyOctets(id, keyLengthAttribute === 'required' ? bits : undefined)]),
  );
  expect(table.filter(([, bits]) => bits === 0 || bits === 256)).toEqual([
    ['ENCR_NULL', 0, 0],
    ['ENCR_AES_CBC', 256, 32],
    ['ENCR_AES_CTR', 256, 36],
    ['ENCR_AES_CCM_8', 256, 35],
    ['ENCR_AES_CCM_12', 256, 35],
    ['ENCR_AES_CCM_16', 256, 35],
    ['ENCR_AES_GCM_8', 256, 36],
    ['ENCR_AES_GCM_12', 256, 36],
    ['ENCR_AES_GCM_16', 256, 36],
    ['ENCR_NULL_AUTH_AES_GMAC', 256, 36],
    ['ENCR_CAMELLIA_CBC', 256, 32],
    ['ENCR_CAMELLIA_CTR', 256, 36],
    ['ENCR_CAMELLIA_CCM_8', 256, 35],
    ['ENCR_CAMELLIA_CCM_12', 256, 35],
    ['ENCR_CAMELLIA_CCM_16', 256, 35],
    ['ENCR_CHACHA20_POLY1305', 256, 36],
    ['ENCR_AES_CCM_8_IIV', 256, 35],
    ['ENCR_AES_GCM_16_IIV', 256, 36],
    ['ENCR_CHACHA20_POLY1305_IIV', 256, 36],
  ]);
  expect(encryptionKeyOctets(3)).toBe(24);
});
