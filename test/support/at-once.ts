import { expect } from 'vitest';
import { least, processorTime } from './processor-time.ts';

/** Runs `work`, which must take less than `limit` milliseconds of processor time. It is run again, up to three times, when it seems to take more. */
export function expectAtOnce(work: () => void, limit = 50): void {
  expect(least(() => processorTime(work), limit)).toBeLessThan(limit);
}
