import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { give, NOBODY, type Servers, sshMissing, startSshServer } from '../reach/servers.ts';
import { connected, type Ends, ourGateway, prepare, strongswanGateway, TUNNELWRIGHT, type User } from '../reach/user.ts';
import type { Network } from '../support/network.ts';
import { type Daemon, eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NAMESPACES, STRONGSWAN } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

const OPENSSH = { name: 'openssh', missing: () => NAMESPACES.missing() ?? sshMissing() };
const STRONGSWAN_AND_OPENSSH = { name: 'openssh', missing: () => STRONGSWAN.missing() ?? sshMissing() };
/** So long that no machine has it across before somebody looks. */
const LONG = 96;

const digestOf = async (file: string): Promise<string> => (await must('sha256sum', [file])).split(' ')[0]!;
const random = async (file: string, mebibytes: number): Promise<void> =>
  void (await must('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebibytes}`, 'status=none']));

async function network(scope: Scope): Promise<{ readonly folder: string; readonly network: Network }> {
  let made: Network | undefined;
  const folder = await prepare(scope, (given) => {
    made = given;
  });
  return { folder, network: made! };
}

describeWith(OPENSSH, 'OpenSSH’s sftp and scp speak with our server inside the tunnel', () => {
  const scope = new Scope();
  let client: User;
  let serving: Daemon;
  let served: string;
  let ours: string;
  let address: string;

  beforeAll(async () => {
    const ends = await network(scope);
    const identities = await createIdentities(ends.folder, 'psk');
    served = join(ends.folder, 'served');
    await mkdir(join(served, 'inner'), { recursive: true });
    await random(join(served, 'data.bin'), 20);
    await writeFile(join(ends.folder, 'secret'), 'not for clients');
    await symlink('../secret', join(served, 'way'));
    // of which 16 MiB may be used
    await mkdir(join(served, 'small'));
    await must('mount', ['-t', 'tmpfs', '-o', 'size=80M', 'none', join(served, 'small')]);
    scope.defer('small disk', () => must('umount', ['-l', join(served, 'small')]));
    await must('chown', ['-R', `${NOBODY}:${NOBODY}`, served]);
    const sftp = { folder: served, ids: identities.left.id, host_key: join(ends.folder, 'gateway', 'hostkey') };
    ({ serving } = await ourGateway(scope, { ...ends, identity: identities.right }, { sftp, transfer: { largest: '30MiB' } }));
    client = await connected(scope, { ...ends, identity: identities.left }, undefined);
    ours = client.folder;
    address = ends.network.right.inside;
    await random(join(ours, 'up.bin'), 20);
    await give(join(ours, 'up.bin'), NOBODY);
  });
  afterAll(() => scope.close());

  const ssh = (): readonly string[] => {
    const proxy = `ProxyCommand=${TUNNELWRIGHT.join(' ')} nc %h %p`;
    return ['-o', proxy, '-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${join(ours, 'known')}`, '-o', 'LogLevel=ERROR'];
  };
  /** One batch of OpenSSH's sftp. */
  const batch = async (...lines: readonly string[]) => {
    await writeFile(join(ours, 'batch'), `${lines.join('\n')}\n`, { mode: 0o644 });
    return client.runs('sftp', '-q', '-b', 'batch', ...ssh(), `alice@${address}`);
  };

  test('sftp fetches, sends, renames over what is there, and lists', async () => {
    const { status, stdout, stderr } = await batch(
      'get data.bin',
      'put -p up.bin inner/up.bin',
      'put batch second',
      'rename second inner/second',
      'put batch third',
      'rename third inner/second',
      'chmod 600 inner/second',
      'ls -l inner',
      'mkdir more',
      'rmdir more',
      'df',
      'pwd',
    );
    expect(status, stdout + stderr).toBe(0);
    expect(await digestOf(join(ours, 'data.bin'))).toBe(await digestOf(join(served, 'data.bin')));
    expect(await digestOf(join(served, 'inner', 'up.bin'))).toBe(await digestOf(join(ours, 'up.bin')));
    expect(stdout).toMatch(/-rw------- .* second\n/);
    expect(stdout).toContain('Remote working directory: /\n');
    expect(serving.output).toMatch(/sftp .* got 20.* of \/data\.bin/);
  });

  test('sftp goes on with what broke off', async () => {
    await must('dd', [`if=${join(served, 'data.bin')}`, `of=${join(ours, 'half.bin')}`, 'bs=1M', 'count=7', 'status=none']);
    await give(join(ours, 'half.bin'), NOBODY);
    const { status, stdout, stderr } = await batch('reget data.bin half.bin');
    expect(status, stdout + stderr).toBe(0);
    expect(await digestOf(join(ours, 'half.bin'))).toBe(await digestOf(join(served, 'data.bin')));
  });

  test('scp copies a tree there and back', async () => {
    await client.must('mkdir', '-p', 'tree/deep');
    await client.must('cp', 'up.bin', 'tree/deep/up.bin');
    await client.must('scp', '-q', '-s', '-r', '-p', ...ssh(), 'tree', `alice@${address}:/tree`);
    await client.must('scp', '-q', '-s', '-r', '-p', ...ssh(), `alice@${address}:/tree`, 'back');
    expect(await digestOf(join(ours, 'back', 'deep', 'up.bin'))).toBe(await digestOf(join(ours, 'up.bin')));
  });

  test('nothing leads out of the folder', async () => {
    for (const line of [
      'get way',
      'get ../secret',
      'get /etc/passwd',
      'get inner/../../secret',
      'ln -s /etc out',
      'ln data.bin hard',
      'rename way/x y',
    ])
      expect(await batch(line), line).toMatchObject({ status: 1 });
    expect(serving.output).toMatch(/was refused: .*leads outside/);
    expect(await readdir(ours)).not.toContain('secret');
    expect((await readdir(served)).sort()).toEqual(['data.bin', 'inner', 'small', 'tree', 'way']);
  });

  test('what is too large or finds no room is refused, and leaves what was there whole', async () => {
    await client.must('truncate', '-s', '31M', 'large.bin');
    await client.must('truncate', '-s', '3M', 'some.bin');
    expect(await batch('put some.bin inner/kept', 'put some.bin small/kept')).toMatchObject({ status: 0 });
    for (const line of [
      'put large.bin inner/kept',
      'put large.bin inner/new',
      'reput large.bin inner/kept',
      'put up.bin small/kept',
      'put up.bin small/new',
    ])
      expect(await batch(line), line).toMatchObject({ status: 1 });
    expect(await client.runs('scp', '-q', '-s', ...ssh(), 'up.bin', `alice@${address}:/small/scp`)).toMatchObject({ status: 1 });
    expect((await stat(join(served, 'small', 'kept'))).size).toBe(3 * 1024 ** 2);
    expect((await readdir(join(served, 'inner'))).sort()).toEqual(['kept', 'second', 'up.bin']);
    expect(await readdir(join(served, 'small'))).toEqual(['kept']);
    expect(serving.output).toMatch(/was refused: \/inner\/kept: 30\.\d MiB is more than is accepted here \(30\.0 MiB\)/);
    // how much that is depends on what else was under way
    expect(serving.output).toMatch(/was refused: \/small\/new: the disk has 6\d\.\d MiB left, 64\.0 MiB of it kept free.*make room/);
  });

  test('a shell and forwarded ports are refused', async () => {
    expect(await client.runs('ssh', ...ssh(), `alice@${address}`, 'id')).toMatchObject({ status: 255 });
    expect(await client.runs('ssh', ...ssh(), '-W', '127.0.0.1:22', `alice@${address}`)).toMatchObject({ status: 255 });
  });
});

/** What holds for our client, whoever the gateway in between is. @param gateway puts the servers behind itself, as the right end */
function reachesOpenSsh(gateway: (scope: Scope, ends: Ends, servers: Servers) => Promise<unknown>): void {
  const scope = new Scope();
  let client: User;
  let servers: Servers;

  beforeAll(async () => {
    const ends = await network(scope);
    const identities = await createIdentities(ends.folder, 'psk');
    servers = await startSshServer(scope, ends.network.right, join(ends.folder, 'servers'));
    await gateway(scope, { ...ends, identity: identities.right }, servers);
    client = await connected(scope, { ...ends, identity: identities.left }, servers.sshKey);
  });
  afterAll(() => scope.close());

  const sftp = (...words: readonly string[]): readonly string[] => [
    'sftp',
    '--json',
    '--identity',
    'key',
    '--accept-new',
    `root@${servers.address}`,
    ...words,
  ];
  const tells = async (...words: readonly string[]): Promise<Record<string, unknown>> => {
    const { status, stdout, stderr } = await client.tells(...sftp(...words));
    expect(status, stdout + stderr).toBe(0);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const partOf = async (folder: string, name: string): Promise<number> => {
    const part = (await readdir(folder)).find((file) => file.startsWith(`.${name}.`) && file.endsWith('.part'));
    return part === undefined ? 0 : ((await stat(join(folder, part)).catch(() => undefined))?.size ?? 0);
  };
  /** Runs a command until so much of a file is across, and takes its process away. */
  const killed = async (words: readonly string[], folder: string, name: string): Promise<void> => {
    const scope = new Scope();
    try {
      const running = client.start(scope, ...sftp(...words));
      await eventually(
        'some of it is across',
        async () => {
          while (running.running && (await partOf(folder, name)) < 8 * 1024 * 1024) await sleep(5);
          return true;
        },
        PATIENCE,
        () => running.output,
      );
      expect(running.running, running.output).toBe(true);
      running.child.kill('SIGKILL');
      await eventually('it is gone', () => !running.running, PATIENCE);
    } finally {
      await scope.close();
    }
  };

  test('a file comes and goes, whole', async () => {
    await tells('get', `${servers.folder}/data.bin`, 'come.bin');
    await tells('put', 'come.bin', `${servers.folder}/gone.bin`);
    expect(await digestOf(join(client.folder, 'come.bin'))).toBe(await digestOf(join(servers.folder, 'data.bin')));
    expect(await digestOf(join(servers.folder, 'gone.bin'))).toBe(await digestOf(join(servers.folder, 'data.bin')));
  });

  test('a folder comes and goes', async () => {
    await client.must('sh', '-c', 'mkdir -p tree/deep && for i in 1 2 3 4 5 6 7 8 9; do echo $i > tree/$i; echo $i > tree/deep/$i; done');
    expect(await tells('put', 'tree', `${servers.folder}/tree`)).toMatchObject({ left: [] });
    expect(await tells('get', `${servers.folder}/tree`, 'tree-back')).toMatchObject({ left: [] });
    await client.must('diff', '-r', 'tree', 'tree-back');
  });

  test('a process that is killed while it fetches goes on by the same command', async () => {
    await random(join(servers.folder, 'long.bin'), LONG);
    const words = ['get', `${servers.folder}/long.bin`, 'long.bin'];
    await killed(words, client.folder, 'long.bin');
    expect(await readdir(client.folder)).not.toContain('long.bin');
    const { files } = (await tells(...words)) as { files: { resumedFrom: number; sha256: string }[] };
    expect(files[0]!.resumedFrom).toBeGreaterThan(4 * 1024 * 1024);
    expect(await digestOf(join(client.folder, 'long.bin'))).toBe(await digestOf(join(servers.folder, 'long.bin')));
  });

  test('and one that is killed while it sends', async () => {
    const words = ['put', 'long.bin', `${servers.folder}/long-sent.bin`];
    await killed(words, servers.folder, 'long-sent.bin');
    expect(await readdir(servers.folder)).not.toContain('long-sent.bin');
    const { files } = (await tells(...words)) as { files: { resumedFrom: number; sha256: string }[] };
    expect(files[0]!.resumedFrom).toBeGreaterThan(4 * 1024 * 1024);
    expect(await digestOf(join(servers.folder, 'long-sent.bin'))).toBe(await digestOf(join(client.folder, 'long.bin')));
  });
}

describeWith(OPENSSH, 'our sftp and OpenSSH’s server behind our gateway', () => {
  reachesOpenSsh((scope, ends) => ourGateway(scope, ends, { behind: { lan: { networks: '10.2.0.0/24' } } }));
});

describeWith(STRONGSWAN_AND_OPENSSH, 'our sftp and OpenSSH’s server behind strongSwan', () => {
  reachesOpenSsh(strongswanGateway);
});
