import { COLLISIONS, type Collisions, Endpoint, type EndpointOptions, type EndpointWorld, type Notice } from '../../core/ike/index.ts';
import { MessageWindow } from '../../core/ike/message-window.ts';
import { GROUPS } from './coverage.ts';
import { type Judge, RefereedWorld } from './referee.ts';
import type { WorldOptions } from './world.ts';

/** An error that somebody could have made in the core: what a walk’s machines run in place of it. */
export type Mutation = NonNullable<WorldOptions['makeEndpoint']>;

/** Every other decision that a row of the collision table could have held, by name. */
export function flippedRows(): Readonly<Record<string, Mutation>> {
  return Object.fromEntries(
    Object.entries(COLLISIONS).flatMap(([column, rows]) =>
      Object.entries(rows as Record<string, string>).flatMap(([met, decision]) =>
        othersOf(column as keyof Collisions, met, decision).map((other) => [
          `${GROUPS[column as keyof Collisions]} ${met}: ${other}`,
          deciding({ ...COLLISIONS, [column]: { ...rows, [met]: other } } as Collisions),
        ]),
      ),
    ),
  );
}

/** What the rows do not say. */
export const MISTAKES: Readonly<Record<string, Mutation>> = {
  'deletes the old child before the new one is proven': (_, options, judge) => new Hasty(options, judge),
  'takes the old child out of the data plane before the new one is there': mistaken((options, judge) => new Gap(options, judge)),
  'goes on with the Message IDs of the IKE SA that was rekeyed': mistaken((options, judge) => new Continuing(options, judge)),
  'begins with Message ID 1 after a rekeying of the IKE SA': mistaken((options, judge) => new Skipping(options, judge)),
  'uses a Message ID twice after a rekeying of the IKE SA': mistaken((options, judge) => new Repeating(options, judge)),
  'never refuses for a time': deciding(withoutRefusals()),
  'leaves the redundant IKE SA of a crossing': mistaken((options, judge) => new Leaving(options, judge)),
  'leaves the children on the IKE SA that was rekeyed': mistaken((options, judge) => new Stranding(options, judge)),
  'answers a copy of a request anew': mistaken((options, judge) => new Forgetful(options, judge)),
};

/** Where there is no child, none can be rekeyed, and none has a half to be named. */
function othersOf(column: keyof Collisions, met: string, decision: string): readonly string[] {
  const childless = met === 'awaited' || met === 'unknown';
  const all: Readonly<Record<keyof Collisions, readonly string[]>> = {
    rekeyChild: childless ? ['TEMPORARY_FAILURE', 'CHILD_SA_NOT_FOUND'] : ['proceed', 'TEMPORARY_FAILURE', 'CHILD_SA_NOT_FOUND'],
    deleteChild: ['delete-and-answer', 'answer-without-delete'],
    rekeyIke: ['proceed', 'TEMPORARY_FAILURE'],
    makeChild: ['proceed', 'TEMPORARY_FAILURE'],
    redundant: ['ours', 'theirs'],
  };
  if (column === 'deleteChild' && met === 'awaited') return ['answer-without-delete'];
  return all[column].filter((other) => other !== decision);
}

function deciding(collisions: Collisions): Mutation {
  return mistaken((options, judge) => new Deciding(options, judge, collisions));
}

function mistaken(make: (options: EndpointOptions, judge: Judge) => EndpointWorld): Mutation {
  return (_, options, judge) => new Endpoint(options, make(options, judge));
}

function withoutRefusals(): Collisions {
  const proceed = <R extends Readonly<Record<string, string>>>(rows: R): R =>
    Object.fromEntries(
      Object.entries(rows).map(([met, decision]) => [met, decision === 'TEMPORARY_FAILURE' && met !== 'awaited' ? 'proceed' : decision]),
    ) as R;
  const { rekeyChild, rekeyIke, makeChild } = COLLISIONS;
  return { ...COLLISIONS, rekeyChild: proceed(rekeyChild), rekeyIke: proceed(rekeyIke), makeChild: proceed(makeChild) };
}

