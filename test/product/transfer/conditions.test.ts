import { describe, expect, test } from 'vitest';
import { parseReprDigest, reprDigest } from '../../../src/product/transfer/digest.ts';
import { matches, parseContentRange, parseRange } from '../../../src/product/transfer/http-conditions.ts';
import { numbered } from '../../../src/product/transfer/part-file.ts';
import { formatBytes } from '../../../src/product/transfer/progress.ts';

describe('ranges (RFC 9110 §14.1.2)', () => {
  test.each([
    ['bytes=0-0', { start: 0, end: 1 }],
    ['bytes=10-', { start: 10, end: 100 }],
    ['bytes=10-19', { start: 10, end: 20 }],
    ['bytes=10-1000', { start: 10, end: 100 }],
    ['bytes=-5', { start: 95, end: 100 }],
    ['bytes=-500', { start: 0, end: 100 }],
    ['bytes=99-', { start: 99, end: 100 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=20-10', undefined],
    ['bytes=-', undefined],
    ['bytes=1-2,4-5', undefined],
    ['lines=1-2', undefined],
    ['bytes=1e3-', undefined],
    ['bytes=99999999999999999999-', undefined],
    [undefined, undefined],
  ])('%s', (field, range) => {
    expect(parseRange(field, 100)).toEqual(range);
  });

  test('of an empty file none can be satisfied', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable');
  });

  test('Content-Range is read back', () => {
    expect(parseContentRange('bytes 10-19/100')).toEqual({ start: 10, end: 20, total: 100 });
    for (const other of ['bytes */100', 'bytes 1-2/*', 'items 1-2/3', '', undefined]) expect(parseContentRange(other)).toBeUndefined();
  });
});

test.each([
  [undefined, true],
  ['*', true],
  ['"a"', true],
  ['"x", "a"', true],
  ['"x"', false],
  ['W/"a"', false],
  ['', false],
])('entity tags: %s', (field, expected) => {
  expect(matches(field, '"a"')).toBe(expected);
});

test('Repr-Digest goes there and back (the example of RFC 9530 Appendix B.1)', () => {
  const field = 'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:';
  const hex = parseReprDigest(field)!;
  expect(hex).toBe('44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38');
  expect(reprDigest(hex)).toBe(field);
  expect(parseReprDigest(`md5=:AAAA:, ${field}`)).toBe(hex);
  for (const other of ['sha-256=:short=:', 'sha-512=:AAAA:', '', undefined]) expect(parseReprDigest(other)).toBeUndefined();
});

test.each([
  ['report.pdf', 'report (2).pdf'],
  ['backup.tar.gz', 'backup (2).tar.gz'],
  ['v1.2.tar.zst', 'v1.2 (2).tar.zst'],
  ['README', 'README (2)'],
  ['.profile', '.profile (2)'],
  ['a.b c', 'a.b c (2)'],
])('%s gets a number before its ending', (name, expected) => {
  expect(numbered(name, 2)).toBe(expected);
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [3.1 * 1024 ** 3, '3.1 GiB'],
  [812 * 1024 ** 2, '812 MiB'],
])('%d octets are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
