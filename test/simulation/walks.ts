import { describe, test } from 'vitest';
import { type Coverage, coveredWalk, explainWalk, runWalk, type WalkOptions } from '../../src/testing/walk/index.ts';

/**
 * One part of the random walks of `npm test`, for a test file of its own: files run side by side.
 * `WALKS=1000` takes that many in all, `WALK_FROM=5000` others, `WALK_STEPS=400` longer ones. A failure prints its seed, `WALK_SEED=<seed>`
 * takes it alone. For thousands there is `npm run simulate -- --seeds 1..10000`, on every core.
 * @param coverage what the walks meet is counted there
 */
export function walkPart(part: number, parts: number, coverage?: Coverage): void {
  const seeds = SEEDS.filter((_, i) => i % parts === part);
  const portions = Array.from({ length: Math.ceil(seeds.length / PORTION) }, (_, i) => seeds.slice(i * PORTION, (i + 1) * PORTION));
  // a file without a test would fail
  if (seeds.length === 0) return test('every seed is walked elsewhere', () => {});
  describe('random walks hold every invariant', () => {
    test.each(portions.map((portion) => [`from seed ${portion[0]}`, portion] as const))('%s', (_, portion) => {
      for (const seed of portion) walk({ seed, steps: STEPS }, coverage);
    });
  });
}

function walk(options: WalkOptions, coverage: Coverage | undefined): void {
  const result = coverage ? coveredWalk(options, coverage) : runWalk(options);
  if (result.broken !== undefined) throw new Error(explainWalk(options, result));
}

/** Only these, or others: what the usual ones meet is no matter then. */
export const CHOSEN = process.env.WALK_SEED !== undefined || process.env.WALKS !== undefined;
const { WALKS = '100', WALK_FROM = '1', WALK_SEED, WALK_STEPS } = process.env;
const STEPS = WALK_STEPS === undefined ? undefined : Number(WALK_STEPS);
const SEEDS = WALK_SEED === undefined ? Array.from({ length: Number(WALKS) }, (_, i) => Number(WALK_FROM) + i) : [WALK_SEED];
/** Each test takes so many, so that a long run shows how far it is. */
const PORTION = 20;
