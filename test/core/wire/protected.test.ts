import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, equalBytes, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { ApiMisuse, InternalError, MalformedMessage } from '../../../src/core/bytes/errors.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { type CipherKeys, createPacketCipher, encryptionKeyOctets, integrity } from '../../../src/core/crypto/index.ts';
import type { IkeHeader } from '../../../src/core/wire/header.ts';
import { EncryptionId, ExchangeType, IntegrityId, PayloadType } from '../../../src/core/wire/iana.ts';
import { parseMessage, typeOf, writeMessage, writePayloads } from '../../../src/core/wire/message.ts';
import { PAYLOADS } from '../../../src/core/wire/payloads/index.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';
import {
  type MessageCipher,
  openFragment,
  openMessage,
  type Protection,
  parseProtected,
  sealFragments,
  sealMessage,
} from '../../../src/core/wire/protected.ts';
import { forSeeds, type Gen, gen } from '../../support/gen.ts';

const HEADER: IkeHeader = {
  spiI: fromHex('0102030405060708'),
  spiR: fromHex('1112131415161718'),
  majorVersion: 2,
  minorVersion: 0,
  exchange: ExchangeType.IKE_AUTH,
  flags: { initiator: true, response: false, version: false },
  messageId: 1,
};

const suites: readonly (readonly [string, Omit<CipherKeys, 'encryptionKey'>])[] = [
  ['AES_GCM_16-256', { encryption: EncryptionId.ENCR_AES_GCM_16, keyLength: 256 }],
  ['AES_CCM_8-128', { encryption: EncryptionId.ENCR_AES_CCM_8, keyLength: 128 }],
  ['CHACHA20_POLY1305', { encryption: EncryptionId.ENCR_CHACHA20_POLY1305 }],
  [
    'AES_CBC-256 / HMAC_SHA2_384_192',
    { encryption: EncryptionId.ENCR_AES_CBC, keyLength: 256, integrity: IntegrityId.AUTH_HMAC_SHA2_384_192 },
  ],
  ['AES_CBC-128 / AES_XCBC_96', { encryption: EncryptionId.ENCR_AES_CBC, keyLength: 128, integrity: IntegrityId.AUTH_AES_XCBC_96 }],
  [
    'AES_CTR-192 / HMAC_SHA2_256_128',
    { encryption: EncryptionId.ENCR_AES_CTR, keyLength: 192, integrity: IntegrityId.AUTH_HMAC_SHA2_256_128 },
  ],
];

function protect(keys: Omit<CipherKeys, 'encryptionKey'>, g: Gen = gen(1)): Protection {
  const cipher = createPacketCipher({
    ...keys,
    encryptionKey: g.bytes(encryptionKeyOctets(keys.encryption, keys.keyLength)),
    ...(keys.integrity === undefined ? {} : { integrityKey: g.bytes(integrity(keys.integrity)!.keyLength) }),
  });
  let counter = 0;
  return { cipher, iv: (length) => Uint8Array.from({ length }, (_, i) => (i === length - 1 ? ++counter : 0)) };
}

const open = PAYLOADS.filter(({ notation }) => notation !== 'SK' && notation !== 'SKF');
const draw = (g: Gen, min = 0, max = 6): Payload[] => g.many(min, max, () => g.pick(open).sample(g));

function chain(payloads: readonly Payload[]): Uint8Array {
  const w = new Writer();
  writePayloads(w, payloads);
  return w.finish();
}

const firstOf = (payloads: readonly Payload[]): number => (payloads[0] === undefined ? 0 : typeOf(payloads[0]));

