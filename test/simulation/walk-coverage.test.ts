import { expect, test } from 'vitest';
import { Coverage, coverageTable, coveredWalk, runWalk } from '../../src/testing/walk/index.ts';

test('a walk that is counted is the same walk', () => {
  const plain = runWalk({ seed: 9 });
  const counted = coveredWalk({ seed: 9 }, new Coverage());
  expect([counted.hash, counted.took]).toEqual([plain.hash, plain.took]);
});

test('what several have counted is one table, in which a row that nobody met is marked', () => {
  const [one, two] = [new Coverage(), new Coverage()];
  one.hit('actions', 'traffic', 3);
  two.hit('actions', 'traffic', 4);
  const table = coverageTable([one.counts, two.counts]);
  expect(table).toMatch(/^ {2}traffic +7$/m);
  expect(table).toMatch(/^ {2}quiet +0 {2}<- never$/m);
});
