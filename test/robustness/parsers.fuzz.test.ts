import { describe, expect, test } from 'vitest';
import { corpus, crashReason, describeCrash, type FuzzTarget, fuzz } from '../fuzz/engine.ts';
import { TARGETS } from '../fuzz/targets.ts';

/** Always the same inputs, so that a failure here is one for everybody; `npm run fuzz` wanders further. */
const BUDGET = { seed: 2906, inputs: 400, milliseconds: 1000 };
/** Where the outcome must not depend on how fast the machine is. */
const UNHURRIED = { ...BUDGET, milliseconds: Number.POSITIVE_INFINITY };

describe.each(TARGETS.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  test('stands mutated input', () => {
    const { crash } = fuzz(target, BUDGET);
    expect(crash && describeCrash(crash)).toBeUndefined();
  });

  for (const { file, input } of corpus(target)) {
    test(`stands what once broke it: ${file}`, () => expect(crashReason(target, input)).toBeUndefined());
  }
});

describe('the fuzzer itself', () => {
  const brittle = (run: (input: Uint8Array) => void): FuzzTarget => ({
    name: 'brittle',
    seeds: () => [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
    run,
  });

  test('finds an exception that is none of ours, and makes its input small', () => {
    const { crash } = fuzz(
      brittle((input) => {
        if (input.includes(0xff)) throw new RangeError('boom');
      }),
      UNHURRIED,
    );
    expect(crash?.reason).toContain('boom');
    expect([...(crash?.input ?? [])]).toEqual([0xff]);
  });

  test('finds an input that takes too long', () => {
    const target = brittle((input) => {
      const began = process.cpuUsage();
      while (input.length > 20 && process.cpuUsage(began).user < 55_000);
    });
    expect(fuzz(target, UNHURRIED).crash?.reason).toContain('took');
  });

  test('repeats a run from its seed', () => {
    const seen = (): string[] => {
      const inputs: string[] = [];
      fuzz(
        brittle((input) => void inputs.push(input.join())),
        { ...UNHURRIED, inputs: 200 },
      );
      return inputs;
    };
    expect(seen()).toEqual(seen());
  });
});
