import {
  CHILD_SA_STATES,
  CHILD_SA_TRANSITIONS,
  type ChildSaState,
  COLLISIONS,
  type Collisions,
  Endpoint,
  type EndpointOptions,
  type EndpointWorld,
  IKE_SA_STATES,
  IKE_SA_TRANSITIONS,
  type IkeSaState,
} from '../../core/ike/index.ts';
import { ACTIONS } from './actions.ts';
import { ATTACKS } from './attacks.ts';
import { EXTENDED } from './extensions.ts';
import { type Judge, RefereedWorld } from './referee.ts';
import { runWalk, type WalkOptions, type WalkResult } from './runner.ts';

/** How often, by group and row: plain data, so that workers can hand it over. */
export type Counts = Record<string, Record<string, number>>;

/** What walks have done and met: every action, every attack, every row of every table that the core decides by. */
export class Coverage {
  readonly counts: Counts = Object.fromEntries(ROWS.map(([group, rows]) => [group, Object.fromEntries(rows.map((row) => [row, 0]))]));

  /** The table itself, and each look at a row of it is counted. */
  readonly collisions: Collisions = watched(COLLISIONS, this);

  hit(group: string, row: string, times = 1): void {
    this.counts[group] ??= {};
    const rows = this.counts[group];
    rows[row] = (rows[row] ?? 0) + times;
  }

  add(counts: Counts): void {
    for (const [group, rows] of Object.entries(counts)) for (const [row, times] of Object.entries(rows)) this.hit(group, row, times);
  }

  /** Rows that nothing has met. */
  get missing(): readonly string[] {
    return Object.entries(this.counts).flatMap(([group, rows]) =>
      Object.entries(rows).flatMap(([row, times]) => (times === 0 ? [`${group}: ${row}`] : [])),
    );
  }
}

/** A walk that is counted. It is the same walk, octet for octet. */
export function coveredWalk(options: WalkOptions, coverage: Coverage): WalkResult {
  const result = runWalk({ ...options, makeEndpoint: (_, given, judge) => new Endpoint(given, new WatchedWorld(given, judge, coverage)) });
  for (const { action, done } of result.steps) if (done !== undefined) coverage.hit(ATTACK_NAMES.has(action) ? ATTACK : ACTION, action);
  return result;
}

/** What several workers have counted, as text: a row that nobody met is marked. */
export function coverageTable(counts: readonly Counts[]): string {
  const all = new Coverage();
  for (const some of counts) all.add(some);
  const width = Math.max(...Object.values(all.counts).flatMap((rows) => Object.keys(rows).map(({ length }) => length)));
  return Object.entries(all.counts)
    .map(([group, rows]) =>
      [
        group,
        ...Object.entries(rows).map(
          ([row, times]) => `  ${row.padEnd(width)}  ${String(times).padStart(9)}${times === 0 ? `  <- ${whyNever(group, row)}` : ''}`,
        ),
      ].join('\n'),
    )
    .join('\n\n');
}

/** Notes each change of state and each row that was asked. */
class WatchedWorld extends RefereedWorld {
  override readonly collisions: Collisions;
  readonly #coverage: Coverage;

  constructor(options: EndpointOptions, judge: Judge, coverage: Coverage) {
    super(options, judge);
    this.#coverage = coverage;
    this.collisions = coverage.collisions;
  }

  override transition(...[sa, to]: Parameters<EndpointWorld['transition']>): void {
    const { state } = sa;
    super.transition(sa, to);
    this.#coverage.hit(IKE_SA, IKE_SA_CHANGES[state][to]);
  }

  override childTransition(...[child, to]: Parameters<EndpointWorld['childTransition']>): void {
    const { state } = child;
    super.childTransition(child, to);
    this.#coverage.hit(CHILD_SA, CHILD_SA_CHANGES[state][to]);
  }
}

function watched(collisions: Collisions, coverage: Coverage): Collisions {
  const columns = Object.entries(collisions).map(([column, rows]) => [
    column,
    new Proxy(rows, {
      get(of, met: string) {
        coverage.hit(GROUPS[column as keyof Collisions], met);
        return Reflect.get(of, met);
      },
    }),
  ]);
  return Object.fromEntries(columns) as Collisions;
}

const whyNever = (group: string, row: string): string => UNREACHED[`${group}: ${row}`] ?? 'never';

const change = (from: IkeSaState | ChildSaState, to: IkeSaState | ChildSaState): string => `${from} → ${to}`;

/** The names of all changes, made once. */
function changesOf<S extends IkeSaState | ChildSaState>(states: readonly S[]): Readonly<Record<S, Readonly<Record<S, string>>>> {
  const named = (from: S): Record<S, string> => Object.fromEntries(states.map((to) => [to, change(from, to)])) as Record<S, string>;
  return Object.fromEntries(states.map((from) => [from, named(from)])) as Record<S, Record<S, string>>;
}

const ATTACK_NAMES: ReadonlySet<string> = new Set(ATTACKS.map(({ name }) => name));
const ACTION = 'actions';
const ATTACK = 'attacks';
const IKE_SA = 'changes of an IKE SA';
const CHILD_SA = 'changes of a CHILD_SA';
const IKE_SA_CHANGES = changesOf(IKE_SA_STATES);
const CHILD_SA_CHANGES = changesOf(CHILD_SA_STATES);
/** The columns of the collision table. */
export const GROUPS: Readonly<Record<keyof Collisions, string>> = {
  rekeyChild: 'the peer rekeys a CHILD_SA that is',
  deleteChild: 'the peer deletes a CHILD_SA that is',
  rekeyIke: 'the peer rekeys an IKE SA that is',
  makeChild: 'the peer creates or rekeys a CHILD_SA on an IKE SA that is',
  redundant: 'two SAs were made at once, and',
};

/** Rows that no walk can meet, and why not. */
export const UNREACHED: Readonly<Record<string, string>> = {
  'changes of a CHILD_SA: rekeying → deleting': 'takes a window of several requests, which no walk has yet',
};

const ROWS: readonly (readonly [group: string, rows: readonly string[]])[] = [
  [ACTION, ['begin', ...[...ACTIONS, ...EXTENDED].filter((one) => !ATTACKS.includes(one)).map(({ name }) => name), 'quiet at the end']],
  [ATTACK, ATTACKS.map(({ name }) => name)],
  [IKE_SA, IKE_SA_STATES.flatMap((from) => IKE_SA_TRANSITIONS[from].map((to) => change(from, to)))],
  [CHILD_SA, CHILD_SA_STATES.flatMap((from) => CHILD_SA_TRANSITIONS[from].map((to) => change(from, to)))],
  ...Object.entries(GROUPS).map(([column, group]) => [group, Object.keys(COLLISIONS[column as keyof Collisions])] as const),
];
