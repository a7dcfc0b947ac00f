import { describe, expect, test } from 'vitest';
import { type Coverage, coverageTable, explainWalk, runWalk, UNREACHED } from '../../src/testing/walk/index.ts';
import { knownToFail, walkAll } from './walks.ts';

/**
 * The random walks of `npm test`: the same seeds each time, 1 to 1000, but for those of `known-walks.txt`. `WALKS=10000` takes more of them,
 * `WALK_FROM=5000` others, `WALK_STEPS=400` longer ones, `TUNNELWRIGHT_FULL=1` ten thousand that must meet every row of every table.
 * `npm run simulate -- --seeds 1..10000` does the same without a test around it. What walks is the built code: `npm test` builds it first.
 */
const FULL = process.env.TUNNELWRIGHT_FULL === '1';
/** Fewer, or others, need not meet everything. */
const USUAL = 1000;
const { WALKS = FULL ? '10000' : `${USUAL}`, WALK_FROM = '1', WALK_STEPS } = process.env;
const FROM = Number(WALK_FROM);
const HOW = WALK_STEPS === undefined ? {} : { steps: Number(WALK_STEPS) };

describe(`${WALKS} random walks from seed ${FROM}`, () => {
  let coverage: Coverage;

  test('hold every invariant', { timeout: 3_600_000 }, async () => {
    const known = knownToFail();
    const seeds = Array.from({ length: Number(WALKS) }, (_, i) => FROM + i);
    const walked = seeds.filter((seed) => !known.has(seed));
    const result = await walkAll(walked, HOW);
    coverage = result.coverage;
    const excluded = seeds.filter((seed) => known.has(seed)).map((seed) => `seed ${seed} is not walked: ${known.get(seed)}`);
    console.log([`${walked.length} walks`, ...excluded, coverageTable([coverage.counts])].join('\n'));
    const [first, ...others] = result.broken;
    if (first === undefined) return;
    const also = others.map(({ seed, invariant, what }) => `seed ${seed} broke "${invariant}": ${what}`);
    const options = { seed: first.seed, ...HOW };
    throw new Error([explainWalk(options, runWalk(options)), ...also].join('\n'));
  });

  test.runIf(FROM === 1 && Number(WALKS) >= USUAL)('meet every action, every attack and every row of every table', () => {
    const tolerated = Number(WALKS) < MANY ? RARE : [];
    expect(coverage.missing.filter((row) => !(row in UNREACHED) && !tolerated.includes(row))).toEqual([]);
  });

  test('meet no row that is said to be out of reach', () => {
    expect(Object.keys(UNREACHED).filter((row) => !coverage.missing.includes(row))).toEqual([]);
  });
});

/** So many walks meet every row many times. */
const MANY = 5000;

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
