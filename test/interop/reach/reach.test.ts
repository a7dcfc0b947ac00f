import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { whyNot } from '../netns/user.ts';
import { createNetwork, type Host, type Network } from '../support/network.ts';
import { Daemon, eventually, type Finished, must, PATIENCE, run } from '../support/process.ts';
import { createIdentities, type Identity, swanctlConf } from '../support/profile.ts';
import { describeWith, NAMESPACES, STRONGSWAN } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration } from '../support/tunnelwright.ts';
import { give, NOBODY, type Servers, serversMissing, startServers } from './servers.ts';

const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
const RIGHTLESS = [
  'setpriv',
  `--reuid=${NOBODY}`,
  `--regid=${NOBODY}`,
  '--clear-groups',
  '--inh-caps=-all',

  '--no-new-privs',
];
const TUNNELWRIGHT = [process.execPath, join(process.cwd(), 'dist', 'cli', 'main.js')];

const NO_NAMESPACE = NAMESPACES.missing() === undefined ? await whyNot() : undefined;
const REAL_SERVERS = { name: 'servers', missing: () => NAMESPACES.missing() ?? serversMissing() };
const STRONGSWAN_AND_SERVERS = { name: 'servers', missing: () => STRONGSWAN.missing() ?? serversMissing() };

