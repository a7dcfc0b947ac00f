import { describe, expect, test } from 'vitest';
import { type Coverage, coverageTable, explainWalk, runWalk, UNREACHED } from '../../src/testing/walk/index.ts';
import { knownToFail, walkAll } from './walks.ts';

/**
 * The random walks of `npm test`: the same seeds each time, 1 to 2,000, but for those of `known-walks.txt`. `WALKS=10000` takes more of them,
 * `WALK_FROM=50000` others, `WALK_STEPS=400` longer ones.
 * `npm run simulate -- --seeds 1..10000` does the same without a test around it. What walks is the built code: `npm test` builds it first.
 */
const USUAL = 2000;
const { WALKS = `${USUAL}`, WALK_FROM = '1', WALK_STEPS } = process.env;
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

  // fewer, or others, need not
  test.runIf(FROM === 1 && Number(WALKS) >= USUAL)('meet every action, every attack and every row of every table', () => {
    expect(coverage.missing.filter((row) => !(row in UNREACHED))).toEqual([]);
  });

  test('meet no row that is said to be out of reach', () => {
    expect(Object.keys(UNREACHED).filter((row) => !coverage.missing.includes(row))).toEqual([]);
  });
});
