import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../../interop/support/network.ts';
import { Daemon, eventually, must } from '../../../interop/support/process.ts';
import { NAMESPACES, STRONGSWAN_6_ROOT } from '../../../interop/support/requirements.ts';
import type { Scope } from '../../../interop/support/scope.ts';
import type { Contestant } from '../contestant.ts';

/** Of Debian's next release, since it cuts and joins packets as ours does; an older one in the machine's own path does not count. */
export const wireguardGo: Contestant = {
  name: 'wireguard-go',
  missing: () => NAMESPACES.missing() ?? missingProgram(),
  start: async (scope, { network: { left, right } }) => {
    const keys = { left: generateKeyPairSync('x25519'), right: generateKeyPairSync('x25519') };
    const ends = [
      await startEnd(scope, left, right, keys.left.privateKey, keys.right.publicKey),
      await startEnd(scope, right, left, keys.right.privateKey, keys.left.publicKey),
    ] as const;
    return { daemons: [ends[0].pid, ends[1].pid], log: () => ends.map(({ output }) => `--- wireguard-go\n${output}`).join('\n') };
  },
};

async function startEnd(scope: Scope, host: Host, peer: Host, own: KeyObject, theirs: KeyObject): Promise<Daemon> {
  // its socket goes below /run, which is private here and the mount goes with the process
  const script = `mount -t tmpfs tmpfs /run && mkdir -p /run/wireguard && exec ${PROGRAM} -f ${DEVICE}`;
  const daemon = new Daemon(scope, 'wireguard-go', 'ip', ['netns', 'exec', host.namespace, 'sh', '-c', script], {
    env: { LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' },
  });
  const socket = `/proc/${daemon.pid}/root/run/wireguard/${DEVICE}.sock`;
  await eventually(
    'wireguard-go opens its control socket',
    () => existsSync(socket) || !daemon.running,
    20_000,
    () => daemon.output,
  );
  if (!daemon.running) throw new Error(`wireguard-go did not start\n${daemon.output}`);
  const settings = {
    private_key: hexOf(own, 'd'),
    listen_port: PORT,
    public_key: hexOf(theirs, 'x'),
    endpoint: `${peer.address}:${PORT}`,
    allowed_ip: peer.network,
  };
  const answer = await ask(
    socket,
    `set=1\n${Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join('')}\n`,
  );
  if (!answer.includes('errno=0')) throw new Error(`wireguard-go refuses its settings: ${answer}\n${daemon.output}`);
  await must('ip', ['-n', host.namespace, 'link', 'set', DEVICE, 'up']);
  await must('ip', ['-n', host.namespace, 'route', 'add', peer.network, 'dev', DEVICE, 'src', host.inside]);
  return daemon;
}

/** One request of its cross-platform interface: lines `key=value`, an empty line at the end. */
function ask(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.write(request));
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer at ${path}`)));
    socket.on('data', (chunk) => {
      answer += chunk.toString();
      if (answer.includes('\n\n')) socket.end();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

function missingProgram(): string | undefined {
  if (!existsSync(PROGRAM)) return `${PROGRAM}; in a tree of Debian's next release: chroot ${ROOT} apt-get install wireguard-go`;
  return spawnSync(PROGRAM, ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : `a C library that suits ${PROGRAM}`;
}

const hexOf = (key: KeyObject, part: 'd' | 'x'): string => Buffer.from(key.export({ format: 'jwk' })[part]!, 'base64url').toString('hex');
const ROOT = STRONGSWAN_6_ROOT ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tunnelwright', 'forky');
const PROGRAM = join(ROOT, 'usr', 'bin', 'wireguard-go');
const DEVICE = 'wg0';
const PORT = 51820;
