import { type Breakage, runWalk, type WalkOptions, type WalkResult } from './runner.ts';

/** Fewer steps that break the same invariant, found by leaving out ever smaller pieces (Zeller’s delta debugging). @param tries walks at most */
export function shrink(options: WalkOptions, first: WalkResult, tries = 400): WalkResult {
  if (first.broken === undefined) return first;
  const kind = kindOf(first.broken);
  let best = first;
  let kept = first.steps.map(({ number }) => number);
  let left = tries;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = kept.length; at > 0 && left > 0; at -= size) {
      const without = [...kept.slice(0, Math.max(0, at - size)), ...kept.slice(at)];
      left--;
      const result = runWalk({ ...options, only: without });
      if (result.broken === undefined || kindOf(result.broken) !== kind) continue;
      best = result;
      // what came behind the breakage is gone as well
      const { step } = result.broken;
      kept = without.filter((number) => number <= step);
    }
  }
  return best;
}

/** The same words, whatever the numbers: one invariant can be broken in many ways. */
const kindOf = ({ invariant, what }: Breakage): string => `${invariant} ${what.replace(/:.*/s, '').replace(/\d+/g, '#')}`;
