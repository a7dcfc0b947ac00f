import { createCipheriv } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, integrity, keyExchange } from '../../src/core/crypto/index.ts';
import { MODP_NUMBERS } from '../../src/core/crypto/key-exchange/modp-numbers.ts';
import { BlockCcmPacketCipher } from '../../src/core/crypto/packet-ciphers/block-ccm.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../src/core/esp/index.ts';
import { describeWithShared, readShared } from '../support/shared.ts';

/** The numbers of the standards for the transforms that are used only when they are named. */

describe('Camellia (RFC 3713 appendix A): one block under 128, 192 and 256 bits', () => {
  test.each([
    ['0123456789abcdeffedcba9876543210', '67673138549669730857065648eabe43'],
    ['0123456789abcdeffedcba98765432100011223344556677', 'b4993401b3e996f84ee5cee7d79b09b9'],
    ['0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff', '9acc237dff16d76c20ef7c919e3a7509'],
  ])('%s', (key, ciphertext) => {
    const cipher = withMac(23, fromHex(key), (key.length / 2) * 8);
    const packet = concat(new Uint8Array(16), fromHex('0123456789abcdeffedcba9876543210'), new Uint8Array(cipher.icvLength));
    cipher.seal(packet, 0, 0, 32);
    expect(toHex(packet.subarray(16, 32))).toBe(ciphertext);
    expect(cipher.open(packet, 0, 0, packet.length)).toBe(32);
    expect(toHex(packet.subarray(16, 32))).toBe('0123456789abcdeffedcba9876543210');
  });
});

describe('Camellia-CTR (RFC 5528 §5)', () => {
  test.each([
    [
      'vector 1',
      'ae6852f8121067cc4bf7a5765577f39e',
      '00000030',
      '0000000000000000',
      '53696e676c6520626c6f636b206d7367',
      'd09dc29a8214619a20877c76db1f0b3f',
    ],
    [
      'vector 2',
      '7e24067817fae0d743d6ce1f32539163',
      '006cb6db',
      'c0543b59da48d90b',
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      'dbf3c78dc08396d4da7c907765bbcb442b8e8e0f31f0dca72c7417e35360e048',
    ],
    [
      'vector 3',
      '7691be035e5020a8ac6e618529f9a0dc',
      '00e0017b',
      '27777f3f4a1786f0',
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223',
      'b19d1fcdcb75eb882f849ce24d85cf739ce64b2b5c9d73f14f2d5d9dce9889cddf508696',
    ],
  ])('%s', (_, key, salt, iv, plain, sealed) => {
    const cipher = withMac(24, fromHex(key + salt), 128);
    const packet = concat(fromHex(iv), fromHex(plain), new Uint8Array(cipher.icvLength));
    cipher.seal(packet, 0, 0, packet.length - cipher.icvLength);
    expect(toHex(packet.subarray(8, -cipher.icvLength))).toBe(sealed);
    expect(cipher.open(packet, 0, 0, packet.length)).toBe(packet.length - cipher.icvLength);
    expect(toHex(packet.subarray(8, -cipher.icvLength))).toBe(plain);
  });
});

test.each([14, 15, 16])('CCM of two modes is CCM: over AES it equals that of OpenSSL (transform %i)', (id) => {
  const transform = encryption(id)!;
  for (const bits of [128, 192, 256]) {
    const key = octets(bits / 8 + 3, bits);
    const whole = createPacketCipher({ encryption: id, keyLength: bits, encryptionKey: key });
    const composed = new BlockCcmPacketCipher(
      transform,
      [`aes-${bits}-ctr`, `aes-${bits}-cbc`],
      key.subarray(0, bits / 8),
      key.subarray(bits / 8),
    );
    // RFC 3610 §2.2: the AAD is empty, shorter and longer than a block, and longer than two octets can say; the body ends anywhere.
    for (const [head, body, esn] of [
      [0, 5, undefined],
      [8, 0, undefined],
      [8, 1, undefined],
      [8, 16, 0x01020304],
      [14, 17, undefined],
      [32, 4000, undefined],
      [0xfeff, 40, undefined],
      [0xff00, 40, undefined],
    ] as const) {
      const packet = octets(head + 8 + body + transform.icvLength, head);
      const end = head + 8 + body;
      const expected = new Uint8Array(packet);
      whole.seal(expected, 0, head, end, esn);
      expect(composed.seal(packet, 0, head, end, esn)).toBe(packet.length);
      expect(packet).toEqual(expected);
      expect(composed.open(packet, 0, head, packet.length, esn)).toBe(end);
      expect(whole.open(expected, 0, head, expected.length, esn)).toBe(end);
      expect(packet).toEqual(expected);
    }
  }
});