describe.each(suites)('%s', (_, keys) => {
  test('a sealed message opens to what went in, and its parts lie where RFC 7296 §3.14 puts them', () => {
    const protection = protect(keys);
    const { cipher } = protection;
    forSeeds(60, (g) => {
      const payloads = draw(g);
      const octets = sealMessage(HEADER, payloads, protection);
      const message = parseMessage(octets);
      expect(message.raw.length).toBe(octets.length);
      expect(message.payloads).toEqual([{ kind: 'SK', inner: firstOf(payloads), bodyOffset: 32 }]);
      expect((octets.length - 32 - cipher.ivLength - cipher.icvLength) % cipher.blockLength).toBe(0);
      const opened = openMessage(message, cipher);
      expect(opened?.payloads).toEqual(payloads);
      expect(opened?.inner).toBe(firstOf(payloads));
      expect(toHex(opened!.plaintext)).toBe(toHex(chain(payloads)));
    });
  });

  test('opening leaves the datagram as it was, and can be done again', () => {
    const protection = protect(keys);
    const message = parseMessage(sealMessage(HEADER, draw(gen(9), 2, 2), protection));
    const before = toHex(message.raw);
    expect(openMessage(message, protection.cipher)).toEqual(openMessage(message, protection.cipher));
    expect(toHex(message.raw)).toBe(before);
  });

  test('any changed octet, from the first of the SPI to the last of the ICV, is refused', () => {
    const protection = protect(keys);
    const octets = sealMessage(HEADER, [{ kind: 'Nonce', data: gen(3).bytes(20) }], protection);
    for (let at = 0; at < octets.length; at++) {
      // Next Payload and Length of both headers decide whether it parses at all; version too.
      const changed = octets.slice();
      changed[at]! ^= 0x01;
      expect(openOrRefuse(changed, protection.cipher)).toBeUndefined();
    }
  });

  test('fragments join to the message, each within its bound, none much smaller than it may be', () => {
    const protection = protect(keys);
    const { cipher } = protection;
    forSeeds(40, (g) => {
      const payloads = draw(g, 1, 8);
      const bound = g.int(120, 1300);
      const pieces = sealFragments(HEADER, payloads, protection, bound);
      const parts = pieces.map((octets, i) => {
        expect(octets.length).toBeLessThanOrEqual(bound);
        if (i + 1 < pieces.length) expect(octets.length).toBeGreaterThan(bound - cipher.blockLength);
        const message = parseMessage(octets);
        // RFC 7383 §2.5: numbers from 1, inner type in the first alone
        expect(message.payloads).toEqual([
          { kind: 'SKF', inner: i === 0 ? firstOf(payloads) : 0, fragment: i + 1, total: pieces.length, bodyOffset: 36 },
        ]);
        const fragment = openFragment(message, cipher);
        expect(fragment?.inner).toBe(i === 0 ? firstOf(payloads) : 0);
        return fragment!.plaintext;
      });
      expect(parseProtected(firstOf(payloads), concat(...parts))).toEqual(payloads);
    });
  });

  test('a fragment whose number is changed is refused', () => {
    const protection = protect(keys);
    const [first] = sealFragments(HEADER, [{ kind: 'V', data: gen(4).bytes(400) }], protection, 200);
    const changed = first!.slice();
    changed[33] = 2;
    expect(openFragment(parseMessage(first!), protection.cipher)).toBeDefined();
    expect(openFragment(parseMessage(changed), protection.cipher)).toBeUndefined();
  });
});

function openOrRefuse(octets: Uint8Array, cipher: MessageCipher): unknown {
  try {
    const message = parseMessage(octets);
    return message.payloads.at(-1)?.kind === 'SK' ? openMessage(message, cipher) : undefined;
  } catch (error) {
    if (error instanceof MalformedMessage) return undefined;
    throw error;
  }
}

