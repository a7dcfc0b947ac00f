import { AuthenticationFailure } from '../../../src/core/bytes/index.ts';
import type { Connection, Datagram, EndpointOptions } from '../../../src/core/ike/index.ts';
import { scriptedRandom } from '../../../src/testing/index.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';
import { Meddler } from './meddler.ts';

/** Two ends with nothing between them but somebody who has their keys. */
export interface Trio {
  readonly left: End;
  readonly right: End;
  readonly meddler: Meddler;
}

export interface TrioOptions {
  readonly left?: Partial<Connection>;
  readonly right?: Partial<Connection>;
  readonly options?: Partial<EndpointOptions>;
  readonly seed?: string;
}

/** The same seed gives the same octets, so that a message can be met again in another life. */
export function trio({ left, right, options, seed = '1' }: TrioOptions = {}): Trio {
  const end = (side: 'left' | 'right', changes: Partial<Connection> | undefined) =>
    sober(
      new End({
        connections: [connection(side, { fragmentation: 'no', ...changes })],
        random: scriptedRandom(`security ${seed} ${side}`),
        logKeys: true,
        ...options,
      }),
    );
  const ends = { left: end('left', left), right: end('right', right) };
  return { ...ends, meddler: new Meddler(ends.left, ends.right) };
}

/** A wrong AUTH is refused as the engine refuses it, with an error of the tree. */
export function sober(end: End): End {
  end.answers = (ask) => {
    const answer = end.answer(ask);
    return answer.ok || ask.kind !== 'verify'
      ? answer
      : { ok: false, error: new AuthenticationFailure('the PSK does not match', { code: 'PSK_MISMATCH' }) };
  };
  return end;
}

export type Filter = (datagram: Datagram, from: End) => Datagram | undefined;

export function establish({ left, right }: Trio, filter?: Filter): void {
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right, 0, filter);
}

export function establishedTrio(options?: TrioOptions): Trio {
  const made = trio(options);
  establish(made);
  return made;
}

/** What can happen to two ends, one exchange after the other; each step is skipped when what it needs is gone. */
export const LIFE: readonly { readonly name: string; readonly step: (trio: Trio) => void }[] = [
  { name: 'establish', step: ({ left }) => void left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0) },
  {
    name: 'create a child',
    step: ({ left }) => withIkeSa(left, (ikeSa) => left.endpoint.command({ kind: 'create-child', ikeSa, child: 'net' }, 0)),
  },
  { name: 'rekey a child', step: ({ right }) => withChild(right, (child) => right.endpoint.command({ kind: 'rekey-child', child }, 0)) },
  { name: 'rekey the IKE SA', step: ({ left }) => withIkeSa(left, (ikeSa) => left.endpoint.command({ kind: 'rekey-ike', ikeSa }, 0)) },
  { name: 'check liveness', step: ({ left }) => withIkeSa(left, (ikeSa) => left.endpoint.command({ kind: 'check-liveness', ikeSa }, 0)) },
  { name: 'delete a child', step: ({ left }) => withChild(left, (child) => left.endpoint.command({ kind: 'delete-child', child }, 0)) },
  { name: 'delete the IKE SA', step: ({ right }) => withIkeSa(right, (ikeSa) => right.endpoint.command({ kind: 'delete-ike', ikeSa }, 0)) },
];

/** Runs the whole life, or until `enough`; `filter` sees every datagram. */
export function live(world: Trio, filter: Filter, enough: () => boolean = () => false): void {
  for (const { step } of LIFE) {
    if (enough()) return;
    step(world);
    settle(world.left, world.right, 0, filter);
  }
}

/** Lets every timer fire, without delivering anything: what was promised to end ends, and no timer arms itself for ever. */
export function toRest(end: End, from = 0): void {
  let now = from;
  for (let round = 0; round < MOST_TIMERS; round++) {
    const deadline = end.endpoint.nextDeadline();
    if (deadline === undefined) return;
    now = Math.max(now, deadline);
    end.endpoint.expire(now);
    end.drain(now);
  }
  throw new Error(`still busy after ${MOST_TIMERS} deadlines`);
}

export const establishedSas = (end: End) => end.endpoint.info().filter((sa) => sa.establishedAt !== undefined);

function withIkeSa(end: End, run: (id: number) => void): void {
  const sa = end.endpoint.info().find(({ state }) => state === 'established');
  if (sa) run(sa.id);
}

function withChild(end: End, run: (id: number) => void): void {
  const sa = end.endpoint.info().find(({ state }) => state === 'established');
  const child = sa?.children.find(({ state }) => state === 'installed');
  if (child) run(child.id);
}

const MOST_TIMERS = 400;
