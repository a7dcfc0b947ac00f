import { expect, test } from 'vitest';
import { describeCrash, fuzz, keep } from './engine.ts';
import { TARGETS } from './targets.ts';

/** What `npm run fuzz SECONDS [NAME]` starts: every target in turn, with seeds of the moment. A crash becomes a file of the corpus. */
const seconds = Number(process.env.TUNNELWRIGHT_FUZZ_SECONDS ?? 60);
const wanted = process.env.TUNNELWRIGHT_FUZZ_TARGET ?? '';
const targets = TARGETS.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));

test.each(targets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  const seed = Number(process.env.TUNNELWRIGHT_FUZZ_SEED ?? Date.now() % 2 ** 32);
  const { inputs, crash } = fuzz(target, { seed, inputs: Number.POSITIVE_INFINITY, milliseconds: (1000 * seconds) / targets.length });
  console.log(`${target.name}: ${inputs} inputs, seed ${seed}`);
  expect(crash && `${describeCrash(crash)}\nkept as ${keep(crash)}`).toBeUndefined();
});
