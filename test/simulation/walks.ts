import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Coverage, type WalkOptions } from '../../src/testing/walk/index.ts';

/** One walk that broke something, as a worker tells it. */
export interface BrokenWalk {
  readonly seed: number;
  readonly invariant: string;
  readonly what: string;
}

/** What a worker of `npm run simulate` says when it has taken a portion. */
interface Portion {
  readonly broken: readonly BrokenWalk[];
  readonly counts: Coverage['counts'];
}

/** Takes these seeds by the workers of `npm run simulate`, one for each core: the built code, as fast as it goes. */
export async function walkAll(
  seeds: readonly number[],
  how: Pick<WalkOptions, 'steps' | 'temper'>,
): Promise<{ readonly broken: readonly BrokenWalk[]; readonly coverage: Coverage }> {
  const coverage = new Coverage();
  const broken: BrokenWalk[] = [];
  const left = portionsOf(seeds);
  const worker = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child = fork('tools/simulate.mjs', ['--worker'], { execArgv: [...FLAGS] });
      const give = (): void => {
        const next = left.pop();
        if (next === undefined) child.disconnect();
        else child.send({ ...next, how });
      };
      child.on('message', (portion: Portion) => {
        broken.push(...portion.broken);
        coverage.add(portion.counts);
        give();
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code ?? signal}`))));
      give();
    });
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), left.length) }, worker));
  return { broken: broken.sort((one, other) => one.seed - other.seed), coverage };
}

/** Seeds that break an invariant for a cause that is known and not mended: `SEED  CAUSE` in each line. */
export function knownToFail(): ReadonlyMap<number, string> {
  const lines = readFileSync('test/simulation/known-walks.txt', 'utf8').split('\n');
  return new Map(
    lines.flatMap((line) => {
      const entry = /^(\d+)\s+(\S.*)$/.exec(line);
      return entry === null ? [] : [[Number(entry[1]), entry[2]!] as const];
    }),
  );
}

/** Ranges of neighbours, none longer than a worker takes at once. */
function portionsOf(seeds: readonly number[]): { from: number; to: number }[] {
  const portions: { from: number; to: number }[] = [];
  for (const seed of seeds) {
    const last = portions.at(-1);
    if (last !== undefined && seed === last.to + 1 && seed - last.from < PORTION) last.to = seed;
    else portions.push({ from: seed, to: seed });
  }
  return portions.reverse();
}

const PORTION = 10;
/** As `tools/simulate.mjs` starts its own. */
const FLAGS = ['--single-threaded-gc', '--min-semi-space-size=16', '--max-semi-space-size=32', '--interrupt-budget=270336'];
