import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addInside, createNetwork, type Host } from '../interop/support/network.ts';
import { eventually } from '../interop/support/process.ts';
import { createIdentities, type Identity, LEFT_ID, RIGHT_ID, swanctlFiles } from '../interop/support/profile.ts';
import { Scope } from '../interop/support/scope.ts';
import type { Settings } from '../interop/support/settings.ts';
import { Strongswan } from '../interop/support/strongswan.ts';
import { cpuSeconds, type Row, row } from './measure.ts';
import {
  COMMON,
  credentials,
  ESP_SUITE,
  established,
  type Profile,
  QUIET,
  type Responder,
  SUITE,
  type Subject,
  secrets,
} from './subjects.ts';

/**
 * Full IKE SAs, each with its child, per second of one core, as responder. The initiator is strongSwan, whoever answers, and what is
 * counted is the CPU time that the kernel charges to the answering process, so that subjects compare like with like.
 */
export async function measureIkeRate(
  subject: Subject,
  { auth, profile, root }: { readonly auth: 'psk' | 'ecdsa'; readonly profile?: Profile; readonly root?: string | undefined },
  rounds: number,
  count: number,
): Promise<Row> {
  const scope = new Scope();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-bench-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const { left, right } = await createNetwork(scope);
    await addInside(left);
    const identities = await createIdentities(folder, auth);
    const responder = await subject.start(scope, {
      folder: join(folder, 'right'),
      host: right,
      peer: left,
      identity: identities.right,
      profile,
    });
    const rates: number[] = [];
    // A gateway runs for months: caches and compilers get time to warm up, the same for everybody. Compilers on other threads count too.
    for (let round = 0; round < WARM_ROUNDS + rounds; round++) {
      const initiator = { folder: join(folder, `left-${round}`), host: left, peer: right, identity: identities.left, profile, root };
      const seconds = await oneRound(responder, initiator, count);
      if (round >= WARM_ROUNDS) rates.push(count / seconds);
    }
    const keyExchange = (profile?.suite ?? SUITE).split('-').slice(2).join('-');
    return row(`IKE SAs as responder, ${auth === 'psk' ? 'PSK' : 'ECDSA P-256'}, ${keyExchange}`, subject.name, 'SA/s/core', rates);
  } finally {
    await scope.close();
  }
}

/** CPU seconds of the responder for `count` IKE SAs that a fresh initiator begins all at once. */
async function oneRound(responder: Responder, initiator: Initiator, count: number): Promise<number> {
  const scope = new Scope();
  try {
    const { folder, host, identity, root } = initiator;
    const loaded = initiatorConf(initiator, count, 'none');
    const swan = await Strongswan.start(scope, { folder, host, root, swanctl: loaded, files: swanctlFiles(identity), charon: QUIET });
    const before = cpuSeconds(responder.pid);
    await swan.configure(initiatorConf(initiator, count, 'start'));
    await swan.load();
    await eventually(
      `${count} IKE SAs are established`,
      async () => (await established(swan)) === count,
      120_000,
      () => swan.log(),
    );
    const seconds = cpuSeconds(responder.pid) - before;
    await scope.close();
    await responder.forgetAll();
    return seconds;
  } finally {
    await scope.close();
  }
}

interface Initiator {
  readonly folder: string;
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  readonly profile: Profile | undefined;
  readonly root: string | undefined;
}

function initiatorConf({ host, peer, identity, profile }: Initiator, count: number, startAction: 'none' | 'start'): Settings {
  const connection = (i: number): Settings => ({
    ...COMMON,
    local_addrs: host.address,
    remote_addrs: peer.address,
    proposals: profile?.suite ?? SUITE,
    local: { ...credentials(identity), id: identity.auth === 'psk' ? `client-${i}.example` : LEFT_ID },
    remote: { auth: identity.auth, id: RIGHT_ID },
    children: {
      [`c${i}`]: {
        local_ts: `10.1.${i >> 8}.${i & 255}/32`,
        remote_ts: peer.network,
        esp_proposals: profile?.esp ?? ESP_SUITE,
        start_action: startAction,
      },
    },
  });
  return { connections: Object.fromEntries(Array.from({ length: count }, (_, i) => [`n${i}`, connection(i)])), secrets: secrets(identity) };
}

const WARM_ROUNDS = 12;