/** An ordinary user without any capability, in a namespace of the test. */
class User {
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

/** What the issue asks of a program of each kind, whoever the gateway is. */
function reaches(
  behind: () => { readonly client: User; readonly servers: Servers; readonly socks: string; readonly forwarded: string },
): void {
  const digestOf = async (file: string): Promise<string> => (await must('sha256sum', [file])).split(' ')[0]!;
  const expectSame = async (name: string): Promise<void> => {
    const { client, servers } = behind();
    expect(await digestOf(join(client.folder, name))).toBe(await digestOf(join(servers.folder, 'data.bin')));
  };
  const ssh = (): readonly string[] => {
    const { client } = behind();
    const proxy = `ProxyCommand=${TUNNELWRIGHT.join(' ')} nc %h %p`;
    const known = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR'];
    return ['-o', proxy, ...known, '-o', 'IdentitiesOnly=yes', '-i', join(client.folder, 'key')];
  };
  const quoted = (words: readonly string[]): string => words.map((word) => (/[ %]/.test(word) ? `'${word}'` : word)).join(' ');

  test('is nobody, and has no capability', async () => {
    expect(await behind().client.must('sh', '-c', 'id -u; grep CapEff /proc/self/status')).toMatch(/^65534\nCapEff:\s+0+\n$/);
  });

  test('sftp and scp, by ProxyCommand', async () => {
    const { client, servers } = behind();
    await client.must('sftp', '-q', ...ssh(), `root@${servers.address}:${servers.folder}/data.bin`, 'sftp.bin');
    await expectSame('sftp.bin');
    await client.must('scp', '-q', ...ssh(), `root@${servers.address}:${servers.folder}/data.bin`, 'scp.bin');
    await expectSame('scp.bin');
    await client.must('scp', '-q', ...ssh(), 'scp.bin', `root@${servers.address}:${servers.folder}/back.bin`);
    expect(await digestOf(join(servers.folder, 'back.bin'))).toBe(await digestOf(join(servers.folder, 'data.bin')));
  });

  test('rsync, there and back', async () => {
    const { client, servers } = behind();
    const shell = `ssh ${quoted(ssh())}`;
    await client.must('rsync', '-e', shell, `root@${servers.address}:${servers.folder}/data.bin`, 'rsync.bin');
    await expectSame('rsync.bin');
    await client.must('rsync', '-e', shell, 'rsync.bin', `root@${servers.address}:${servers.folder}/again.bin`);
    expect(await digestOf(join(servers.folder, 'again.bin'))).toBe(await digestOf(join(servers.folder, 'data.bin')));
  });

  test('git clone over SSH', async () => {
    const { client, servers } = behind();
    const options = ['-c', `core.sshCommand=ssh ${quoted(ssh())}`];
    await client.must('git', ...options, 'clone', '-q', `ssh://root@${servers.address}${servers.folder}/project.git`, 'clone');
    expect((await client.must('git', '-C', 'clone', 'log', '--format=%s')).trim()).toBe('first');
    expect(await client.must('git', '-C', 'clone', 'status', '--porcelain')).toBe('');
  });

  test('curl by SOCKS5 and by HTTP proxy, with ranges', async () => {
    const { client, servers, socks } = behind();
    const url = `http://${servers.address}/data.bin`;
    await client.must('curl', '-sS', '--fail', '--proxy', `socks5h://${socks}`, '-o', 'socks.bin', url);
    await expectSame('socks.bin');
    for (const tunnel of [[], ['--proxytunnel']]) {
      await client.must('curl', '-sS', '--fail', ...tunnel, '--proxy', `http://${socks}`, '-o', 'part.bin', '-r', '0-999999', url);
      await client.must('curl', '-sS', '--fail', ...tunnel, '--proxy', `http://${socks}`, '-C', '-', '-o', 'part.bin', url);
      await expectSame('part.bin');
      await client.must('rm', 'part.bin');
    }
  });

  test('a web server by a forwarded port', async () => {
    const { client, forwarded } = behind();
    await client.must('curl', '-sS', '--fail', '-o', 'forwarded.bin', `http://${forwarded}/data.bin`);
    await expectSame('forwarded.bin');
  });

  test('smbclient by a forwarded port', async () => {
    const { client, servers } = behind();
    const scope = new Scope();
    try {
      const forward = client.start(scope, 'forward', '-L', `14445:${servers.address}:445`);
      await eventually(
        'it is forwarded',
        () => forward.output.includes('✓'),
        PATIENCE,
        () => forward.output,
      );
      const command = ['-N', '-p', '14445', '//127.0.0.1/data', '-c', 'get data.bin smb.bin'];
      await client.must(
        'smbclient',
        '--option=cache directory=.',
        '--option=state directory=.',
        '--option=private dir=.',
        '--option=lock directory=.',
        ...command,
      );
      await expectSame('smb.bin');
    } finally {
      await scope.close();
    }
  });

  test('a PostgreSQL session by a forwarded port', async () => {
    const { client, servers } = behind();
    const scope = new Scope();
    try {
      const forward = client.start(scope, 'forward', '-L', `15432:${servers.address}:5432`);
      await eventually(
        'it is forwarded',
        () => forward.output.includes('✓'),
        PATIENCE,
        () => forward.output,
      );
      const psql = ['psql', '-h', '127.0.0.1', '-p', '15432', '-U', 'test', '-d', 'postgres', '-At'];
      const sum = "select count(*), sum(i), md5(string_agg(i::text, ',' order by i)) from t";
      const said = await client.must(
        ...psql,
        '-c',
        'create temp table t as select generate_series(1, 200000) i',
        '-c',
        sum,
        '-c',
        'select i from t order by i',
      );
      const lines = said.trim().split('\n');
      expect([lines[1], lines.length, lines.at(-1)]).toEqual([
        expect.stringMatching(/^200000\|20000100000\|[0-9a-f]{32}$/),
        200_002,
        '200000',
      ]);
    } finally {
      await scope.close();
    }
  });

  test.skipIf(NO_NAMESPACE !== undefined)(
    `exec: iperf3 with the tunnel as its network${NO_NAMESPACE ? ` (needs ${NO_NAMESPACE})` : ''}`,
    async () => {
      const { client, servers } = behind();
      const scope = new Scope();
      try {
        const words = [
          'up',
          'net',
          '--config',
          'tunnelwright.yaml',
          '--plane',
          'netns',
          '--name',
          'inside',
          '--control',
          join(client.folder, 'inside.sock'),
        ];
        const tunnel = client.start(scope, ...words);
        await eventually(
          'the tunnel is up',
          () => tunnel.output.includes('✓ up in'),
          PATIENCE,
          () => tunnel.output,
        );
        const exec = ['exec', '--control', join(client.folder, 'inside.sock'), '--'];
        const { status, stdout, stderr } = await client.tells(...exec, 'iperf3', '-J', '-t', '2', '-c', servers.address);
        expect(status, stdout + stderr).toBe(0);
        const { end } = JSON.parse(stdout) as { readonly end: { readonly sum_received: { readonly bytes: number } } };
        expect(end.sum_received.bytes).toBeGreaterThan(1_000_000);
        expect(await client.tells(...exec, 'sh', '-c', 'exit 7')).toMatchObject({ status: 7 });
        expect(await client.tells(...exec, 'nowhere-to-be-found')).toMatchObject({
          status: expect.toSatisfy((code: number) => code !== 0),
        });
        expect(await client.tells('exec', '--through', 'net', '--', 'true')).toMatchObject({
          status: 1,
          stderr: expect.stringContaining('plane netstack'),
        });
      } finally {
        await scope.close();
      }
    },
  );

  test('ping', async () => {
    const { client, servers } = behind();
    const { status, stdout, stderr } = await client.tells('ping', '-n', '1', servers.address);
    expect(stdout + stderr).toMatch(/^pong from 10\.2\.0\.5 via esp-in-udp 10\.9\.0\.2:4500 in /);
    expect(status).toBe(0);
  });
}

describeWith(REAL_SERVERS, 'an ordinary user reaches real servers behind a gateway that has no root either', () => {
  const scope = new Scope();
  let network: Network;
  let client: User;
  let servers: Servers;
  let identities: { readonly left: Identity; readonly right: Identity };

  beforeAll(async () => {
    const folder = await prepare(scope, (made) => {
      network = made;
    });
    identities = await createIdentities(folder, 'psk');
    servers = await startServers(scope, network.right, join(folder, 'servers'));
    const gateway = new User(network.right, join(folder, 'gateway'));
    const lends = configuration({
      host: network.right,
      peer: network.left,
      identity: identities.right,
      ike: IKE,
      esp: ESP,
      connection: { pools: ['clients'], unique: 'never' },
      child: { local_ts: '10.2.0.0/24', remote_ts: 'dynamic' },
      sections: { pools: { clients: { addrs: '10.66.0.0/24' } }, behind: { lan: { networks: '10.2.0.0/24' } } },
    });
    await gateway.open(unprivileged(lends));
    const serving = gateway.start(scope, 'serve', '--config', 'tunnelwright.yaml');
    await eventually(
      'the gateway listens',
      () => serving.output.includes('listening on'),
      PATIENCE,
      () => serving.output,
    );
    client = await connected(scope, folder, network, identities.left, servers);
  });
  afterAll(() => scope.close());

  reaches(() => ({ client, servers, socks: SOCKS, forwarded: FORWARDED }));
});

describeWith(STRONGSWAN_AND_SERVERS, 'an ordinary user reaches real servers behind strongSwan', () => {
  const scope = new Scope();
  let network: Network;
  let client: User;
  let servers: Servers;

  beforeAll(async () => {
    const folder = await prepare(scope, (made) => {
      network = made;
    });
    const identities = await createIdentities(folder, 'psk');
    servers = await startServers(scope, network.right, join(folder, 'servers'));
    const within = (namespace: string, ...command: string[]): Promise<string> => must('ip', ['netns', 'exec', namespace, ...command]);
    await within(
      network.right.namespace,
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
    );
    const { namespace } = servers;
    await within(namespace, 'ip', 'route', 'add', 'default', 'via', '10.2.0.254');
    const swanctl = swanctlConf({
      host: network.right,
      peer: network.left,
      identity: identities.right,
      ike: IKE,
      esp: ESP,
      connection: { pools: 'clients', unique: 'never' },
      child: { local_ts: '10.2.0.0/24', remote_ts: 'dynamic' },
      sections: { pools: { clients: { addrs: '10.66.0.0/24' } } },
    });
    await Strongswan.start(scope, { folder: join(folder, 'strongswan'), host: network.right, swanctl });
    client = await connected(scope, folder, network, identities.left, servers);
  });
  afterAll(() => scope.close());

  reaches(() => ({ client, servers, socks: SOCKS, forwarded: FORWARDED }));
});

const SOCKS = '127.0.0.1:1080';
const FORWARDED = '127.0.0.1:8080';

async function prepare(scope: Scope, onNetwork: (network: Network) => void): Promise<string> {
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

/** Keys travel in files of the harness's, which nobody may read: here they stand in the configuration. */
const unprivileged = (settings: object): object => ({ ...settings, control: undefined });

async function connected(scope: Scope, folder: string, network: Network, identity: Identity, servers: Servers): Promise<User> {
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
  await must('cp', [servers.sshKey, join(client.folder, 'key')]);
  await give(join(client.folder, 'key'), NOBODY);
  await chmod(join(client.folder, 'key'), 0o600);
  const tunnel = client.start(scope, 'up', 'net', '--config', 'tunnelwright.yaml', '--socks', '1080', '-L', `8080:${servers.address}:80`);
  await eventually(
    'the tunnel is up',
    () => tunnel.output.includes('✓ up in'),
    PATIENCE,
    () => tunnel.output,
  );
  return client;
}
