import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addInside, createNetwork, type Host, type Network } from '../support/network.ts';
import { Daemon, eventually, PATIENCE, run } from '../support/process.ts';
import { createIdentities, type Identity } from '../support/profile.ts';
import { NATIVE_CALLS } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { describeForUser, User } from './user.ts';

const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';

describeForUser(NATIVE_CALLS, 'plane: auto between two sites', () => {
  const scope = new Scope();
  let folder: string;
  let network: Network;
  let gateway: Daemon;
  let identities: { readonly left: Identity; readonly right: Identity };
  const settings = (host: Host, peer: Host, identity: Identity): object => ({
    ...configuration({ host, peer, identity, ike: IKE, esp: ESP }),
    addresses: [],
    plane: 'auto',
  });

  async function asRoot(host: Host, words: readonly string[], configured: object, ready: string): Promise<Daemon> {
    const file = join(folder, `${words[0]}.yaml`);
    await writeFile(file, JSON.stringify({ ...configured, control: { socket: join(folder, `${words[0]}.sock`) } }), { mode: 0o600 });
    const command = ['netns', 'exec', host.namespace, process.execPath, join('dist', 'cli', 'main.js'), ...words, '--config', file];
    const daemon = new Daemon(scope, words[0]!, 'ip', command, { env: { HOME: folder, NO_COLOR: '1' } });
    await eventually(
      ready,
      () => daemon.output.includes(ready),
      PATIENCE,
      () => daemon.output,
    );
    return daemon;
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-auto-'));
    scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    network = await createNetwork(scope);
    for (const host of [network.left, network.right]) await addInside(host);
    identities = await createIdentities(folder, 'psk');
    const { left, right } = network;
    gateway = await asRoot(right, ['serve'], settings(right, left, identities.right), 'Ctrl-C to stop');
  });
  afterAll(() => scope.close());

  test('root gets an interface, and is told', async () => {
    expect(gateway.output).toMatch(/data plane: tun, in user space behind a network interface/);
    const { left, right } = network;
    const up = await asRoot(left, ['up', 'net'], settings(left, right, identities.left), 'Ctrl-C to disconnect');
    expect(up.output).toMatch(/data plane: tun,/);
    const ping = ['netns', 'exec', left.namespace, 'ping', '-q', '-c', '1', '-W', '2', '-I', left.inside, right.inside];
    await eventually(
      'the machine reaches the other site',
      async () => (await run('ip', ping)).status === 0,
      PATIENCE,
      () => up.output,
    );
    await up.stop();
  });

  test('an ordinary user gets TCP/IP in the process, and is told what is missing for an interface', async () => {
    const { left, right } = network;
    const user = new User(left, join(folder, 'user'));
    await user.up(scope, settings(left, right, identities.left), 'auto');
    expect(user.log().replaceAll(/\s+/g, ' ')).toContain(
      'data plane: netstack, in this process (no root needed); tun would serve better: it needs root, or CAP_NET_ADMIN (tunnelwright doctor)',
    );
    expect(await user.status()).toMatchObject({
      plane: 'netstack',
      planeChoice: { automatic: true, better: [{ name: 'tun', why: 'it needs root, or CAP_NET_ADMIN' }] },
      peers: [expect.objectContaining({ connection: 'net', plane: 'netstack' })],
      enter: null,
    });
    await user.end('SIGINT');
  });
});
