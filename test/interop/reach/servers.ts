import { readdirSync } from 'node:fs';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addNamespace, type Host, networkName } from '../support/network.ts';
import { commandExists, Daemon, eventually, must, PATIENCE, run } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** A machine behind the gateway, in a namespace of its own, with the servers that people have. */
export interface Servers {
  readonly namespace: string;
  readonly address: string;
  /** What they serve; `data.bin` is in it, and a repository `project.git`. */
  readonly folder: string;
  /** The key that sshd lets in. */
  readonly sshKey: string;
}

const ADDRESS = '10.2.0.5';
const GATEWAY = '10.2.0.254';
const POSTGRES = '/usr/lib/postgresql';
export const NOBODY = 65_534;

/** What is missing for SFTP alone. */
export const sshMissing = (): string | undefined =>
  Object.entries({ '/usr/sbin/sshd': 'openssh-server', sftp: 'openssh-client', scp: 'openssh-client' })
    .filter(([command]) => !commandExists(command))
    .map(([command, name]) => `${command} (package ${name})`)[0];

/** What is missing for them, if anything is. */
export function serversMissing(): string | undefined {
  const packages = {
    '/usr/sbin/sshd': 'openssh-server',
    rsync: 'rsync',
    '/usr/sbin/nginx': 'nginx-light',
    '/usr/sbin/smbd': 'samba',
    smbclient: 'smbclient',
    curl: 'curl',
    git: 'git',
    psql: 'postgresql-client',
    iperf3: 'iperf3',
  };
  for (const [command, name] of Object.entries(packages)) if (!commandExists(command)) return `${command} (package ${name})`;
  if (postgresFolder() === undefined) return 'postgres (package postgresql)';
  return undefined;
}

export async function startServers(scope: Scope, gateway: Host, folder: string): Promise<Servers> {
  const { namespace, within } = await startMachine(scope, gateway, folder);
  await makeRepository(folder);
  const [sshd, sshKey] = await startSshd(folder, within);
  const nginx = await startNginx(folder, within);
  const smbd = await startSmbd(folder, within);
  const postgres = await startPostgres(folder, within);
  const iperf = within('iperf3', 'iperf3', '--server', '--bind', ADDRESS);
  await listening(namespace, [
    [postgres, 5432],
    [iperf, 5201],
    [sshd, 22],
    [nginx, 80],
    [smbd, 445],
  ]);
  return { namespace, address: ADDRESS, folder: join(folder, 'data'), sshKey };
}

/** The same machine with OpenSSH's server alone. */
export async function startSshServer(scope: Scope, gateway: Host, folder: string): Promise<Servers> {
  const { namespace, within } = await startMachine(scope, gateway, folder);
  const [sshd, sshKey] = await startSshd(folder, within);
  await listening(namespace, [[sshd, 22]]);
  return { namespace, address: ADDRESS, folder: join(folder, 'data'), sshKey };
}

async function startMachine(scope: Scope, gateway: Host, folder: string): Promise<{ readonly namespace: string; readonly within: Within }> {
  const namespace = `${networkName()}-s`;
  await addNamespace(scope, namespace);
  const ip = (...args: string[]): Promise<string> => must('ip', args);
  await ip('link', 'add', 'lan', 'netns', gateway.namespace, 'type', 'veth', 'peer', 'name', 'lan', 'netns', namespace);
  await ip('-n', gateway.namespace, 'addr', 'add', `${GATEWAY}/24`, 'dev', 'lan');
  await ip('-n', namespace, 'addr', 'add', `${ADDRESS}/24`, 'dev', 'lan');
  for (const each of [gateway.namespace, namespace]) for (const device of ['lan', 'lo']) await ip('-n', each, 'link', 'set', device, 'up');

  await mkdir(join(folder, 'data'), { recursive: true });
  await must('dd', ['if=/dev/urandom', `of=${join(folder, 'data', 'data.bin')}`, 'bs=1M', 'count=5', 'status=none']);
  await must('chmod', ['-R', 'a+rX', folder]);
  const within: Within = (name, ...command) =>
    // in a session of their own: smbd ends its whole process group with itself
    new Daemon(scope, name, 'setsid', ['ip', 'netns', 'exec', namespace, ...command], { env: { HOME: folder } });
  return { namespace, within };
}

