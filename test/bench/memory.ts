import { Scope } from '../interop/support/scope.ts';
import { type Row, row } from './measure.ts';
import { carryOut, startResponder } from './plan.ts';
import { ESP_SUITE, SUITE, type Subject } from './subjects.ts';

/**
 * Resident octets that one IKE SA costs the responder: the difference between a few hundred, which warm up what is there once, and so
 * many more, each time after a garbage collection.
 * @param what `full`: established, with its child; `half-open`: after IKE_SA_INIT
 */
export async function measureMemory(subject: Subject, count: number, what: 'full' | 'half-open' = 'full'): Promise<Row> {
  const scope = new Scope();
  try {
    const { responder, left, secret } = await startResponder(scope, subject, { patient: true });
    const begin = async (first: number, peers: number): Promise<void> => {
      // the next one needs its port; the responder keeps the SAs, since nobody says goodbye
      const end = await carryOut(left, { what, secret, first, peers, count: peers, suite: SUITE, esp: ESP_SUITE });
      await end();
    };
    await begin(0, WARM);
    const before = await responder.residentOctets();
    await begin(WARM, count);
    const after = await responder.residentOctets();
    const kind = what === 'full' ? 'an IKE SA with its child' : 'a half-open IKE SA';
    return row(`memory of ${kind}, at ${count}`, subject.name, 'KiB', [(after - before) / count / 1024]);
  } finally {
    await scope.close();
  }
}

const WARM = 500;
