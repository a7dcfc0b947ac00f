import { renderChart } from '../transcript.ts';
import { INVARIANTS } from './invariants.ts';
import { describe } from './quiet.ts';
import { runWalk, type WalkOptions, type WalkResult } from './runner.ts';
import { shrink } from './shrink.ts';

/** Everything that somebody needs who wants to know why a walk failed: the seed, the fewest steps that still fail, the messages. */
export function explainWalk(options: WalkOptions, failed: WalkResult): string {
  const { broken } = failed;
  if (broken === undefined) return `walk ${options.seed} broke nothing`;
  const shortest = shrink(options, failed);
  const only = shortest.steps.map(({ number }) => number);
  // once more, this time with everything kept
  const { world, steps, broken: again } = runWalk({ ...options, only, record: true });
  const shown = again ?? broken;
  const chart = world.transcript === undefined ? '' : renderChart(world.ledger, world.transcript, (ip) => world.nameOf(ip), 600);
  return [
    `walk ${options.seed} broke "${shown.invariant}" at step ${shown.step} (${shown.action})`,
    `  ${INVARIANTS[shown.invariant]}`,
    `  ${shown.what}`,
    '',
    `replay: npm run simulate -- --seeds ${options.seed}${options.steps === undefined ? '' : ` --steps ${options.steps}`}${options.temper === undefined ? '' : ` --temper ${options.temper}`}`,
    `${steps.length} of ${failed.steps.length} steps are enough:`,
    ...steps.map(
      ({ number, at, action, done }) =>
        `  ${String(number).padStart(4)}  ${(at / 1000).toFixed(3).padStart(9)} s  ${action}${done === undefined ? ' (nothing to do)' : `  ${done}`}`,
    ),
    '',
    `in the end: ${describe(world)}`,
    'what happened:',
    chart,
  ].join('\n');
}