async function listening(namespace: string, daemons: readonly (readonly [daemon: Daemon, port: number])[]): Promise<void> {
  for (const [daemon, port] of daemons) {
    await eventually(
      `port ${port} is open`,
      async () => (await run('ip', ['netns', 'exec', namespace, 'bash', '-c', `exec 3<>/dev/tcp/${ADDRESS}/${port}`])).status === 0,
      PATIENCE,
      () => daemon.output,
    );
  }
}

type Within = (name: string, ...command: readonly string[]) => Daemon;

async function startSshd(folder: string, within: Within): Promise<readonly [Daemon, string]> {
  await mkdir('/run/sshd', { recursive: true });
  for (const name of ['host', 'user']) await must('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
  const config = join(folder, 'sshd_config');
  await writeFile(
    config,
    `HostKey ${join(folder, 'host')}
AuthorizedKeysFile ${join(folder, 'user.pub')}
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
`,
  );
  return [within('sshd', '/usr/sbin/sshd', '-D', '-e', '-f', config), join(folder, 'user')];
}

async function startNginx(folder: string, within: Within): Promise<Daemon> {
  const config = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${join(folder, name)};`)
    .join(' ');
  await writeFile(
    config,
    `daemon off; user root; pid ${join(folder, 'nginx.pid')}; error_log stderr; worker_processes 1;
events {}
http { access_log off; ${temporary} server { listen ${ADDRESS}:80; root ${join(folder, 'data')}; } }
`,
  );
  return within('nginx', '/usr/sbin/nginx', '-e', 'stderr', '-c', config);
}

async function startSmbd(folder: string, within: Within): Promise<Daemon> {
  const state = join(folder, 'samba');
  await mkdir(state);
  const config = join(folder, 'smb.conf');
  await writeFile(
    config,
    `[global]
workgroup = TEST
security = user
map to guest = Bad User
guest account = nobody
disable netbios = yes
smb ports = 445
interfaces = ${ADDRESS}/24
bind interfaces only = yes
load printers = no
printcap name = /dev/null
${['private dir', 'state directory', 'cache directory', 'lock directory', 'pid directory', 'ncalrpc dir'].map((name) => `${name} = ${state}`).join('\n')}
log file = ${join(state, 'log')}
[data]
path = ${join(folder, 'data')}
guest ok = yes
read only = yes
`,
  );
  return within('smbd', '/usr/sbin/smbd', '--foreground', '--no-process-group', '--configfile', config);
}

/** Where Debian keeps each of its versions. */
function postgresFolder(): string | undefined {
  try {
    const [version] = readdirSync(POSTGRES);
    return version === undefined ? undefined : join(POSTGRES, version, 'bin');
  } catch {
    return undefined;
  }
}

async function startPostgres(folder: string, within: Within): Promise<Daemon> {
  const data = join(folder, 'postgres');
  await mkdir(data);
  await give(data, NOBODY);
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', 'env', '-C', data];
  const program = (name: string): string => join(postgresFolder()!, name);
  await must(asNobody[0]!, [...asNobody.slice(1), program('initdb'), '-D', data, '-A', 'trust', '-U', 'test', '-N']);
  await writeFile(join(data, 'pg_hba.conf'), 'host all test 10.2.0.0/24 trust\nhost all test 10.66.0.0/24 trust\n');
  return within(
    'postgres',
    ...asNobody,
    program('postgres'),
    '-D',
    data,
    '-h',
    ADDRESS,
    '-c',
    'unix_socket_directories=',
    '-c',
    'fsync=off',
  );
}

async function makeRepository(folder: string): Promise<void> {
  const work = join(folder, 'work');
  const git = (...args: readonly string[]): Promise<string> =>
    must('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', '-C', work, ...args], { env: { HOME: folder } });
  await mkdir(work);
  await git('init', '-q');
  for (let i = 0; i < 20; i++) await writeFile(join(work, `file-${i}`), `line ${i}\n`.repeat(2000));
  await git('add', '.');
  await git('commit', '-q', '-m', 'first');
  await must('git', ['clone', '-q', '--bare', work, join(folder, 'data', 'project.git')], { env: { HOME: folder } });
}

/** What belongs to whom the ordinary user is. */
export async function give(path: string, user: number): Promise<void> {
  await chown(path, user, user);
  await chmod(path, 0o700);
}