describe('3DES-CBC', () => {
  // SP 800-67 appendix B.1: "The qufck brown fox jump", each block alone.
  test.each([
    ['5468652071756663', 'a826fd8ce53b855f'],
    ['6b2062726f776e20', 'cce21c8112256fe6'],
    ['666f78206a756d70', '68d5c05dd9b6b900'],
  ])('SP 800-67 appendix B: %s', (plain, sealed) => {
    const cipher = withMac(3, fromHex('0123456789abcdef23456789abcdef01456789abcdef0123'));
    const packet = concat(new Uint8Array(8), fromHex(plain), new Uint8Array(cipher.icvLength));
    cipher.seal(packet, 0, 0, 16);
    expect(toHex(packet.subarray(8, 16))).toBe(sealed);
    expect(cipher.open(packet, 0, 0, packet.length)).toBe(16);
    expect(toHex(packet.subarray(8, 16))).toBe(plain);
  });
});

describe('AES-GMAC (RFC 4543)', () => {
  // McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 1 and 7: nothing to encrypt and nothing beside it.
  test.each([
    [9, 16, '58e2fccefa7e3061367f1d57a4e7455a'],
    [10, 24, 'cd33b28ac773f74ba00ed1f312572435'],
    [11, 32, '530f8afbc74536b9a963b4f1c4cb738b'],
  ])('transform %i of AH: the tag of nothing', (id, keyOctets, tag) => {
    expect(toHex(integrity(id)!.compute(new Uint8Array(keyOctets + 4), new Uint8Array(8)))).toBe(tag);
  });

  test.each([128, 192, 256])(
    'of ESP, %i bits: SPI, sequence number, IV, payload and trailer are covered and sent as they are (§3.3)',
    (bits) => {
      for (const esn of [false, true]) {
        const key = octets(bits / 8 + 4, bits);
        const cipher = createPacketCipher({ encryption: 21, keyLength: bits, encryptionKey: key });
        const resume = { sequenceHigh: esn ? 7 : 0, sequenceLow: 8 };
        const outbound = new OutboundSa({ spi: 0x01020304, cipher, esn, resume });
        const payload = octets(33, 5);
        const packet = new Uint8Array(outbound.sealedLength(payload.length));
        expect(outbound.seal(payload, 4, packet, 0)).toBe(packet.length);
        expect(packet.subarray(16, 16 + payload.length)).toEqual(payload);
        const gmac = createCipheriv(`aes-${bits as 128}-gcm`, key.subarray(0, -4), concat(key.subarray(-4), packet.subarray(8, 16)));
        gmac.setAAD(concat(packet.subarray(0, 4), esn ? Uint8Array.of(0, 0, 0, 7) : new Uint8Array(0), packet.subarray(4, -16)));
        gmac.final();
        expect(packet.subarray(-16)).toEqual(new Uint8Array(gmac.getAuthTag()));
        // The transform of AH says the same of the same octets.
        if (!esn)
          expect(integrity({ 128: 9, 192: 10, 256: 11 }[bits]!)!.compute(key, packet.subarray(8, 16), packet.subarray(0, -16))).toEqual(
            packet.slice(-16),
          );
      }
    },
  );

  test('without an IV, or with one of another length, it protects nothing', () => {
    const mac = integrity(9)!.createMac(new Uint8Array(20));
    expect(() => mac.compute(new Uint8Array(4))).toThrow(expect.objectContaining({ code: 'IV_LENGTH' }));
    expect(() => mac.compute(new Uint8Array(4), undefined, new Uint8Array(12))).toThrow(expect.objectContaining({ code: 'IV_LENGTH' }));
    expect(new Uint8Array(mac.compute(octets(9), 0x01020304, octets(8)))).toEqual(
      integrity(9)!.compute(new Uint8Array(20), octets(8), octets(9), Uint8Array.of(1, 2, 3, 4)),
    );
    mac.destroy();
    expect(() => mac.compute(new Uint8Array(4), undefined, new Uint8Array(8))).toThrow(/destroyed/);
  });
});