type IkeSa = Parameters<EndpointWorld['transition']>[0];

class Deciding extends RefereedWorld {
  override readonly collisions: Collisions;

  constructor(options: EndpointOptions, judge: Judge, collisions: Collisions) {
    super(options, judge);
    this.collisions = collisions;
  }
}

/** It answers the peer’s rekeying of a child and at once deletes the old one, which is the peer’s to do when it has the answer. */
class Hasty extends Endpoint {
  readonly #old: number[];

  constructor(options: EndpointOptions, judge: Judge) {
    const old: number[] = [];
    super(
      options,
      new Telling(options, judge, (notice) => void (notice.kind === 'child-rekeyed' && !notice.byUs && old.push(notice.from))),
    );
    this.#old = old;
  }

  override receive(...args: Parameters<Endpoint['receive']>): void {
    super.receive(...args);
    this.#deleteOld(args[1]);
  }

  override answer(...args: Parameters<Endpoint['answer']>): boolean {
    const awaited = super.answer(...args);
    this.#deleteOld(args[2]);
    return awaited;
  }

  #deleteOld(now: number): void {
    const ids = new Set(this.info().flatMap(({ children }) => children.map(({ id }) => id)));
    for (const child of this.#old.splice(0)) if (ids.has(child)) this.command({ kind: 'delete-child', child }, now);
  }
}

class Telling extends RefereedWorld {
  readonly #tell: (notice: Notice) => void;

  constructor(options: EndpointOptions, judge: Judge, tell: (notice: Notice) => void) {
    super(options, judge);
    this.#tell = tell;
  }

  override notice(notice: Notice): void {
    super.notice(notice);
    this.#tell(notice);
  }
}

class Gap extends RefereedWorld {
  override childTransition(...[child, to]: Parameters<EndpointWorld['childTransition']>): void {
    super.childTransition(child, to);
    if (to === 'rekeying') this.emit({ kind: 'child-remove', child: child.id, reason: 'its successor was asked for' });
  }
}

/** The IKE SA that takes another one’s place gets other Message IDs than 0, 1, 2, … */
abstract class Renumbering extends RefereedWorld {
  abstract windowAfter(old: IkeSa): MessageWindow;

  override transition(...[sa, to]: Parameters<EndpointWorld['transition']>): void {
    super.transition(sa, to);
    if (to === 'replaced' && sa.successor !== undefined && sa.successor.window.nextRequest === 0)
      sa.successor.window = this.windowAfter(sa);
  }
}

class Continuing extends Renumbering {
  windowAfter({ window: { nextRequest, nextExpected } }: IkeSa): MessageWindow {
    return new MessageWindow({ nextRequest, nextExpected });
  }
}

class Skipping extends Renumbering {
  windowAfter(): MessageWindow {
    return new MessageWindow({ nextRequest: 1, nextExpected: 0 });
  }
}

class Repeating extends Renumbering {
  windowAfter(): MessageWindow {
    return new Stuttering();
  }
}

class Stuttering extends MessageWindow {
  #stuttered = false;

  override allocate(): number {
    const messageId = super.allocate();
    if (messageId !== 1 || this.#stuttered) return messageId;
    this.#stuttered = true;
    this.reuse(1);
    return 0;
  }
}

class Leaving extends RefereedWorld {
  override enqueue(...[sa, job]: Parameters<EndpointWorld['enqueue']>): void {
    if (job.what !== 'redundant IKE SA') super.enqueue(sa, job);
  }
}

class Stranding extends RefereedWorld {
  override moveChildren(): void {}
}

class Forgetful extends RefereedWorld {
  override add(sa: IkeSa): void {
    sa.window = new Amnesia();
    super.add(sa);
  }
}

class Amnesia extends MessageWindow {
  override judge(messageId: number): ReturnType<MessageWindow['judge']> {
    const verdict = super.judge(messageId);
    return verdict === 'repeat' ? 'new' : verdict;
  }
}
