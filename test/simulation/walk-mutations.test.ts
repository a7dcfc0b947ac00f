import { describe, expect, test } from 'vitest';
import { COLLISIONS } from '../../src/core/ike/index.ts';
import { flippedRows, MISTAKES, type Mutation, runWalk } from '../../src/testing/walk/index.ts';

/**
 * Walks must find errors, not just pass: every row of the collision table with another decision in it, and mistakes beside the table.
 * `npm test` tries those that a few full walks find; `TUNNELWRIGHT_FULL=1` tries them all, with 10,000 walks each at most, as seeds draw them.
 */
const FULL = process.env.TUNNELWRIGHT_FULL === '1';
const MOST = FULL ? 10_000 : 30;
const TEMPER = FULL ? undefined : 'full';
/** Ten thousand walks of one core. */
const LONGEST = FULL ? 3_600_000 : undefined;

const sound = new Map<number, boolean>();

/** A walk that fails without the mutation as well proves nothing. */
function isSound(seed: number): boolean {
  const known = sound.get(seed) ?? runWalk({ seed, temper: TEMPER }).broken === undefined;
  sound.set(seed, known);
  return known;
}

function walksNeeded(makeEndpoint: Mutation): number | undefined {
  for (let seed = 1; seed <= MOST; seed++)
    if (runWalk({ seed, temper: TEMPER, makeEndpoint }).broken !== undefined && isSound(seed)) return seed;
  return undefined;
}

const all: readonly (readonly [name: string, make: Mutation])[] = Object.entries({ ...flippedRows(), ...MISTAKES });

describe('a core is found out in which', () => {
  test.each(all.filter(([name]) => FULL || !LATE.has(name)))(
    '%s',
    (name, make) => {
      const walks = walksNeeded(make);
      if (FULL) console.log(`${String(walks ?? 'never').padStart(6)}  ${name}`);
      expect(walks, `nobody noticed in ${MOST} walks`).toBeDefined();
    },
    LONGEST,
  );
});

test('every row of the collision table is tried with another decision, and the list of late ones names no other', () => {
  const rows = Object.values(COLLISIONS).flatMap((column) => Object.keys(column)).length;
  expect(Object.keys(flippedRows()).length).toBeGreaterThanOrEqual(rows);
  expect([...LATE].filter((name) => !all.some(([known]) => known === name))).toEqual([]);
});

/** Those that take more walks than `npm test` has time for; docs/walks.md names a seed that finds each. */
const LATE: ReadonlySet<string> = new Set([
  'the peer creates or rekeys a CHILD_SA on an IKE SA that is crossed: proceed',
  'the peer creates or rekeys a CHILD_SA on an IKE SA that is replaced: proceed',
  'the peer deletes a CHILD_SA that is awaited: answer-without-delete',
  'the peer deletes a CHILD_SA that is installing: answer-without-delete',
  'the peer deletes a CHILD_SA that is rekeying: answer-without-delete',
  'the peer deletes a CHILD_SA that is unknown: delete-and-answer',
  'the peer rekeys a CHILD_SA that is crossed: CHILD_SA_NOT_FOUND',
  'the peer rekeys a CHILD_SA that is crossed: proceed',
  'the peer rekeys a CHILD_SA that is installing: CHILD_SA_NOT_FOUND',
  'the peer rekeys a CHILD_SA that is installing: proceed',
  'the peer rekeys a CHILD_SA that is undecided: proceed',
  'the peer rekeys a CHILD_SA that is undecided: CHILD_SA_NOT_FOUND',
  'the peer rekeys a CHILD_SA that is awaited: CHILD_SA_NOT_FOUND',
  'the peer rekeys an IKE SA that is crossed: proceed',
  'the peer rekeys an IKE SA that is replaced: proceed',
  'the peer rekeys an IKE SA that is trailing: proceed',
  'two SAs were made at once, and theirs is used: theirs',
]);
