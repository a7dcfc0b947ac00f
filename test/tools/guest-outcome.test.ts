import { expect, test } from 'vitest';
import { judge } from '../kernel/support/outcome.ts';

const lines = (...told: object[]): string => told.map((line) => `\n${JSON.stringify(line)}\n`).join('');
const judging = (printed: string) => () => judge('b', printed, 'the console');

test('a case in the guest is good only if it ended without a failure', () => {
  const before = lines({ began: 'a' }, { ended: 'a', ms: 1 }, { began: 'b' });
  expect(judging(before + lines({ ended: 'b', ms: 2 }))).not.toThrow();
  expect(judging(`${before}half a line${lines({ ended: 'b', ms: 2 })}`)).not.toThrow();
  expect(judging(before + lines({ ended: 'b', ms: 2, failure: 'Error: no' }))).toThrow(/in the guest: Error: no/);
});

test('a case that did not begin, or did not end, is a failure with what was printed', () => {
  expect(judging('')).toThrow(/did not run in the guest\n\nthe console/);
  expect(judging(lines({ began: 'a' }, { ended: 'a', ms: 1 }))).toThrow(/did not run in the guest/);
  expect(judging(`${lines({ began: 'b' })}Segmentation fault\n`)).toThrow(/began in the guest and did not end\nSegmentation fault/);
  expect(judging(`${lines({ began: 'b' })}{"ended":"b","ms`)).toThrow(/did not end/);
});
