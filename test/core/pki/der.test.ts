import { describe, expect, test } from 'vitest';
import { fromHex, MalformedMessage, toHex } from '../../../src/core/bytes/index.ts';
import { DerReader, DerTag, readSequence } from '../../../src/core/pki/der.ts';
import * as write from '../../../src/core/pki/der-writer.ts';
import { decodeOid, encodeOid } from '../../../src/core/pki/oid.ts';

const reader = (hex: string) => new DerReader(fromHex(hex));

describe('lengths (X.690 §10.1)', () => {
  test.each([
    ['an indefinite length', '30 80 00 00'],
    ['two octets where one does', `04 81 7f${'00'.repeat(127)}`],
    ['a leading zero', `04 82 00 80${'00'.repeat(128)}`],
    ['five octets', '04 85 00 00 00 00 01 00'],
    ['more than there is', '04 05 00 00'],
    ['a length cut short', '04 82 01'],
    ['nothing but a tag', '04'],
    ['a tag number above 30', '1f 81 01 00'],
  ])('%s is refused', (_what, hex) => {
    expect(() => reader(hex).any('field')).toThrow(MalformedMessage);
  });

  test.each([0, 1, 127, 128, 255, 256, 65_535, 65_536])('%i octets come back', (length) => {
    const content = new Uint8Array(length).fill(7);
    const read = new DerReader(write.octetString(content));
    expect(read.read(DerTag.OCTET_STRING, 'field')).toEqual(content);
    read.end('field');
  });
});

describe('bounds', () => {
  test('nesting has an end', () => {
    let der = write.sequence();
    for (let i = 0; i < 40; i++) der = write.sequence(der);
    const descend = (inner: DerReader): void => (inner.done ? undefined : descend(inner.sequence('deeper')));
    expect(() => descend(new DerReader(der))).toThrow(/nested deeper than 32 levels/);
  });

  test('what is left over is named with its offset', () => {
    expect(() => readSequence(fromHex('30 03 02 01 05 00'), 'thing', (inner) => inner.integer('number'))).toThrow(
      /1 octets are left over behind thing \(offset 5\)/,
    );
    expect(() => readSequence(fromHex('30 04 02 01 05 05'), 'thing', (inner) => inner.integer('number'))).toThrow(/left over/);
  });

  test('an error carries the offset in the whole document', () => {
    const error = (() => {
      try {
        return reader('30 07 30 05 02 01 01 01 00').sequence('a').sequence('b').read(DerTag.OID, 'c');
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toMatchObject({ code: 'DER_MALFORMED', offset: 4, field: 'c' });
  });
});

describe('values', () => {
  test.each(['', '00 01', '00 7f', 'ff 80', 'ff ff'])('INTEGER %j is not minimal', (hex) => {
    const content = fromHex(hex);
    expect(() => new DerReader(write.element(DerTag.INTEGER, content)).integer('n')).toThrow(MalformedMessage);
  });

  test.each([
    ['00', 0],
    ['7f', 127],
    ['00 80', 128],
    ['7f ff ff ff', 2 ** 31 - 1],
  ])('INTEGER %s is %i', (hex, value) => {
    expect(new DerReader(write.element(DerTag.INTEGER, fromHex(hex))).smallInteger('n')).toBe(value);
    expect(new DerReader(write.integer(value)).smallInteger('n')).toBe(value);
  });

  test.each(['80', 'ff', '00 80 00 00 00'])('INTEGER %s is no small number', (hex) => {
    expect(() => new DerReader(write.element(DerTag.INTEGER, fromHex(hex))).smallInteger('n')).toThrow(/out of range/);
  });

  test.each(['01', 'fe', '', 'ff ff'])('BOOLEAN %j is not DER', (hex) => {
    expect(() => new DerReader(write.element(DerTag.BOOLEAN, fromHex(hex))).boolean('b')).toThrow(MalformedMessage);
  });

  test.each(['', '08 00', '01', '01 01', '07 c0'])('BIT STRING %j is not DER', (hex) => {
    expect(() => new DerReader(write.element(DerTag.BIT_STRING, fromHex(hex))).bitString('b')).toThrow(MalformedMessage);
  });

  test('named bits lose their trailing zeros', () => {
    expect(toHex(write.namedBits([0]))).toBe('03020780');
    expect(toHex(write.namedBits([5, 6]))).toBe('03020106');
    expect(toHex(write.namedBits([8]))).toBe('0303070080');
    expect(toHex(write.namedBits([]))).toBe('030100');
  });

  test('a SET OF is sorted', () => {
    expect(toHex(write.setOf(write.integer(2), write.integer(1)))).toBe('3106020101020102');
  });
});

describe('object identifiers (X.690 §8.19)', () => {
  test.each([
    ['1.2.840.113549.1.1.11', '2a864886f70d01010b'],
    ['2.5.29.17', '551d11'],
    ['0.9.2342.19200300.100.1.25', '0992268993f22c640119'],
    ['2.999.3', '883703'],
    ['2.25.329800735698586629295641978511506172918', undefined],
  ])('%s', (dotted, hex) => {
    const encoded = encodeOid(dotted);
    expect(decodeOid(encoded)).toBe(dotted);
    if (hex !== undefined) expect(toHex(encoded)).toBe(hex);
  });

  test.each(['', '80', '55 80 01', '55 9d', '2a 86'])('octets %j are none', (hex) => {
    expect(decodeOid(fromHex(hex))).toBeUndefined();
  });

  test.each(['', '1', '3.1', '1.40', '1.2.03', '1..2', 'a.b', '1.2.'])('text %j is none', (text) => {
    expect(() => encodeOid(text)).toThrow(/not an object identifier/);
  });
});
