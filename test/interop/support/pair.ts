import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { End } from './end.ts';
import { addInside, createNetwork, type Network } from './network.ts';
import { createIdentities, type Identity, PROPOSALS, type SwanctlOptions, swanctlConf, swanctlFiles } from './profile.ts';
import { Scope } from './scope.ts';
import type { Settings } from './settings.ts';
import { Strongswan } from './strongswan.ts';
import { type ConfigurationOptions, configuration, Tunnelwright } from './tunnelwright.ts';

/** We on the left, strongSwan on the right, a network between. */
export interface Pair {
  readonly network: Network;
  readonly we: Tunnelwright;
  readonly peer: Strongswan;
  readonly initiator: End;
  /** What we were configured with, and a folder that goes with the scope. */
  readonly configuration: object;
  readonly folder: string;
}

export interface PairOptions {
  readonly role: 'initiator' | 'responder';
  readonly ike: string;
  readonly esp: string;
  identities(folder: string): Promise<{ readonly left: Identity; readonly right: Identity }>;
  /** What one end has otherwise than the other expects. */
  readonly ours?: Partial<ConfigurationOptions>;
  readonly theirs?: Partial<SwanctlOptions>;
  /** See `StrongswanOptions`. */
  readonly root?: string | undefined;
  /** PEM files for strongSwan besides those of its identity, see `StrongswanOptions`. */
  readonly files?: Readonly<Record<string, readonly string[]>>;
  /** Of strongSwan's charon section. */
  readonly charon?: Settings;
}

export async function startPair(scope: Scope, options: PairOptions): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
  scope.defer(folder, () => rm(folder, { recursive: true }));
  const network = await createNetwork(scope);
  const { left, right } = network;
  const identities = await options.identities(folder);
  const { ike, esp } = options;
  await addInside(right);
  const theirs = { host: right, peer: left, identity: identities.right, ike, esp, ...options.theirs };
  const peer = await Strongswan.start(scope, {
    folder: join(folder, 'peer'),
    host: right,
    swanctl: swanctlConf(theirs),
    root: options.root,
    files: { ...swanctlFiles(theirs.identity), ...options.files },
    ...(options.charon && { charon: options.charon }),
  });
  const ourConfiguration = configuration({ host: left, peer: right, identity: identities.left, ike, esp, ...options.ours });
  const we = await Tunnelwright.start(scope, {
    folder: join(folder, 'we'),
    host: left,
    role: options.role === 'initiator' ? 'client' : 'gateway',
    configuration: ourConfiguration,
  });
  return { network, we, peer, initiator: options.role === 'initiator' ? we : peer, configuration: ourConfiguration, folder };
}

/** A pair of its own for one scenario, with a suite and identities that most have; nothing of it stays. */
export async function inPair(
  options: Omit<PairOptions, 'ike' | 'esp' | 'identities'> & Partial<PairOptions>,
  work: (pair: Pair) => Promise<void>,
): Promise<void> {
  const scope = new Scope();
  try {
    await work(await startPair(scope, { ...PROPOSALS[1]!, identities: (folder) => createIdentities(folder, 'psk'), ...options }));
  } finally {
    await scope.close();
  }
}
