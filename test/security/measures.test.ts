import { expect, test } from 'vitest';
import { least, processorTime } from '../support/processor-time.ts';
import { leftBehind } from './support/heap.ts';

/** What other tests measure with: a leak shows each time, a busy machine never. */
test('what is kept is left behind, in typed arrays and in objects', () => {
  const octets: Uint8Array[] = [];
  const objects: object[] = [];
  const leak = (): (() => void) => () => {
    for (let i = 0; i < 1000; i++) octets.push(new Uint8Array(1000));
    for (let i = 0; i < 20_000; i++) objects.push({ i, next: [i] });
  };
  expect(leftBehind(leak, 1_000_000)).toBeGreaterThan(2_000_000);
  expect(octets.length, 'it was measured three times').toBe(3000);
});

test('what is dropped is not, nor what was there before', () => {
  let there: Uint8Array[] = [];
  const left = leftBehind(() => {
    there = Array.from({ length: 1000 }, () => new Uint8Array(10_000));
    return () => {
      for (let i = 0; i < 1000; i++) new Uint8Array(10_000).fill(there.length & 0xff);
    };
  }, 1_000_000);
  expect(left).toBeLessThan(1_000_000);
});

test('what the work refers to is alive when it is measured', () => {
  const left = leftBehind(() => {
    const kept: Uint8Array[] = [];
    return () => {
      for (let i = 0; i < 1000; i++) kept.push(new Uint8Array(2000));
    };
  }, 1_000_000);
  expect(left).toBeGreaterThan(1_900_000);
});

test('work costs time of the processor, waiting does not', () => {
  const busy = processorTime(() => {
    const began = process.cpuUsage();
    while (process.cpuUsage(began).user < 60_000);
  });
  expect(busy).toBeGreaterThanOrEqual(60);
  const idle = (): number => processorTime(() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200));
  expect(least(idle, 100)).toBeLessThan(100);
});

test('the least of three counts, and one that is small enough ends it', () => {
  const of = (...costs: number[]) => ({ found: least(() => costs.shift()!, 10), rest: costs });
  expect(of(40, 30, 35, 5)).toEqual({ found: 30, rest: [5] });
  expect(of(40, 9, 1)).toEqual({ found: 9, rest: [1] });
});
