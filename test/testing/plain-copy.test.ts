import { expect, test } from 'vitest';
import { plainCopy } from '../../src/testing/plain-copy.ts';

test('a plain copy says the same as the original, and shares nothing with it', () => {
  const original = { list: [1, 'two', 3n, undefined, null, true], octets: Uint8Array.of(1, 2, 3), inner: { none: undefined } };
  const copy = plainCopy(original);
  expect(copy).toStrictEqual(original);
  expect(copy).toStrictEqual(structuredClone(original));
  original.octets[0] = 9;
  original.list[0] = 9;
  expect([copy.octets[0], copy.list[0]]).toEqual([1, 1]);
});

test('a view of octets is copied alone, without what lies around it', () => {
  const copy = plainCopy(new Uint8Array(100).subarray(10, 14));
  expect([copy.length, copy.buffer.byteLength]).toEqual([4, 4]);
});

test.each([
  ['a function', () => {}],
  ['a Map', new Map()],
  ['an object of a class', new (class Sa {})()],
])('%s is no plain data', (_, value) => {
  expect(() => plainCopy({ deep: [value] })).toThrow('no plain data');
});
