import { SeededRandom } from '../seeded.ts';
import type { WalkAction } from './action.ts';
import { ACTIONS } from './actions.ts';
import { EXTENDED } from './extensions.ts';
import type { InvariantName } from './invariants.ts';
import { checkBounds, quiet } from './quiet.ts';
import { PACES, type Pace, TEMPERS, type Temper } from './temper.ts';
import { WalkWorld, type WorldOptions } from './world.ts';

export interface WalkOptions extends WorldOptions {
  /** 200 unless given. */
  readonly steps?: number | undefined;
  /** Only these steps are taken, the others left out: each draws from a stream of its own, so the rest stays what it was. */
  readonly only?: readonly number[] | undefined;
}

/** What one walk came to. */
export interface WalkResult {
  readonly seed: number | string;
  /** Taken, and those among them that found something to do. */
  readonly steps: readonly WalkStep[];
  /** Of every octet on every wire and its time: equal for equal walks. */
  readonly hash: number;
  /** Virtual milliseconds. */
  readonly took: number;
  readonly broken: Breakage | undefined;
  readonly world: WalkWorld;
}

export interface WalkStep {
  readonly number: number;
  readonly at: number;
  readonly action: string;
  /** Undefined where there was nothing to do it to. */
  readonly done: string | undefined;
}

export interface Breakage {
  readonly invariant: InvariantName;
  readonly what: string;
  /** During which step; the one past the last is the quiet at the end. */
  readonly step: number;
  readonly action: string;
}

/** One walk: some hundred steps drawn from everything that can happen, and what must hold at each of them. */
export function runWalk(options: WalkOptions): WalkResult {
  const { stackTraceLimit } = Error;
  // a walk makes errors by the hundred, and their stacks cost more than they; who wants to read one records
  if (!options.record) Error.stackTraceLimit = 0;
  try {
    return walk(options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function walk(options: WalkOptions): WalkResult {
  const world = new WalkWorld(options);
  const pace = PACES[world.setting.temper];
  const steadyEnd = new SeededRandom(options.seed, 'end').chance(pace.steadyEnd);
  const count = options.steps ?? DEFAULT_STEPS;
  const steps: WalkStep[] = [];
  const only = options.only && new Set(options.only);
  const take = (number: number, action: string, work: () => string | undefined): Breakage | undefined => {
    const step = { number, at: world.now, action, done: undefined as string | undefined };
    steps.push(step);
    try {
      step.done = work();
      checkBounds(world);
      world.checkTraffic();
    } catch (error) {
      world.ledger.break('calm', error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    const { broken } = world.ledger;
    return broken && { ...broken, step: number, action };
  };
  let broken: Breakage | undefined;
  for (let number = 0; number < count && broken === undefined; number++) {
    if (only !== undefined && !only.has(number)) continue;
    const random = new SeededRandom(options.seed, `step ${number}`);
    const action = number === 0 ? FIRST : (drawExtended(world, number) ?? draw(world, random));
    broken = take(number, action.name, () => {
      const done = action.run(world, random);
      world.run(pause(random, pace));
      return done;
    });
  }
  broken ??= take(count, 'quiet at the end', () => {
    quiet(world, steadyEnd);
    return '';
  });
  return { seed: options.seed, steps, hash: world.ledger.hash, took: world.now, broken, world };
}

/** Everybody is asked to come up; most walks wait until it is so. */
const FIRST: WalkAction = {
  name: 'begin',
  weight: 0,
  run(world, random) {
    for (const line of world.lines) {
      line.wanted = true;
      line.client.peer.initiate('hub');
    }
    if (random.chance(0.8)) quiet(world, false);
    return '';
  },
};

function draw(world: WalkWorld, random: SeededRandom): WalkAction {
  const { gentle, temper } = world.setting;
  const point = random.fraction();
  // a line of which nothing is expected teaches little: quiet brings it back
  const excused = world.lines.some((line) => line.excuse !== undefined);
  if (excused && point < PACES[temper].quietAfterHarm) return QUIET;
  const { gentle: soft, all } = CHOICES[temper];
  return pickByWeight(gentle ? soft : all, random.fraction());
}

/** A step of an extension, in place of what was to come: a stream of its own keeps the other steps what they were. */
function drawExtended(world: WalkWorld, number: number): WalkAction | undefined {
  const { usual, rare } = EXTENDED_OF.get(world) ?? extendedOf(world);
  if (usual.actions.length === 0) return undefined;
  const random = new SeededRandom(world.seed, `extended step ${number}`);
  if (!random.chance(EXTENDED_SHARE)) return undefined;
  const action = pickByWeight(usual, random.fraction());
  return rare.actions.length > 0 && random.chance(RARE_SHARE) ? pickByWeight(rare, random.fraction()) : action;
}

interface Extended {
  readonly usual: Weighted;
  /** Now and then in the place of the others: what cannot be undone. */
  readonly rare: Weighted;
}

function extendedOf(world: WalkWorld): Extended {
  const extensions = new Set(world.lines.flatMap(({ setting }) => [...(setting.extensions ?? [])]));
  const actions = EXTENDED.filter(({ of }) => extensions.has(of));
  const extended = { usual: weighted(actions.filter(({ rare }) => !rare)), rare: weighted(actions.filter(({ rare }) => rare)) };
  EXTENDED_OF.set(world, extended);
  return extended;
}

interface Weighted {
  readonly actions: readonly WalkAction[];
  readonly total: number;
}

function weighted(actions: readonly WalkAction[]): Weighted {
  return { actions, total: actions.reduce((sum, { weight }) => sum + weight, 0) };
}

function pickByWeight({ actions, total }: Weighted, fraction: number): WalkAction {
  let left = fraction * total;
  for (const action of actions) {
    left -= action.weight;
    if (left < 0) return action;
  }
  return actions.at(-1)!;
}

/** Milliseconds between two steps: mostly in the middle of something, sometimes behind it. */
function pause(random: SeededRandom, { pauses: [short, middle, long] }: Pace): number {
  const kind = random.fraction();
  if (kind < short) return random.between(0, 60);
  if (kind < middle) return random.between(0, 500);
  return kind < long ? random.between(0, 4000) : random.between(0, 20_000);
}

function choices(temper: Temper): { readonly all: Weighted; readonly gentle: Weighted } {
  const { harsh: ofHarsh, shares } = PACES[temper];
  const all = ACTIONS.map((one) => ({ ...one, weight: one.weight * (shares[one.name] ?? 1) * (one.harsh ? ofHarsh : 1) }));
  return { all: weighted(all), gentle: weighted(all.filter(({ harsh }) => !harsh)) };
}

const CHOICES = Object.fromEntries(TEMPERS.map((temper) => [temper, choices(temper)])) as Readonly<
  Record<Temper, ReturnType<typeof choices>>
>;
const QUIET = ACTIONS.find(({ name }) => name === 'quiet')!;
const EXTENDED_OF = new WeakMap<WalkWorld, Extended>();
const EXTENDED_SHARE = 0.06;
const RARE_SHARE = 0.1;
const DEFAULT_STEPS = 200;
