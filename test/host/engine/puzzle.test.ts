import { expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { isPuzzleSolution, prf } from '../../../src/core/crypto/index.ts';
import { answerAsk } from '../../../src/host/engine/asks.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { engineClock } from '../support/virtual-platform.ts';

type Context = Parameters<typeof answerAsk>[2];

test('a puzzle is solved in portions, between which other things happen; one that takes too long is given up', async () => {
  const virtual = new VirtualClock();
  const clock = engineClock(virtual);
  let turns = 0;
  const soon = (run: () => void): void => {
    turns++;
    setImmediate(run);
  };
  const context = { clock: { ...clock, soon }, hooks: {} } as unknown as Context;
  const octets = utf8('a cookie');
  const answer = await answerAsk({ kind: 'solve-puzzle', prf: 5, difficulty: 12, octets }, 1, context);
  if (!answer.ok || !('solution' in answer)) throw new Error('no solution');
  expect(isPuzzleSolution(answer.solution, prf(5)!, 12, octets)).toBe(true);
  expect(turns).toBeGreaterThan(1);

  let now = 0;
  const slow = { clock: { ...clock, now: () => (now += 7000), soon }, hooks: {} } as unknown as Context;
  const late = await answerAsk({ kind: 'solve-puzzle', prf: 5, difficulty: 60, octets }, 1, slow);
  expect(late).toMatchObject({ ok: false, error: { code: 'PUZZLE_UNSOLVED' } });
});
