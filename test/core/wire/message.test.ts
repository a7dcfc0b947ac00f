import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { ApiMisuse, MalformedMessage, TunnelwrightError } from '../../../src/core/bytes/errors.ts';
import { type IkeHeader, parseHeader } from '../../../src/core/wire/header.ts';
import { ExchangeType, NotifyType, PayloadType } from '../../../src/core/wire/iana.ts';
import { parseMessage, parsePayloads, writeMessage } from '../../../src/core/wire/message.ts';
import { PAYLOADS } from '../../../src/core/wire/payloads/index.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { forSeeds } from '../../support/gen.ts';

const HEADER: IkeHeader = {
  spiI: fromHex('0102030405060708'),
  spiR: new Uint8Array(8),
  majorVersion: 2,
  minorVersion: 0,
  exchange: ExchangeType.IKE_SA_INIT,
  flags: { initiator: true, response: false, version: false },
  messageId: 0,
};

const NONCE: Payload = { kind: 'Nonce', data: new Uint8Array(16).fill(5) };
const COOKIE: Payload = { kind: 'N', notify: NotifyType.COOKIE, protocol: 0, spi: new Uint8Array(0), data: fromHex('c0ffee') };

/** A message by hand: type of the first payload, and what stands behind the header. */
function datagram(first: number, body: string | Uint8Array, stated?: number): Uint8Array {
  const octets = typeof body === 'string' ? fromHex(body) : body;
  const whole = concat(fromHex('0102030405060708 0000000000000000'), Uint8Array.of(first, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 0), octets);
  new DataView(whole.buffer).setUint32(24, stated ?? whole.length);
  return whole;
}

function refusal(data: Uint8Array): MalformedMessage {
  try {
    parseMessage(data);
  } catch (error) {
    if (error instanceof MalformedMessage) return error;
    throw error;
  }
  return expect.unreachable('the message was accepted');
}

describe('parseMessage', () => {
  test('reads what writeMessage wrote', () => {
    const octets = writeMessage(HEADER, [COOKIE, NONCE]);
    const message = parseMessage(octets);
    expect(message.header).toEqual(HEADER);
    expect(message.payloads).toEqual([COOKIE, NONCE]);
    expect(toHex(message.raw)).toBe(toHex(octets));
    expect(parseHeader(octets)).toMatchObject({ nextPayload: PayloadType.N, length: octets.length });
  });

  test('reads a message without payloads', () => {
    expect(parseMessage(writeMessage(HEADER, [])).payloads).toEqual([]);
  });

  test('takes the Length field at its word: what lies behind is no part of the message', () => {
    const octets = writeMessage(HEADER, [NONCE]);
    const message = parseMessage(concat(octets, fromHex('dead')));
    expect(message.payloads).toEqual([NONCE]);
    expect(message.raw.length).toBe(octets.length);
  });

  test.each([
    ['longer than the datagram', 0x1000_0000],
    ['one octet longer than the datagram', 49],
    ['shorter than the header', 27],
    ['zero', 0],
    ['shorter than the payloads', 47],
  ])('refuses a Length field that is %s', (_, stated) => {
    expect(refusal(datagram(PayloadType.Nonce, `00 00 0014 ${'05'.repeat(16)}`, stated))).toBeInstanceOf(MalformedMessage);
  });

  test.each([0, 1, 2, 3])('refuses a Payload Length of %i: every payload consumes octets', (length) => {
    const error = refusal(datagram(PayloadType.V, `2b 00 000${length} 2b 00 000${length}`));
    expect(error).toMatchObject({ field: 'Payload Length', section: 'RFC 7296 §3.2' });
  });

  test('refuses a payload that reaches beyond the message', () => {
    expect(refusal(datagram(PayloadType.V, '00 00 0009 01020304')).message).toContain('V payload needs 5 octets, 4 are left');
  });

  test('refuses octets behind the last payload, and a Next Payload that nothing follows', () => {
    expect(refusal(datagram(PayloadType.V, '00 00 0005 01 ff')).message).toContain('1 octets left over after the last payload');
    expect(refusal(datagram(PayloadType.NONE, '00 00 0004')).field).toBe('the last payload');
    expect(refusal(datagram(PayloadType.V, '2b 00 0005 01')).field).toBe('Next Payload');
  });

  test('refuses more payloads than anybody sends', () => {
    const many = (count: number): Uint8Array =>
      concat(...Array.from({ length: count }, (_, i) => fromHex(i + 1 < count ? '2b000004' : '00000004')));
    expect(parseMessage(datagram(PayloadType.V, many(512))).payloads.length).toBe(512);
    expect(refusal(datagram(PayloadType.V, many(513))).message).toContain('more than 512 payloads');
  });

  test('says at which octet and in which field reading stopped', () => {
    // a KE payload of 3 octets: its method, and one octet of two reserved ones
    expect(refusal(datagram(PayloadType.KE, '00 00 0007 0013 00'))).toMatchObject({ field: 'RESERVED', offset: 34 });
  });

  test('ignores reserved octets and the minor version (RFC 7296 §2.5)', () => {
    const octets = datagram(PayloadType.KE, '00 7f 000a 0013 ffff 0102');
    octets[17] = 0x2f;
    octets[19] = 0xcf;
    const message = parseMessage(octets);
    expect(message.payloads).toEqual([{ kind: 'KE', method: 19, data: fromHex('0102') }]);
    expect(message.header.flags).toEqual({ initiator: true, response: false, version: false });
  });

  test('keeps payloads of unknown type with their critical bit, IKEv1 types among them', () => {
    for (const type of [1, 13, 32, 49, 55, 128, 255]) {
      const [payload] = parseMessage(datagram(type, '00 80 0006 abcd')).payloads;
      expect(payload).toEqual({ kind: 'unknown', type, data: fromHex('abcd'), critical: true });
    }
  });

  test('leaves an SK payload sealed, and demands that it ends the message', () => {
    const sealed = parseMessage(datagram(PayloadType.V, '2e 00 0006 0102 23 00 0014 00112233445566778899aabbccddeeff'));
    expect(sealed.payloads).toEqual([
      { kind: 'V', data: fromHex('0102') },
      { kind: 'SK', inner: PayloadType.IDi, bodyOffset: 38 },
    ]);
    expect(refusal(datagram(PayloadType.SK, '2b 00 0006 0102 00 00 0004')).field).toBe('the last payload');
  });

  test('reads the numbers of a fragment, and refuses those that cannot be (RFC 7383 §2.5)', () => {
    const fragment = (number: string, total: string): Uint8Array => datagram(PayloadType.SKF, `23 00 000a ${number} ${total} abcd`);
    expect(parseMessage(fragment('0002', '0003')).payloads).toEqual([
      { kind: 'SKF', inner: PayloadType.IDi, fragment: 2, total: 3, bodyOffset: 36 },
    ]);
    expect(parseMessage(fragment('ffff', 'ffff')).payloads[0]).toMatchObject({ fragment: 65535, total: 65535 });
    for (const [number, total] of [
      ['0000', '0001'],
      ['0000', '0000'],
      ['0001', '0000'],
      ['0004', '0003'],
    ] as const) {
      expect(refusal(fragment(number, total))).toMatchObject({ field: 'Fragment Number', section: 'RFC 7383 §2.5' });
    }
    expect(refusal(datagram(PayloadType.SKF, '23 00 0007 000100')).field).toBe('Total Fragments');
  });

  test.each([
    [1, 'IKEv1'],
    [3, 'IKE version 3.0'],
    [0, 'IKE version 0.0'],
    [15, 'IKE version 15.0'],
  ])('refuses major version %i by name, while its header can still be read', (major, name) => {
    const octets = writeMessage({ ...HEADER, majorVersion: major, messageId: 7 }, [NONCE]);
    const error = refusal(octets);
    expect(error).toMatchObject({ code: 'UNSUPPORTED_MAJOR_VERSION', section: 'RFC 7296 §2.5' });
    expect(error.message).toContain(name);
    expect(parseHeader(octets).header).toMatchObject({ majorVersion: major, messageId: 7 });
  });
});

