import { expect, test } from 'vitest';
import { combinations, covering, type Dimensions, pairsOf } from './covering.ts';

const DIMENSIONS: Dimensions = { a: ['1', '2', '3', '4'], b: ['1', '2', '3'], c: ['1', '2'], d: ['1', '2'], e: ['1', '2', '3'] };

test.each([
  ['where everything goes together', () => false, 12],
  ['where some do not', ({ a, b, e }: Partial<Record<string, string>>) => (a === '1' && b === '2') || (a !== undefined && a === e), 12],
] as const)('every two values that go together are together in one of few, %s', (_where, conflicts, least) => {
  const all = [...combinations(DIMENSIONS, conflicts)];
  const few = covering(DIMENSIONS, conflicts);
  expect(new Set(few.flatMap((one) => [...pairsOf(one)]))).toEqual(new Set(all.flatMap((one) => [...pairsOf(one)])));
  expect(few.some(conflicts)).toBe(false);
  expect(few.length).toBeLessThan(2 * least);
});

test('what goes with nothing is in no combination', () => {
  const few = covering({ a: ['1', '2'], b: ['1', '2'] }, ({ a }) => a === '2');
  expect(few).toEqual([
    { a: '1', b: '1' },
    { a: '1', b: '2' },
  ]);
});
