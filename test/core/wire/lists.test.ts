import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage } from '../../../src/core/bytes/errors.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { PayloadType } from '../../../src/core/wire/iana.ts';
import { parsePayloads, writePayloads } from '../../../src/core/wire/message.ts';
import { parseHashAndUrl } from '../../../src/core/wire/payloads/cert.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';

/** One payload by hand: what stands behind its generic header. */
function parse(type: number, body: string): Payload {
  const octets = fromHex(body);
  const length = 4 + octets.length;
  return parsePayloads(type, concat(Uint8Array.of(0, 0, length >>> 8, length), octets))[0]!;
}

const write = (payload: Payload): string => {
  const w = new Writer();
  writePayloads(w, [payload]);
  return toHex(w.finish().subarray(4));
};

describe('Traffic Selector payload, RFC 7296 §3.13', () => {
  const V4 = '07 06 0010 0050 0050 0a010000 0a0100ff';
  const V6 = `08 00 0028 0000 ffff fd${'00'.repeat(15)} fd${'ff'.repeat(15)}`;
  const LABEL = '0a 00 000a 616263646566';

  test('ranges of both families, and a type that is not ours', () => {
    const payload = parse(PayloadType.TSi, `03 000000 ${V4} ${V6} ${LABEL}`);
    expect(payload).toMatchObject({
      kind: 'TSi',
      selectors: [
        { type: 7, protocol: 6, startPort: 80, endPort: 80, start: fromHex('0a010000'), end: fromHex('0a0100ff') },
        { type: 8, protocol: 0, startPort: 0, endPort: 65535 },
        { type: 10, protocol: 0, raw: fromHex('616263646566') },
      ],
    });
    expect(write(payload)).toBe(toHex(fromHex(`03 000000 ${V4} ${V6} ${LABEL}`)));
  });

  test('OPAQUE ports and an empty foreign selector are kept', () => {
    expect(parse(PayloadType.TSr, '01 000000 07 00 0010 ffff 0000 0a010000 0a0100ff')).toMatchObject({
      selectors: [{ startPort: 65535, endPort: 0 }],
    });
    expect(parse(PayloadType.TSr, '01 000000 63 00 0004')).toMatchObject({ selectors: [{ type: 99, raw: new Uint8Array(0) }] });
  });

  test.each([
    ['no selector', '00 000000'],
    ['fewer selectors than counted', `02 000000 ${V4}`],
    ['more octets than selectors', `01 000000 ${V4} 00`],
    ['an IPv4 range of the length of an IPv6 one', V6.replace('08', '07')],
    ['an IPv6 range of the length of an IPv4 one', `01 000000 ${V4.replace('07', '08')}`],
    ['a Selector Length of zero', '01 000000 07 06 0000 0050 0050 0a010000 0a0100ff'],
    ['a Selector Length below its header', '01 000000 63 06 0003'],
    ['a range that is too long', '01 000000 07 06 0011 0050 0050 0a010000 0a0100ff 00'],
  ])('is refused: %s', (_, body) => {
    expect(() => parse(PayloadType.TSi, body)).toThrow(MalformedMessage);
  });
});

describe('Delete payload, RFC 7296 §3.11', () => {
  test('of an IKE SA, which has no SPI here', () => {
    expect(parse(PayloadType.D, '01 00 0000')).toEqual({ kind: 'D', protocol: 1, spis: [] });
    // some count one SPI of no octets
    expect(parse(PayloadType.D, '01 00 0001')).toEqual({ kind: 'D', protocol: 1, spis: [] });
    expect(write({ kind: 'D', protocol: 1, spis: [] })).toBe('01000000');
  });

  test('of CHILD_SAs', () => {
    expect(parse(PayloadType.D, '03 04 0002 11111111 22222222')).toEqual({
      kind: 'D',
      protocol: 3,
      spis: [fromHex('11111111'), fromHex('22222222')],
    });
  });

  test.each([
    ['65535 SPIs of no octets', '03 00 ffff'],
    ['fewer SPIs than counted', '03 04 0002 11111111'],
    ['more octets than SPIs', '03 04 0001 11111111 22'],
    ['an IKE SA with octets nobody counted', '01 00 0000 11'],
  ])('is refused: %s', (_, body) => {
    expect(() => parse(PayloadType.D, body)).toThrow(MalformedMessage);
  });
});

describe('Configuration payload, RFC 7296 §3.15', () => {
  test('attributes of any length; the reserved bit is ignored', () => {
    expect(parse(PayloadType.CP, '01 000000 0001 0000 8008 0011 fd000000000000000000000000000001 40 7abc 0001 ff')).toEqual({
      kind: 'CP',
      cfgType: 1,
      attributes: [
        { type: 1, value: new Uint8Array(0) },
        { type: 8, value: fromHex('fd000000000000000000000000000001 40') },
        { type: 0x7abc, value: fromHex('ff') },
      ],
    });
  });

  test('a full payload of empty attributes ends', () => {
    const attributes = '00010000'.repeat(16_000);
    const payload = parse(PayloadType.CP, `02 000000 ${attributes}`);
    expect(payload.kind === 'CP' && payload.attributes.length).toBe(16_000);
  });

  test.each([
    ['an attribute header cut short', '01 000000 0001 00'],
    ['an attribute longer than the payload', '01 000000 0001 0005 0a000001'],
  ])('is refused: %s', (_, body) => {
    expect(() => parse(PayloadType.CP, body)).toThrow(MalformedMessage);
  });
});

describe('Notify payload, RFC 7296 §3.10', () => {
  test('SPI and data part where SPI Size says', () => {
    expect(parse(PayloadType.N, '03 04 4009 c0ffee01 beef')).toEqual({
      kind: 'N',
      notify: 16393,
      protocol: 3,
      spi: fromHex('c0ffee01'),
      data: fromHex('beef'),
    });
  });

  test('is refused when its SPI is longer than the payload', () => {
    expect(() => parse(PayloadType.N, '03 05 4009 c0ffee01')).toThrow(MalformedMessage);
  });
});

describe('Identification payload, RFC 7296 §3.5', () => {
  test('the RESERVED octets are sent as zero, ignored, and kept for AUTH, which covers them as they came (§2.15)', () => {
    const id = parse(PayloadType.IDi, '02 ff00ff 6162');
    expect(id).toEqual({ kind: 'IDi', idType: 2, data: fromHex('6162'), reserved: fromHex('ff00ff') });
    expect(parse(PayloadType.IDi, '02 000000 6162')).toEqual({ kind: 'IDi', idType: 2, data: fromHex('6162') });
    expect(write(id)).toBe('020000006162');
  });
});

describe('hash and URL, RFC 7296 §3.6', () => {
  const hash = new Uint8Array(20).fill(0xab);
  const text = (url: string): Uint8Array => new TextEncoder().encode(url);

  test('part at the twentieth octet', () => {
    expect(parseHashAndUrl(concat(hash, text('http://pki.example/gw.der')))).toEqual({ hash, url: 'http://pki.example/gw.der' });
  });

  test.each([
    ['too short for the hash', hash.subarray(0, 10)],
    ['no URL', hash],
    ['a blank in the URL', concat(hash, text('http://a /b'))],
    ['a line break in the URL', concat(hash, text('http://a\r\nHost: b'))],
    ['a URL that is not ASCII', concat(hash, text('http://ä/'))],
    ['an endless URL', concat(hash, text(`http://a/${'b'.repeat(3000)}`))],
  ])('is refused: %s', (_, data) => {
    expect(() => parseHashAndUrl(data)).toThrow(MalformedMessage);
  });
});
