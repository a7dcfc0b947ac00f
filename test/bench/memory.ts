import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetwork, type Host } from '../interop/support/network.ts';
import { Daemon, eventually } from '../interop/support/process.ts';
import { createIdentities } from '../interop/support/profile.ts';
import { Scope } from '../interop/support/scope.ts';
import { type Row, row } from './measure.ts';
import type { Subject } from './subjects.ts';

/**
 * Resident octets that one IKE SA with its child costs the responder: the difference between a few hundred, which warm up what is
 * there once, and so many more, each time after a garbage collection.
 */
export async function measureMemory(subject: Subject, count: number): Promise<Row> {
  const scope = new Scope();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-bench-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const { left, right } = await createNetwork(scope);
    const { right: identity } = await createIdentities(folder, 'psk');
    const secret = identity.auth === 'psk' ? identity.secret : '';
    const responder = await subject.start(scope, { folder: join(folder, 'right'), host: right, peer: left, identity });
    await begin(scope, left, secret, 0, WARM);
    const before = await responder.residentOctets();
    await begin(scope, left, secret, WARM, count);
    const after = await responder.residentOctets();
    return row(`memory of an IKE SA with its child, at ${count}`, subject.name, 'KiB', [(after - before) / count / 1024]);
  } finally {
    await scope.close();
  }
}

async function begin(scope: Scope, host: Host, secret: string, first: number, count: number): Promise<void> {
  const script = join(process.cwd(), 'dist', '.tools', 'test', 'bench', 'initiator.js');
  const args = [script, host.address, host.peerAddress, secret, String(first), String(count)];
  const own = new Scope();
  const daemon = new Daemon(own, 'initiator', 'ip', ['netns', 'exec', host.namespace, process.execPath, ...args], { stdin: true });
  // The next one needs its port; the responder keeps the SAs, since nobody says goodbye.
  scope.defer('initiator', () => own.close());
  await eventually(
    `${count} IKE SAs stand`,
    () => daemon.output.includes('"established"') || !daemon.running,
    240_000,
    () => daemon.output,
  );
  if (!daemon.output.includes('"established"')) throw new Error(`the initiator failed\n${daemon.output}`);
  await own.close();
}

const WARM = 500;