describe('implicit IV (RFC 8750 §4)', () => {
  test.each([
    [29, 14, 128],
    [29, 14, 256],
    [30, 20, 192],
    [30, 20, 256],
    [31, 28, undefined],
  ] as const)('transform %i is %i without the IV, which is the sequence number (%s bits)', (implicit, explicit, keyLength) => {
    const encryptionKey = octets((keyLength ?? 256) / 8 + encryption(explicit)!.saltLength, 77);
    for (const resume of [
      { sequenceHigh: 0, sequenceLow: 0 },
      { sequenceHigh: 0x0a0b0c0d, sequenceLow: 0xfffffffe },
    ]) {
      const esn = resume.sequenceHigh > 0;
      const sa = (id: number) =>
        new OutboundSa({ spi: 0xcafe0001, cipher: createPacketCipher({ encryption: id, keyLength, encryptionKey }), esn, resume });
      const [short, long] = [sa(implicit), sa(explicit)];
      for (let i = 0; i < 4; i++) {
        const payload = octets(20 + i, i);
        const [a, b] = [new Uint8Array(short.sealedLength(payload.length)), new Uint8Array(long.sealedLength(payload.length))];
        expect(short.seal(payload, 4, a, 0)).toBe(a.length);
        // Our IV with the other transform is the whole sequence number, so that all else must be the same.
        expect(long.seal(payload, 4, b, 0)).toBe(a.length + 8);
        expect(concat(a.subarray(0, 8), b.subarray(8, 16), a.subarray(8))).toEqual(b);
      }
    }
  });

  test('a packet under another number, or its high half, does not open', () => {
    const cipher = () => createPacketCipher({ encryption: 30, keyLength: 128, encryptionKey: octets(20) });
    const outbound = new OutboundSa({ spi: 9, cipher: cipher(), esn: true, resume: { sequenceHigh: 3, sequenceLow: 100 } });
    const packet = new Uint8Array(outbound.sealedLength(40));
    outbound.seal(octets(40), 4, packet, 0);
    const open = (resume: { sequenceHigh: number; sequenceLow: number }, esn: boolean, bend = 0) => {
      const bent = new Uint8Array(packet);
      bent[7]! ^= bend;
      return new InboundSa({ spi: 9, cipher: cipher(), esn, resume }).open(bent, new OpenedPacket());
    };
    expect(open({ sequenceHigh: 3, sequenceLow: 90 }, true)).toBe('ok');
    expect(open({ sequenceHigh: 3, sequenceLow: 90 }, true, 1)).toBe('icv');
    expect(open({ sequenceHigh: 2, sequenceLow: 90 }, true)).toBe('icv');
    expect(open({ sequenceHigh: 0, sequenceLow: 90 }, false)).toBe('icv');
  });

  test('an IKE message has no head for it', () => {
    const cipher = createPacketCipher({ encryption: 30, keyLength: 128, encryptionKey: octets(20) });
    expect(() => cipher.seal(new Uint8Array(100), 0, 32, 60)).toThrow(expect.objectContaining({ code: 'ESP_ONLY' }));
    expect(() => cipher.open(new Uint8Array(100), 0, 32, 60)).toThrow(expect.objectContaining({ code: 'ESP_ONLY' }));
    expect(cipher.open(new Uint8Array(100), 0, 8, 20)).toBe(-1);
    expect(cipher.open(new Uint8Array(100), 0, 8, 101)).toBe(-1);
  });
});

test('HMAC_SHA2_256_96 is HMAC_SHA2_256_128, cut shorter (RFC 4868 §2.6 and what came before)', () => {
  const [key, data] = [octets(32, 1), octets(50, 2)];
  expect(integrity(1026)!.compute(key, data)).toEqual(integrity(12)!.compute(key, data).slice(0, 12));
});