describe('sealing', () => {
  const protection = protect(suites[0]![1]);
  const cbc = protect(suites[3]![1]);

  test('payloads in clear stand before the SK payload, authenticated', () => {
    const puzzle: Payload = { kind: 'PS', data: fromHex('0102030405060708') };
    const nonce: Payload = { kind: 'Nonce', data: new Uint8Array(16) };
    const octets = sealMessage(HEADER, [nonce], protection, [puzzle]);
    const message = parseMessage(octets);
    expect(message.payloads).toEqual([puzzle, { kind: 'SK', inner: PayloadType.Nonce, bodyOffset: 44 }]);
    expect(openMessage(message, protection.cipher)?.payloads).toEqual([puzzle, nonce]);
    const changed = octets.slice();
    changed[35]! ^= 1;
    expect(openMessage(parseMessage(changed), protection.cipher)).toBeUndefined();
  });

  test('payloads in clear stand in the first fragment alone (RFC 8019 §7.2.2)', () => {
    const puzzle: Payload = { kind: 'PS', data: new Uint8Array(60) };
    const pieces = sealFragments(HEADER, [{ kind: 'V', data: gen(5).bytes(500) }], protection, 256, [puzzle]);
    expect(pieces.every((octets) => octets.length <= 256)).toBe(true);
    expect(pieces.map((octets) => parseMessage(octets).payloads.map(({ kind }) => kind))).toEqual([
      ['PS', 'SKF'],
      ...pieces.slice(1).map(() => ['SKF']),
    ]);
    const parts = pieces.map((octets) => openFragment(parseMessage(octets), protection.cipher)!.plaintext);
    expect(parseProtected(PayloadType.V, concat(...parts))).toEqual([{ kind: 'V', data: gen(5).bytes(500) }]);
  });

  test('a message that fits is still one fragment of one', () => {
    const [only, ...more] = sealFragments(HEADER, [], protection, 1000);
    expect(more).toEqual([]);
    expect(parseMessage(only!).payloads).toMatchObject([{ kind: 'SKF', inner: 0, fragment: 1, total: 1 }]);
  });

  test('whatever IV a sender takes, its message is opened (RFC 7296 §3.14)', () => {
    const nonce: Payload = { kind: 'Nonce', data: new Uint8Array(17) };
    for (const [, keys] of suites) {
      const { cipher } = protect(keys);
      for (const octet of [0, 0, 0x41, 0xff]) {
        const sealed = sealMessage(HEADER, [nonce], { cipher, iv: (length) => new Uint8Array(length).fill(octet) });
        expect(openMessage(parseMessage(sealed), cipher)?.payloads).toEqual([nonce]);
      }
    }
  });

  test('the checksum is that of the encrypted message, from the first octet of the header to before itself (RFC 7296 §3.14)', () => {
    const key = new Uint8Array(32).fill(9);
    const cipher = createPacketCipher({
      encryption: 12,
      keyLength: 128,
      encryptionKey: new Uint8Array(16).fill(3),
      integrity: 12,
      integrityKey: key,
    });
    const sealed = sealMessage(HEADER, [{ kind: 'Nonce', data: new Uint8Array(20) }], { cipher, iv: (length) => new Uint8Array(length) });
    const end = sealed.length - cipher.icvLength;
    expect(toHex(sealed.subarray(end))).toBe(createHmac('sha256', key).update(sealed.subarray(0, end)).digest('hex').slice(0, 32));
    // the payload of zeros is not to be seen in it
    expect(toHex(sealed.subarray(48, end))).not.toContain('00000000');
  });

  test('padding is no longer than it has to be (RFC 7296 §3.14)', () => {
    for (let octets = 0; octets < 40; octets++) {
      const sealed = sealMessage(HEADER, [{ kind: 'V', data: new Uint8Array(octets) }], cbc);
      const least = 4 + octets + 1;
      expect(sealed.length - 32 - cbc.cipher.ivLength - cbc.cipher.icvLength).toBe(Math.ceil(least / 16) * 16);
    }
  });

  test('an IV is drawn once per message and stands before the body', () => {
    const ivs: number[] = [];
    const iv = (length: number): Uint8Array => new Uint8Array(length).fill(ivs.push(length));
    const counting: Protection = { cipher: protection.cipher, iv };
    const pieces = sealFragments(HEADER, [{ kind: 'V', data: new Uint8Array(900) }], counting, 300);
    expect(ivs).toEqual(pieces.map(() => 8));
    expect(pieces.map((octets) => octets[36])).toEqual(pieces.map((_, i) => i + 1));
  });

  test('padding is as the sender likes it', () => {
    const random: Protection = { ...cbc, iv: () => new Uint8Array(16), padding: (length) => new Uint8Array(length).fill(0xee) };
    const zero: Protection = { ...cbc, iv: () => new Uint8Array(16) };
    const payloads: Payload[] = [{ kind: 'Nonce', data: new Uint8Array(17) }];
    const [a, b] = [sealMessage(HEADER, payloads, random), sealMessage(HEADER, payloads, zero)];
    expect(a.length).toBe(b.length);
    expect(equalBytes(a, b)).toBe(false);
    expect(openMessage(parseMessage(a), cbc.cipher)).toEqual(openMessage(parseMessage(b), cbc.cipher));
  });

  test('what does not fit is refused before anything is sent', () => {
    const big: Payload = { kind: 'V', data: new Uint8Array(65_510) };
    expect(() => sealMessage(HEADER, [big], protection)).toThrow(ApiMisuse);
    expect(() => sealFragments(HEADER, [big], protection, 61)).toThrow(/no room/);
    expect(() => sealFragments(HEADER, [big, big], protection, 62)).toThrow(/131028 fragments/);
    expect(sealFragments(HEADER, [big], protection, 1280).length).toBe(Math.ceil(65_514 / (1280 - 28 - 8 - 8 - 16 - 1)));
    expect(() => sealMessage(HEADER, [], { cipher: protection.cipher, iv: () => new Uint8Array(3) })).toThrow(InternalError);
  });
});

