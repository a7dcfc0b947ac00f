import { TunnelwrightError } from '../../core/bytes/index.ts';
import type { IkeSaInfo, Notice } from '../../core/ike/effects.ts';
import { isInstalled, isUp } from './books.ts';
import type { Engine } from './engine.ts';
import { type Rekeyed, rekeyOne } from './rekey-one.ts';

type Tested = Extract<Notice, { kind: 'rekey-tested' }>;

/**
 * Rekeys the children of a connection and then its IKE SA, at once. IKE_AUTH asks for no key exchange of the first child and nobody compares
 * what a peer will propose later, so what two ends see differently about PFS and proposals shows no sooner than their first rekeying. Each
 * outcome is a notice `rekey-tested`; what fails leaves everything as it was.
 */
export async function testRekey(
  engine: Pick<Engine, 'command' | 'events' | 'infoOf' | 'ofConnection' | 'ownerOf'>,
  connection: string,
  wall: () => number,
  signal?: AbortSignal,
): Promise<void> {
  const current = (): IkeSaInfo | undefined => engine.ofConnection(connection).find(isUp);
  const one = async (what: string, kind: Rekeyed, id: number, suite: () => string | undefined): Promise<void> => {
    let error: TunnelwrightError | undefined;
    try {
      await rekeyOne(engine, kind, id, signal);
    } catch (thrown) {
      if (!(thrown instanceof TunnelwrightError)) throw thrown;
      error = thrown;
    }
    const sa = current();
    const tested: Tested = { kind: 'rekey-tested', ikeSa: sa?.id, connection, what, suite: error ? undefined : suite(), error };
    engine.events.emit('notice', { at: wall(), notice: tested });
  };
  for (const child of current()?.children.filter(isInstalled) ?? []) {
    const successor = () => current()?.children.findLast((one) => one.name === child.name && isInstalled(one));
    await one(`CHILD_SA ${child.name}`, 'child-rekeyed', child.id, () => successor()?.suite);
  }
  const ikeSa = current();
  if (ikeSa) await one('the IKE SA', 'ike-rekeyed', ikeSa.id, () => current()?.suite);
}
