import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetwork, type Host } from '../interop/support/network.ts';
import { Daemon, eventually } from '../interop/support/process.ts';
import { createIdentities } from '../interop/support/profile.ts';
import { Scope } from '../interop/support/scope.ts';
import type { Profile, Responder, Subject } from './subjects.ts';

/** What `initiator.ts` does. */
export interface Plan {
  /**
   * `full`: IKE SAs with their children. `half-open`: IKE_SA_INIT and no more. `cookies`: the same IKE_SA_INIT under other SPIs, answers
   * counted. `rekeyings`: of the children of so many peers, in turn.
   */
  readonly what: 'full' | 'half-open' | 'cookies' | 'rekeyings';
  readonly local: string;
  readonly remote: string;
  readonly secret: string;
  /** Numbers of its peers, from `first` on. */
  readonly first: number;
  readonly peers: number;
  /** Of what it does, until it says that it is done. */
  readonly count: number;
  readonly suite: string;
  readonly esp: string;
}

/** Two hosts, the subject on the one with a pre-shared key, and what an initiator on the other needs to know. */
export async function startResponder(
  scope: Scope,
  subject: Subject,
  profile: Profile,
): Promise<{ readonly responder: Responder; readonly left: Host; readonly secret: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-bench-'));
  scope.defer(folder, () => rm(folder, { recursive: true }));
  const { left, right } = await createNetwork(scope);
  const { right: identity } = await createIdentities(folder, 'psk');
  const responder = await subject.start(scope, { folder: join(folder, 'right'), host: right, peer: left, identity, profile });
  return { responder, left, secret: identity.auth === 'psk' ? identity.secret : '' };
}

/** Starts an initiator in a namespace. @returns what ends it, once it is done */
export async function carryOut(host: Host, plan: Omit<Plan, 'local' | 'remote'>): Promise<() => Promise<void>> {
  const script = join(process.cwd(), 'dist', '.tools', 'test', 'bench', 'initiator.js');
  const whole: Plan = { ...plan, local: host.address, remote: host.peerAddress };
  const scope = new Scope();
  const args = ['netns', 'exec', host.namespace, process.execPath, script, JSON.stringify(whole)];
  const daemon = new Daemon(scope, 'initiator', 'ip', args, { stdin: true });
  try {
    await eventually(
      `the initiator is done with ${plan.count} of ${plan.what}`,
      () => daemon.output.includes('"done"') || !daemon.running,
      240_000,
      () => daemon.output,
    );
    if (!daemon.output.includes('"done"')) throw new Error(`the initiator failed\n${daemon.output}`);
  } catch (error) {
    await scope.close();
    throw error;
  }
  return () => scope.close();
}
