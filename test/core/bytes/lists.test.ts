import { expect, test } from 'vitest';
import { NONE, withLast, without } from '../../../src/core/bytes/lists.ts';

test('a list is replaced, never changed, and an empty one is the one that all share', () => {
  const first = withLast<number>(NONE, 1);
  const all = withLast(first, 2, 1);
  expect([first, all]).toEqual([[1], [1, 2, 1]]);
  expect(without(all, 1)).toEqual([2, 1]);
  expect(without(all, 3)).toBe(all);
  expect(without(without(without(all, 2), 1), 1)).toBe(NONE);
  expect(withLast(all)).toBe(all);
  expect(all).toEqual([1, 2, 1]);
  expect(() => (NONE as unknown as number[]).push(1)).toThrow(TypeError);
});
