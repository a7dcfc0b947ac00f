import { expect, test } from 'vitest';
import { WindowedMax } from '../../../../src/core/netstack/tcp/congestion/windowed-max.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';

test('the largest of the last ten rounds, never less than that of the last three', () => {
  const random = new SeededRandom('rates');
  const max = new WindowedMax(10);
  const values: number[] = [];
  for (let round = 0; round < 2000; round++) {
    values.push(random.between(1, 1000));
    max.update(values[round]!, round);
    // Three candidates stand for all: what is told may be older than the best of the younger ones, never older than the window.
    expect(max.value).toBeLessThanOrEqual(Math.max(...values.slice(-11)));
    expect(max.value).toBeGreaterThanOrEqual(Math.max(...values.slice(-3)));
  }
});

test('a large value is forgotten when its rounds are over', () => {
  const max = new WindowedMax(10);
  max.update(1000, 0);
  for (let round = 1; round <= 10; round++) max.update(10, round);
  expect(max.value).toBe(1000);
  max.update(10, 11);
  expect(max.value).toBe(10);
});
