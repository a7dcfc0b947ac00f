import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Scope } from '../interop/support/scope.ts';
import type { ChildrenMemory } from './children-load.ts';
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

/** Resident octets of a CHILD_SA that has passed packets, in the thread of a fast plane. */
export async function measureChildren(count: number, rounds: number): Promise<Row> {
  // no more room for short-lived objects than such a thread has
  const flags = ['--expose-gc', '--max-semi-space-size=1'];
  const runs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, CHILDREN, `${count}`], { timeout: 120_000 });
    runs.push((JSON.parse(stdout) as ChildrenMemory).resident / 1024);
  }
  return row(`memory of a CHILD_SA where packets are moved, at ${count}`, 'Tunnelwright', 'KiB', runs);
}

const WARM = 500;
/** `children-load.ts`, compiled. */
const CHILDREN = join('dist', '.tools', 'test', 'bench', 'children-load.js');
