import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { whyNot } from '../netns/user.ts';
import type { Network } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities, type Identity } from '../support/profile.ts';
import { describeWith, NAMESPACES, STRONGSWAN } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { type Servers, serversMissing, startServers } from './servers.ts';
import { connected, ourGateway, prepare, strongswanGateway, TUNNELWRIGHT, type User } from './user.ts';

const NO_NAMESPACE = NAMESPACES.missing() === undefined ? await whyNot() : undefined;
const REAL_SERVERS = { name: 'servers', missing: () => NAMESPACES.missing() ?? serversMissing() };
const STRONGSWAN_AND_SERVERS = { name: 'servers', missing: () => STRONGSWAN.missing() ?? serversMissing() };

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
    await ourGateway(scope, { folder, network, identity: identities.right }, { behind: { lan: { networks: '10.2.0.0/24' } } });
    client = await connected(scope, { folder, network, identity: identities.left }, servers.sshKey, ...opened(servers));
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
    await strongswanGateway(scope, { folder, network, identity: identities.right }, servers);
    client = await connected(scope, { folder, network, identity: identities.left }, servers.sshKey, ...opened(servers));
  });
  afterAll(() => scope.close());

  reaches(() => ({ client, servers, socks: SOCKS, forwarded: FORWARDED }));
});

const SOCKS = '127.0.0.1:1080';
const FORWARDED = '127.0.0.1:8080';
const opened = ({ address }: Servers): readonly string[] => ['--socks', '1080', '-L', `8080:${address}:80`];