describeWithShared('RFC 7296 appendix B.2', 'rfc/rfc7296.txt', () => {
  test('the prime of MODP group 2', () => {
    const text = pages('rfc7296.txt');
    const digits = [...text.slice(text.lastIndexOf('\nB.2.')).matchAll(/\b[0-9A-F]{8}\b/g)].slice(0, 32).join('');
    expect(toHex(MODP_NUMBERS[2].prime)).toBe(digits.toLowerCase());
  });
});

describeWithShared('RFC 5114 appendix A', 'rfc/rfc5114.txt', () => {
  const text = pages('rfc5114.txt');

  test.each([
    [22, 'A.1.  1024', '2.1.  1024', 128],
    [23, 'A.2.  2048', '2.2.  2048', 256],
    [24, 'A.3.  2048', '2.3.  2048', 256],
  ] as const)('MODP group %i', (id, data, group, octetsOfValue) => {
    const method = keyExchange(id)!;
    const { p, g, q } = section(text, group);
    const subgroup = MODP_NUMBERS[id];
    expect([p, g, q]).toEqual([toHex(subgroup.prime), toHex(subgroup.generator), toHex(subgroup.order)]);
    const { xA, yA, xB, yB, Z } = section(text, data);
    expect(yA!.length).toBe(2 * octetsOfValue);
    const offer = method.offer(fromHex(xA!));
    expect(toHex(offer.publicValue)).toBe(yA);
    const answer = method.accept(offer.publicValue, fromHex(xB!));
    expect(toHex(answer.publicValue)).toBe(yB);
    expect(toHex(answer.sharedSecret)).toBe(Z);
    expect(toHex(offer.finish(answer.publicValue))).toBe(Z);
  });

  test.each([
    [19, 'A.6.  256'],
    [20, 'A.7.  384'],
    [25, 'A.4.  192'],
    [26, 'A.5.  224'],
  ] as const)('ECP group %i', (id, data) => expectAgreement(id, section(text, data)));
});

describeWithShared('RFC 6954 appendix A', 'rfc/rfc6954.txt', () => {
  const text = pages('rfc6954.txt');
  test.each([
    [27, 'A.1.  224'],
    [28, 'A.2.  256'],
    [29, 'A.3.  384'],
    [30, 'A.4.  512'],
  ] as const)('Brainpool group %i', (id, data) => expectAgreement(id, section(text, data)));
});

function expectAgreement(id: number, { dA, x_qA, y_qA, dB, x_qB, y_qB, x_Z }: Readonly<Record<string, string>>): void {
  const method = keyExchange(id)!;
  const offer = method.offer(fromHex(dA!));
  expect(toHex(offer.publicValue)).toBe(x_qA! + y_qA!);
  const answer = method.accept(offer.publicValue, fromHex(dB!));
  expect(toHex(answer.publicValue)).toBe(x_qB! + y_qB!);
  expect(toHex(answer.sharedSecret)).toBe(x_Z);
  expect(toHex(offer.finish(answer.publicValue))).toBe(x_Z);
}

/** An RFC without what divides its pages. */
function pages(file: string): string {
  return new TextDecoder('latin1').decode(readShared(`rfc/${file}`)).replace(/\n+[^\n]*\[Page \d+\]\n\f\n[^\n]*\n+/g, '\n');
}

/** `name = hexadecimal digits over several lines` of the section that begins so. */
function section(text: string, heading: string): Readonly<Record<string, string>> {
  const body = text.slice(text.indexOf(`\n${heading}`) + heading.length + 1).split(/\n(?:[A-Z]|\d)\.(?:\d+\.)? /)[0]!;
  return Object.fromEntries(
    [...body.matchAll(/^ +(\w+) +=((?:\s+[0-9A-F]+(?=\s))+)/gm)].map(([, name, digits]) => [
      name!,
      digits!.replace(/\s/g, '').toLowerCase(),
    ]),
  );
}

const octets = (length: number, from = 0): Uint8Array => new Uint8Array(length).map((_, i) => (from + i * 13) & 0xff);

const withMac = (id: number, encryptionKey: Uint8Array, keyLength?: number) =>
  createPacketCipher({ encryption: id, keyLength, encryptionKey, integrity: 2, integrityKey: new Uint8Array(20) });
