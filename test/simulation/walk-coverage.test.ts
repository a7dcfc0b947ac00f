import { describe, expect, test } from 'vitest';
import { Coverage, coverageTable, coveredWalk, runWalk, UNREACHED } from '../../src/testing/walk/index.ts';
import { CHOSEN, walkPart } from './walks.ts';

/** `TUNNELWRIGHT_FULL=1` takes thousands of walks and demands every row; else the first half of the walks of `npm test` is counted. */
const FULL = process.env.TUNNELWRIGHT_FULL === '1';
const coverage = new Coverage();

if (FULL) {
  test('10,000 walks', () => {
    for (let seed = 1; seed <= 10_000; seed++) coveredWalk({ seed }, coverage);
  });
} else walkPart(0, 2, coverage);

describe.runIf(FULL || !CHOSEN)('these walks', () => {
  test('meet every action, every attack and every row of every table', () => {
    const rare = FULL ? [] : RARE;
    const missing = coverage.missing.filter((row) => !(row in UNREACHED) && !rare.includes(row));
    if (FULL || missing.length > 0) console.log(coverageTable([coverage.counts]));
    expect(missing).toEqual([]);
  });

  test('meet no row that is said to be out of reach', () => {
    expect(Object.keys(UNREACHED).filter((row) => !coverage.missing.includes(row))).toEqual([]);
  });
});

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

/** Rows that some hundred walks meet once, if that. */
const RARE: readonly string[] = [
  'changes of an IKE SA: half-open → lingering',
  'changes of an IKE SA: rekeying → lingering',
  'changes of an IKE SA: rekeying → dead',
  'changes of a CHILD_SA: rekeying → dead',
  'changes of a CHILD_SA: rekeyed → dead',
  'the peer rekeys a CHILD_SA that is: installing',
  'the peer rekeys a CHILD_SA that is: crossed',
  'the peer rekeys a CHILD_SA that is: undecided',
  'the peer rekeys a CHILD_SA that is: awaited',
  'the peer deletes a CHILD_SA that is: installing',
  'the peer deletes a CHILD_SA that is: rekeying',
  'the peer deletes a CHILD_SA that is: deleting',
  'the peer deletes a CHILD_SA that is: awaited',
  'the peer rekeys an IKE SA that is: trailing',
  'the peer rekeys an IKE SA that is: crossed',
  'the peer rekeys an IKE SA that is: replaced',
  'the peer creates or rekeys a CHILD_SA on an IKE SA that is: replaced',
  'the peer creates or rekeys a CHILD_SA on an IKE SA that is: crossed',
  'the peer creates or rekeys a CHILD_SA on an IKE SA that is: deleting',
  'two SAs were made at once, and: theirs is used',
];
