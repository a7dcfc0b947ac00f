import { TunnelwrightError } from '../../core/bytes/index.ts';
import type { IkeSaInfo, Notice } from '../../core/ike/effects.ts';
import { isUp } from './books.ts';
import type { Engine } from './engine.ts';

type Tested = Extract<Notice, { kind: 'rekey-tested' }>;

/**
 * Rekeys the children of a connection and then its IKE SA, at once. IKE_AUTH asks for no key exchange of the first child and nobody compares
 * what a peer will propose later, so what two ends see differently about PFS and proposals shows no sooner than their first rekeying. Each
 * outcome is a notice `rekey-tested`; what fails leaves everything as it was.
 */
export async function testRekey(
  engine: Pick<Engine, 'ofConnection' | 'events' | 'command'>,
  connection: string,
  rekey: (kind: 'child-rekeyed' | 'ike-rekeyed', id: number) => Promise<void>,
  wall: () => number,
): Promise<void> {
  const current = (): IkeSaInfo | undefined => engine.ofConnection(connection).find(isUp);
  const one = async (what: string, kind: 'child-rekeyed' | 'ike-rekeyed', id: number, suite: () => string | undefined): Promise<void> => {
    let error: TunnelwrightError | undefined;
    try {
      await rekey(kind, id);
    } catch (thrown) {
      if (!(thrown instanceof TunnelwrightError)) throw thrown;
      error = thrown;
    }
    const sa = current();
    const tested: Tested = { kind: 'rekey-tested', ikeSa: sa?.id, connection, what, suite: error ? undefined : suite(), error };
    engine.events.emit('notice', { at: wall(), notice: tested });
  };
  for (const child of current()?.children.filter(({ state }) => state === 'installed') ?? []) {
    const successor = () => current()?.children.findLast(({ name, state }) => name === child.name && state === 'installed');
    await one(`CHILD_SA ${child.name}`, 'child-rekeyed', child.id, () => successor()?.suite);
  }
  const ikeSa = current();
  if (ikeSa) await one('the IKE SA', 'ike-rekeyed', ikeSa.id, () => current()?.suite);
}
