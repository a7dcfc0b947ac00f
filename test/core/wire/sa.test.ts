import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage } from '../../../src/core/bytes/errors.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { PayloadType } from '../../../src/core/wire/iana.ts';
import { parsePayloads, writePayloads } from '../../../src/core/wire/message.ts';
import type { Proposal } from '../../../src/core/wire/payloads/types.ts';

/** An SA payload by hand: what stands behind its generic header. */
function parse(body: string): readonly Proposal[] {
  const octets = fromHex(body);
  const length = 4 + octets.length;
  const [sa] = parsePayloads(PayloadType.SA, concat(Uint8Array.of(0, 0, length >>> 8, length), octets));
  return sa?.kind === 'SA' ? sa.proposals : expect.unreachable('no SA');
}

const refused = (body: string): MalformedMessage => {
  try {
    parse(body);
  } catch (error) {
    if (error instanceof MalformedMessage) return error;
    throw error;
  }
  return expect.unreachable('it was accepted');
};

describe('Security Association payload, RFC 7296 §3.3', () => {
  test('two proposals: AES-CBC-256 with HMAC, and an AEAD with SPI', () => {
    const body = [
      '02 00 001c 01 03 00 02', // first, ESP, two transforms
      '03 00 000c 01 00 000c 800e 0100',
      '00 00 0008 03 00 000c',
      '00 00 0018 02 03 04 01 c0ffee01', // second, with SPI
      '00 00 000c 01 00 0014 800e 0080',
    ].join('');
    expect(parse(body)).toEqual([
      {
        number: 1,
        protocol: 3,
        spi: new Uint8Array(0),
        transforms: [
          { type: 1, id: 12, keyLength: 256 },
          { type: 3, id: 12 },
        ],
      },
      { number: 2, protocol: 3, spi: fromHex('c0ffee01'), transforms: [{ type: 1, id: 20, keyLength: 128 }] },
    ]);
  });

  test('reserved octets set are ignored, and sent as zero', () => {
    const body = '00 ff 0014 01 01 00 01 00 ff 000c 01 ff 0014 800e 0080';
    const w = new Writer();
    writePayloads(w, [{ kind: 'SA', proposals: parse(body) }]);
    expect(toHex(w.finish().subarray(4))).toBe(toHex(fromHex('00 00 0014 01 01 00 01 00 00 000c 01 00 0014 800e 0080')));
  });

  test('unknown transform types, ids and attributes of both forms survive', () => {
    const body = '00 00 001e 01 01 00 01 00 00 0016 f0 00 beef 9234 5678 1235 0002 abcd 1236 0000';
    const [proposal] = parse(body);
    expect(proposal?.transforms).toEqual([
      {
        type: 0xf0,
        id: 0xbeef,
        attributes: [
          { type: 0x1234, value: 0x5678 },
          { type: 0x1235, value: fromHex('abcd') },
          { type: 0x1236, value: new Uint8Array(0) },
        ],
      },
    ]);
    const w = new Writer();
    writePayloads(w, [{ kind: 'SA', proposals: [proposal!] }]);
    expect(toHex(w.finish().subarray(4))).toBe(toHex(fromHex(body)));
  });

  test('a Key Length twice, or in the long form, makes the transform one that nobody knows', () => {
    expect(parse('00 00 0018 01 01 00 01 00 00 0010 01 00 000c 800e 0080 800e 0100')[0]?.transforms).toEqual([
      { type: 1, id: 12, keyLength: 128, attributes: [{ type: 14, value: 256 }] },
    ]);
    expect(parse('00 00 0016 01 01 00 01 00 00 000e 01 00 000c 000e 0002 0080')[0]?.transforms).toEqual([
      { type: 1, id: 12, attributes: [{ type: 14, value: fromHex('0080') }] },
    ]);
  });

  test('two key lengths are two transforms of one type, each with its Key Length in two octets, the higher first (RFC 7296 §3.3.5)', () => {
    const transforms = [256, 128].map((keyLength) => ({ type: 1, id: 12, keyLength }));
    const w = new Writer();
    writePayloads(w, [{ kind: 'SA', proposals: [{ number: 1, protocol: 1, spi: new Uint8Array(0), transforms }] }]);
    const octets = w.finish().subarray(4);
    expect(toHex(octets)).toBe(toHex(fromHex('00 00 0020 01 01 00 02 03 00 000c 01 00 000c 800e 0100 00 00 000c 01 00 000c 800e 0080')));
    expect(parse(toHex(octets))[0]?.transforms).toEqual(transforms);
  });

  test('a proposal without transforms is read: whether it means anything is for negotiation to say', () => {
    expect(parse('00 00 0008 01 01 00 00')).toEqual([{ number: 1, protocol: 1, spi: new Uint8Array(0), transforms: [] }]);
  });

  test.each([
    ['no proposal at all', ''],
    ['Last Substruc says more, nothing follows', '02 00 0014 01 01 00 01 00 00 000c 01 00 000c 800e 0080'],
    ['Last Substruc says last, more follows', '00 00 0008 01 01 00 00 00 00 0008 02 01 00 00'],
    ['Last Substruc of a proposal is 3', '03 00 0008 01 01 00 00'],
    ['Last Substruc of a transform is 2', '00 00 0010 01 01 00 01 02 00 0008 01 00 000c'],
    ['Num Transforms counts too few', '00 00 0018 01 01 00 01 03 00 0008 01 00 000c 00 00 0008 01 00 000c'],
    ['Num Transforms counts too many', '00 00 0010 01 01 00 02 00 00 0008 01 00 000c'],
    ['octets behind the transforms', '00 00 0012 01 01 00 01 00 00 0008 01 00 000c ffff'],
    ['octets in a proposal of no transform', '00 00 000a 01 01 00 00 ffff'],
    ['Proposal Length below its own header', '00 00 0007 01 01 00 00'],
    ['Proposal Length zero', '00 00 0000 01 01 00 00'],
    ['Transform Length zero', '00 00 0010 01 01 00 01 00 00 0000 01 00 000c'],
    ['Transform Length beyond the proposal', '00 00 0010 01 01 00 01 00 00 0009 01 00 000c'],
    ['SPI Size beyond the proposal', '00 00 0008 01 01 04 00'],
    ['an attribute cut short', '00 00 0012 01 01 00 01 00 00 000a 01 00 000c 800e'],
    ['an attribute longer than the transform', '00 00 0014 01 01 00 01 00 00 000c 01 00 000c 000e 0005'],
  ])('is refused: %s', (_, body) => {
    expect(refused(body).message).not.toBe('');
  });
});
