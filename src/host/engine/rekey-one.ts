import type { Command, Notice } from '../../core/ike/effects.ts';
import type { Engine } from './engine.ts';
import { connectionEnded, until } from './until.ts';

/** What says that fresh keys are in use: of a child, of an IKE SA, or of one that took its place after a new authentication. */
export type Rekeyed = 'child-rekeyed' | 'ike-rekeyed' | 'ike-reauthenticated';

/** Asks for fresh keys of one SA, and waits until they are in use. @throws what made it fail, the signal's reason */
export async function rekeyOne(
  engine: Pick<Engine, 'command' | 'events' | 'infoOf' | 'ownerOf'>,
  kind: Rekeyed,
  id: number,
  signal?: AbortSignal,
): Promise<void> {
  const connection = engine.infoOf(id)?.connection;
  const owner = kind === 'child-rekeyed' ? engine.ownerOf(id) : id;
  // not whether it is there: what took its place may be told of a moment after it has gone
  const isItsEnd = (notice: Notice): boolean =>
    kind === 'child-rekeyed' ? notice.kind === 'child-down' && notice.child === id : notice.kind === 'ike-down' && notice.ikeSa === id;
  const finished = until<undefined>(
    engine.events,
    (notice) => {
      if (notice?.kind === kind && notice.from === id) return { done: undefined };
      if (notice?.kind === 'failed' && notice.ikeSa === (engine.ownerOf(id) ?? owner)) return { failed: notice.error };
      // a new authentication fails on the IKE SA that was to be
      if (kind === 'ike-reauthenticated' && notice?.kind === 'failed' && notice.connection === connection) return { failed: notice.error };
      return notice !== undefined && isItsEnd(notice) ? { failed: connectionEnded(`SA ${id}`, 'it went down meanwhile') } : undefined;
    },
    signal,
  );
  finished.catch(() => undefined); // the command may fail first
  engine.command(commandOf(kind, id));
  await finished;
}

function commandOf(kind: Rekeyed, id: number): Command {
  switch (kind) {
    case 'child-rekeyed':
      return { kind: 'rekey-child', child: id };
    case 'ike-rekeyed':
      return { kind: 'rekey-ike', ikeSa: id };
    case 'ike-reauthenticated':
      return { kind: 'reauthenticate', ikeSa: id };
  }
}