describe('writeMessage', () => {
  test('refuses what does not fit its field', () => {
    const write = (payload: Payload) => () => writeMessage(HEADER, [payload]);
    expect(write({ kind: 'V', data: new Uint8Array(65_532) })).toThrow(ApiMisuse);
    expect(write({ kind: 'V', data: new Uint8Array(65_531) })).not.toThrow();
    expect(write({ kind: 'SA', proposals: [] })).toThrow(ApiMisuse);
    expect(write({ kind: 'TSi', selectors: [] })).toThrow(ApiMisuse);
    expect(write({ kind: 'D', protocol: 3, spis: [new Uint8Array(4), new Uint8Array(8)] })).toThrow(ApiMisuse);
    expect(write({ kind: 'N', notify: 1, protocol: 0, spi: new Uint8Array(256), data: new Uint8Array(0) })).toThrow(ApiMisuse);
    expect(write({ kind: 'SK', inner: 0, bodyOffset: 32 })).toThrow(ApiMisuse);
  });
});

describe('whole messages', () => {
  const open = PAYLOADS.filter(({ notation }) => notation !== 'SK' && notation !== 'SKF');

  test('come back as they were, whatever they hold', () => {
    forSeeds(120, (g) => {
      const header: IkeHeader = { ...HEADER, exchange: g.u8(), messageId: g.u32(), spiI: g.bytes(8), spiR: g.bytes(8) };
      const payloads = g.many(0, 10, () => g.pick(open).sample(g));
      const octets = writeMessage(header, payloads);
      const message = parseMessage(octets);
      expect(message.header).toEqual(header);
      expect(message.payloads).toEqual(payloads);
      expect(toHex(writeMessage(message.header, message.payloads))).toBe(toHex(octets));
    });
  });

  test('with any octet changed, any cut and any garbage are read or refused with a typed error', () => {
    forSeeds(150, (g) => {
      const octets = writeMessage(
        HEADER,
        g.many(1, 6, () => g.pick(open).sample(g)),
      );
      const attempts = [octets.subarray(0, g.int(0, octets.length)), concat(octets, g.bytes(1, 40)), g.bytes(0, 300)];
      for (let i = 0; i < 40; i++) {
        const changed = octets.slice();
        changed[g.int(0, octets.length - 1)] = g.u8();
        attempts.push(changed);
      }
      for (const attempt of attempts) {
        try {
          parseMessage(attempt);
        } catch (error) {
          if (!(error instanceof TunnelwrightError)) throw error;
        }
      }
    });
  });

  test('the biggest datagram of the smallest parts is dealt with at once', () => {
    // 31 proposals of 255 transforms of 8 octets each
    const transforms = Array.from({ length: 255 }, () => ({ type: 1, id: 12 }));
    const proposals = Array.from({ length: 31 }, (_, i) => ({ number: i + 1, protocol: 1, spi: new Uint8Array(0), transforms }));
    const octets = writeMessage(HEADER, [{ kind: 'SA', proposals }]);
    expect(octets.length).toBeGreaterThan(63_000);
    expectAtOnce(() => expect(parseMessage(octets).payloads.length).toBe(1), 500);
  });
});

test('parsePayloads counts offsets from where it is told', () => {
  expect(() => parsePayloads(PayloadType.KE, fromHex('00000007 001300'), 100)).toThrow(/offset 106/);
});