describe('opening', () => {
  /** Protects nothing, so that every inside can be built: IV of 2 octets, ICV of 3. */
  const open3: MessageCipher = {
    ivLength: 2,
    icvLength: 3,
    blockLength: 1,
    seal: (_b, _s, _h, end) => end + 3,
    open: (_b, _s, _h, end) => end - 3,
  };

  function message(inner: number, body: string): Uint8Array {
    const sealed = fromHex(body);
    const length = 4 + 2 + sealed.length + 3;
    const octets = writeMessage(HEADER, [{ kind: 'unknown', type: 200, data: new Uint8Array(length - 4) }]);
    octets[16] = PayloadType.SK;
    octets[28] = inner;
    octets.set(sealed, 34);
    return octets;
  }

  test('padding of any content and more than needed is taken off', () => {
    const opened = openMessage(parseMessage(message(PayloadType.V, '00000006abcd 99887766 04')), open3);
    expect(opened?.payloads).toEqual([{ kind: 'V', data: fromHex('abcd') }]);
    expect(toHex(opened!.plaintext)).toBe('00000006abcd');
  });

  test('an empty SK payload holds nothing', () => {
    expect(openMessage(parseMessage(message(0, '00')), open3)).toEqual({ payloads: [], plaintext: new Uint8Array(0), inner: 0 });
  });

  test.each([
    ['Pad Length beyond the body', PayloadType.V, '00000006abcd 07'],
    ['no octet for Pad Length', PayloadType.V, ''],
    ['payloads that do not fill the body', PayloadType.V, '00000004 ff 00'],
    ['a payload cut short', PayloadType.V, '00000006ab 00'],
    ['octets where no payload was announced', 0, '00000004 00'],
    ['an SK payload inside', PayloadType.SK, '00000008 01020304 00'],
    ['an SKF payload inside', PayloadType.SKF, '00000008 00010001 00'],
    ['an SK payload behind others inside', PayloadType.V, '2e000004 00000004 00'],
  ])('is refused, though authentic: %s', (_, inner, body) => {
    expect(() => openMessage(parseMessage(message(inner, body)), open3)).toThrow(MalformedMessage);
  });

  test('offsets in errors are those of the message', () => {
    expect(() => openMessage(parseMessage(message(PayloadType.KE, '00000007 000000 00')), open3)).toThrow(/offset 40/);
  });

  test('only what is sealed can be opened', () => {
    const clear = parseMessage(writeMessage(HEADER, []));
    expect(() => openMessage(clear, open3)).toThrow(ApiMisuse);
    expect(() => openFragment(clear, open3)).toThrow(ApiMisuse);
    const sk = parseMessage(message(0, '00'));
    expect(() => openFragment(sk, open3)).toThrow(ApiMisuse);
  });

  test('a body shorter than IV and ICV is refused by the cipher, not by luck', () => {
    const real = protect(suites[0]![1]).cipher;
    for (let length = 0; length < 24; length++) {
      const octets = writeMessage(HEADER, [{ kind: 'unknown', type: 200, data: new Uint8Array(length) }]);
      octets[16] = PayloadType.SK;
      expect(openMessage(parseMessage(octets), real)).toBeUndefined();
    }
  });
});
