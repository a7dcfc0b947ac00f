import { describe, expect, test } from 'vitest';
import { DerReader, DerTag } from '../../../src/core/pki/der.ts';
import { element } from '../../../src/core/pki/der-writer.ts';
import { daysBetween, formatTime, readTime, writeTime } from '../../../src/core/pki/time.ts';

const ascii = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const read = (tag: number, text: string) => readTime(new DerReader(element(tag, ascii(text))), 'time');

describe('times of certificates (RFC 5280 §4.1.2.5)', () => {
  test.each([
    ['700101000000Z', Date.UTC(1970, 0, 1)],
    ['500101000000Z', Date.UTC(1950, 0, 1)],
    ['491231235959Z', Date.UTC(2049, 11, 31, 23, 59, 59)],
    ['000229120000Z', Date.UTC(2000, 1, 29, 12)],
    ['260301123456Z', Date.UTC(2026, 2, 1, 12, 34, 56)],
  ])('UTCTime %s', (text, at) => expect(read(DerTag.UTC_TIME, text)).toBe(at));

  test.each([
    ['20500101000000Z', Date.UTC(2050, 0, 1)],
    ['19000301000000Z', Date.UTC(1900, 2, 1)],
    ['99991231235959Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
  ])('GeneralizedTime %s', (text, at) => expect(read(DerTag.GENERALIZED_TIME, text)).toBe(at));

  test.each([
    '2601010000Z',
    '260101000000',
    '260101000000+0100',
    '260101000000.5Z',
    '261301000000Z',
    '260229000000Z',
    '260100000000Z',
    '260101240000Z',
    '260101006000Z',
    '260101000060Z',
    '26010100000٠Z',
  ])('UTCTime %s is refused', (text) => expect(() => read(DerTag.UTC_TIME, text)).toThrow(/is not a time/));

  test('another type is refused', () => expect(() => read(DerTag.INTEGER, '260101000000Z')).toThrow(/is not what stands here/));

  test('what is written is read back, and agrees with the calendar', () => {
    for (let at = Date.UTC(1950, 0, 1); at < Date.UTC(2460, 0, 1); at += 97 * 86_400_000 + 12_345_000) {
      expect(readTime(new DerReader(writeTime(at)), 'time')).toBe(at);
      expect(formatTime(at)).toBe(
        new Date(at)
          .toISOString()
          .replace('T', ' ')
          .replace(/:\d\d\.\d{3}Z/, ' UTC'),
      );
    }
  });

  test('years that do not fit are refused', () => {
    expect(() => writeTime(Date.UTC(1949, 11, 31))).toThrow(/1949/);
    expect(() => writeTime(253_402_300_800_000)).toThrow(/10000/);
  });

  test('days are counted whole, towards zero', () => {
    expect(daysBetween(0, 86_399_999)).toBe(0);
    expect(daysBetween(0, 3 * 86_400_000 + 1)).toBe(3);
    expect(daysBetween(86_400_001, 0)).toBe(-1);
  });
});
