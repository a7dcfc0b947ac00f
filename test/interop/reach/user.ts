import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetwork, type Host, type Network } from '../support/network.ts';
import { Daemon, eventually, type Finished, must, PATIENCE, run } from '../support/process.ts';
import { type Identity, swanctlConf } from '../support/profile.ts';
import type { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration } from '../support/tunnelwright.ts';
import { give, NOBODY, type Servers } from './servers.ts';

/** An ordinary user without any capability, in a namespace of the test. */
export class User {
  readonly host: Host;
  readonly folder: string;
  #daemons = 0;

  constructor(host: Host, folder: string) {
    this.host = host;
    this.folder = folder;
  }

  async open(settings: object): Promise<void> {
    for (const path of [this.folder, join(this.folder, 'run')]) {
      await mkdir(path);
      await give(path, NOBODY);
    }
    const file = join(this.folder, 'tunnelwright.yaml');
    await writeFile(file, JSON.stringify({ ...settings, plane: 'netstack' }, undefined, 2));
    await give(file, NOBODY);
  }

  start(scope: Scope, ...words: readonly string[]): Daemon {
    return new Daemon(scope, `${words[0]} ${this.#daemons++}`, 'ip', this.#enter(...TUNNELWRIGHT, ...words), { env: this.#environment });
  }

  runs(...command: readonly string[]): Promise<Finished> {
    return run('ip', this.#enter(...command), { env: this.#environment, timeout: 240_000 });
  }

  tells(...words: readonly string[]): Promise<Finished> {
    return this.runs(...TUNNELWRIGHT, ...words);
  }

  async must(...command: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.runs(...command);
    if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  #enter(...command: readonly string[]): readonly string[] {
    return ['netns', 'exec', this.host.namespace, ...RIGHTLESS, 'env', '-C', this.folder, ...command];
  }

  get #environment(): Readonly<Record<string, string>> {
    return { HOME: this.folder, XDG_RUNTIME_DIR: join(this.folder, 'run'), NO_COLOR: '1' };
  }
}

/** The command line as an ordinary user has it. */
export const TUNNELWRIGHT = [process.execPath, join(process.cwd(), 'dist', 'cli', 'main.js')];

/** Two ends, and a folder that is removed with them. */
export async function prepare(scope: Scope, onNetwork: (network: Network) => void): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-reach-'));
  scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const network = await createNetwork(scope);
  // ports that native clients insist on, given to everybody as an operator of containers would
  for (const { namespace } of [network.left, network.right])
    await must('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=0']);
  // and echo requests, as distributions with systemd do
  await must('ip', ['netns', 'exec', network.right.namespace, 'sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  onNetwork(network);
  return folder;
}

/**
 * Our gateway, as an ordinary user.
 * @param more sections of its configuration
 */
export async function ourGateway(
  scope: Scope,
  { folder, network, identity }: Ends,
  more: Readonly<Record<string, unknown>>,
): Promise<{ readonly gateway: User; readonly serving: Daemon }> {
  const gateway = new User(network.right, join(folder, 'gateway'));
  const lends = configuration({
    host: network.right,
    peer: network.left,
    identity,
    ike: IKE,
    esp: ESP,
    connection: { pools: ['clients'], unique: 'never' },
    child: { local_ts: '10.2.0.0/24', remote_ts: 'dynamic' },
    sections: { pools: { clients: { addrs: '10.66.0.0/24' } }, ...more },
  });
  await gateway.open(unprivileged(lends));
  const serving = gateway.start(scope, 'serve', '--config', 'tunnelwright.yaml');
  await eventually(
    'the gateway listens',
    () => serving.output.includes('listening on'),
    PATIENCE,
    () => serving.output,
  );
  return { gateway, serving };
}

/** strongSwan, which has the machine behind it reach our client. */
export async function strongswanGateway(scope: Scope, { folder, network, identity }: Ends, servers: Servers): Promise<void> {
  const within = (namespace: string, ...command: string[]): Promise<string> => must('ip', ['netns', 'exec', namespace, ...command]);
  await within(
    network.right.namespace,
    'sysctl',
    '-qw',
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.rp_filter=0',
    'net.ipv4.conf.default.rp_filter=0',
  );
  await within(servers.namespace, 'ip', 'route', 'add', 'default', 'via', '10.2.0.254');
  const swanctl = swanctlConf({
    host: network.right,
    peer: network.left,
    identity,
    ike: IKE,
    esp: ESP,
    connection: { pools: 'clients', unique: 'never' },
    child: { local_ts: '10.2.0.0/24', remote_ts: 'dynamic' },
    sections: { pools: { clients: { addrs: '10.66.0.0/24' } } },
  });
  await Strongswan.start(scope, { folder: join(folder, 'strongswan'), host: network.right, swanctl });
}

export interface Ends {
  readonly folder: string;
  readonly network: Network;
  /** Of the end that is meant. */
  readonly identity: Identity;
}

/** Our client, as an ordinary user, connected. @param sshKey what servers behind the gateway let in @param flags of `up` */
export async function connected(
  scope: Scope,
  { folder, network, identity }: Ends,
  sshKey: string | undefined,
  ...flags: readonly string[]
): Promise<User> {
  const client = new User(network.left, join(folder, 'client'));
  const settings = configuration({
    host: network.left,
    peer: network.right,
    identity,
    ike: IKE,
    esp: ESP,
    connection: { vips: '0.0.0.0' },
    child: { local_ts: 'dynamic' },
  });
  await client.open({ ...unprivileged(settings), addresses: [] });
  if (sshKey !== undefined) {
    await must('cp', [sshKey, join(client.folder, 'key')]);
    await give(join(client.folder, 'key'), NOBODY);
    await chmod(join(client.folder, 'key'), 0o600);
  }
  const tunnel = client.start(scope, 'up', 'net', '--config', 'tunnelwright.yaml', ...flags);
  await eventually(
    'the tunnel is up',
    () => tunnel.output.includes('✓ up in'),
    PATIENCE,
    () => tunnel.output,
  );
  return client;
}

/** Keys travel in files of the harness's, which nobody may read: here they stand in the configuration. */
const unprivileged = (settings: object): object => ({ ...settings, control: undefined });

const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
const RIGHTLESS = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all', '--no-new-privs'];
