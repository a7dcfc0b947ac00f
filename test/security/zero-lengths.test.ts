import { describe, expect, test } from 'vitest';
import { seededDraws } from '../fuzz/draws.ts';
import { crashReason, describeCrash, type FuzzTarget, fuzz } from '../fuzz/engine.ts';
import { configurationTargets } from '../fuzz/targets/configuration.ts';
import { TARGETS } from '../fuzz/targets.ts';
import { millisecondsSince } from '../support/processor-time.ts';
import { moreTargets } from './support/more-targets.ts';

/**
 * strongSwan CVE-2026-35330, CVE-2026-35333 and CVE-2017-9023, and the loops of CVE-2026-35328: a length of zero that a loop takes for
 * progress. In well-formed input of every parser, each place that could be a length is made zero, one, and as large as it can be; every
 * input has milliseconds.
 */
const FILLS = [0x00, 0x01, 0xff] as const;
const WIDTHS = [1, 2, 4] as const;

/** Text has no lengths. */
const BINARY = [...TARGETS, ...moreTargets].filter((target) => !configurationTargets.includes(target));

describe.each(BINARY.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  test('lengths of zero, of one and without end, at every place', () => {
    let began: NodeJS.CpuUsage | undefined;
    let tried = 0;
    for (const input of places(target)) {
      // what it takes to make the seeds does not count
      began ??= process.cpuUsage();
      // asking for the processor's time costs as much as an input
      if (tried++ % 16 === 0 && millisecondsSince(began) > BUDGET) break;
      const reason = crashReason(target, input);
      if (reason !== undefined) throw new Error(describeCrash({ target: target.name, input, reason }));
    }
    expect(began).toBeDefined();
  });

  test('nothing but zeros, nothing but ones, of any size', () => {
    for (const length of [1, 2, 3, 4, 7, 8, 16, 28, 60, 1280, 65_507]) {
      for (const fill of FILLS) {
        const input = new Uint8Array(length).fill(fill);
        const reason = crashReason(target, input);
        if (reason !== undefined) throw new Error(describeCrash({ target: target.name, input, reason }));
      }
    }
  });
});

/** These have no other place in which they are fuzzed. */
describe.each(moreTargets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  test('stands mutated input', () => {
    const { crash } = fuzz(target, { seed: 7296, inputs: 600, milliseconds: 1000 });
    expect(crash && describeCrash(crash)).toBeUndefined();
  });
});

/** In an order that visits all of every seed even when the time is short. */
function* places(target: FuzzTarget): Generator<Uint8Array> {
  const draws = seededDraws(35_330);
  const seeds = target.seeds(draws).filter(({ length }) => length > 0);
  const longest = Math.max(...seeds.map(({ length }) => length));
  const stride = 7;
  for (let phase = 0; phase < stride; phase++) {
    for (let at = phase; at < longest; at += stride) {
      for (const seed of seeds) {
        for (const width of WIDTHS) {
          for (const fill of FILLS) if (at + width <= seed.length) yield seed.slice().fill(fill, at, at + width);
        }
      }
    }
  }
}

/** Milliseconds of processor time for each target: some inputs cost a whole IKE SA. */
const BUDGET = process.env.TUNNELWRIGHT_FULL === undefined ? 60 : 20_000;
