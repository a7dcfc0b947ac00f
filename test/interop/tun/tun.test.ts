import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addInside, createNetwork, type Host, type Network } from '../support/network.ts';
import { eventually, PATIENCE } from '../support/process.ts';
import { createIdentities, type Identity, swanctlConf } from '../support/profile.ts';
import { describeWith, NAMESPACES, STRONGSWAN } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';

describeWith(NAMESPACES, 'the tun plane, between two machines that know nothing of it', () => {
  const scope = new Scope();
  let folder: string;
  let network: Network;
  let left: End;
  let right: End;
  let identities: { readonly left: Identity; readonly right: Identity };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tun-'));
    scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
    network = await createNetwork(scope);
    for (const host of [network.left, network.right]) await addInside(host);
    identities = await createIdentities(folder, 'psk');
    left = new End(network.left, join(folder, 'left'));
    right = new End(network.right, join(folder, 'right'));
    const settings = (side: 'left' | 'right'): object => {
      const [host, peer] = side === 'left' ? [network.left, network.right] : [network.right, network.left];
      return configuration({ host, peer, identity: identities[side], ike: IKE, esp: ESP });
    };
    await right.start(scope, ['serve'], settings('right'));
    await left.start(scope, ['up', 'net'], settings('left'));
    await left.pings(network.right.inside);
  });
  afterAll(() => scope.close());

  test('ordinary programs use it: 64 MiB arrive whole over the kernel’s TCP, either way', async () => {
    await expectTransfer(left, right);
    await expectTransfer(right, left);
  });

  test('status says which plane it is and what passed', async () => {
    const status = JSON.stringify(await left.tell('status'));
    expect(status).toContain('"plane":"tun"');
    const [, octets = '0'] = /"bytesOut":(\d+)/.exec(status) ?? [];
    expect(Number(octets)).toBeGreaterThan(2 ** 26);
  });

  test('packets larger than the tunnel come through in pieces, and the sender of one that must not be cut hears of it', async () => {
    const to = network.right.inside;
    expect((await left.inside('ping', '-q', '-c', '2', '-s', '4000', '-I', network.left.inside, to)).status).toBe(0);
    const refused = await left.inside('ping', '-c', '1', '-M', 'do', '-s', '1450', '-I', network.left.inside, to);
    expect(refused.stdout + refused.stderr).toMatch(/[Mm]essage too long|mtu/);
  });

  test('killed, it lets nothing out in clear; the next one sweeps and goes on', async () => {
    await left.end('SIGKILL');
    const before = await left.sent();
    for (const source of [network.left.inside, network.left.address])
      expect((await left.inside('ping', '-q', '-c', '3', '-i', '0.2', '-W', '1', '-I', source, network.right.inside)).status).not.toBe(0);
    expect((await left.inside('ip', 'route', 'get', network.right.inside)).stderr).toMatch(/No route to host/);
    // the neighbour may have been asked after, nothing else
    expect((await left.sent()) - before).toBeLessThan(3);
    const identity = identities.left;
    await left.start(scope, ['up', 'net'], configuration({ host: network.left, peer: network.right, identity, ike: IKE, esp: ESP }));
    await left.pings(network.right.inside);
    expect((await left.devices()).length).toBe(1);
    expect((await left.left()).split('\n').filter((line) => line.startsWith('4500:'))).toHaveLength(1);
  });

  test('ended by Ctrl-C it leaves nothing behind', async () => {
    await left.end('SIGINT');
    expect(await left.devices()).toEqual([]);
    expect(await left.left()).toBe('');
  });
});

describeWith(STRONGSWAN, 'the tun plane and strongSwan’s', () => {
  test('TCP passes whole, either way', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tun-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      const network = await createNetwork(scope);
      for (const host of [network.left, network.right]) await addInside(host);
      const identities = await createIdentities(folder, 'psk');
      const { left: host, right: peer } = network;
      const swanctl = swanctlConf({ host: peer, peer: host, identity: identities.right, ike: IKE, esp: ESP });
      const theirs = await Strongswan.start(scope, { folder: join(folder, 'swan'), host: peer, swanctl });
      const ours = new End(host, join(folder, 'ours'));
      await ours.start(scope, ['up', 'net'], configuration({ host, peer, identity: identities.left, ike: IKE, esp: ESP }));
      await eventually(
        'the tunnel carries',
        async () => (await ours.inside('ping', '-q', '-c', '1', '-W', '1', '-I', host.inside, peer.inside)).status === 0,
        PATIENCE,
        () => `${ours.log()}\n${theirs.log()}`,
      );
      const there = new End(peer, join(folder, 'there'));
      await expectTransfer(ours, there);
      await expectTransfer(there, ours);
    } finally {
      await scope.close();
    }
  });
});

describeWith(NAMESPACES, 'the tun plane without UDP', () => {
  test.each([
    ['ESP', 50, { esp_proposals: ['aes128gcm16-x25519'] }],
    ['AH', 51, { ah_proposals: ['sha256-x25519'] }],
  ] as const)(
    '%s straight on IP: TCP passes whole, nothing goes in UDP, and a rekeying loses nothing',
    async (_name, protocol, proposals) => {
      const scope = new Scope();
      try {
        const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tun-'));
        scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
        const network = await createNetwork(scope);
        for (const host of [network.left, network.right]) await addInside(host);
        const identities = await createIdentities(folder, 'psk');
        const settings = (host: Host, peer: Host, identity: Identity): object => {
          const text = JSON.stringify({ ...configuration({ host, peer, identity, ike: IKE, esp: ESP }), bare_esp: true });
          return JSON.parse(text, (key, value: unknown) => {
            if (key !== 'children') return value;
            const { net } = value as { net: Record<string, unknown> };
            const { esp_proposals: _, ...others } = net;
            return { net: { ...others, ...proposals } };
          }) as object;
        };
        const [left, right] = [new End(network.left, join(folder, 'left')), new End(network.right, join(folder, 'right'))];
        await right.start(scope, ['serve'], settings(network.right, network.left, identities.right));
        await left.start(scope, ['up', 'net'], settings(network.left, network.right, identities.left));
        await left.pings(network.right.inside);
        await expectTransfer(left, right, 8);
        const pinging = left.inside('ping', '-q', '-i', '0.01', '-c', '300', '-W', '2', '-I', network.left.inside, network.right.inside);
        await left.tell('rekey', 'net', '--children');
        expect((await pinging).stdout).toContain('300 received');
        const status = JSON.stringify(await left.tell('sas'));
        expect(status).toContain(`"protocol":"${protocol === 50 ? 'ESP' : 'AH'}"`);
        const raw = await left.inside('cat', '/proc/net/raw');
        // number of the protocol, in hex where ports are elsewhere
        expect(raw.stdout).toMatch(new RegExp(`:00${protocol.toString(16).toUpperCase()} `));
      } finally {
        await scope.close();
      }
    },
  );
});

/** Octets that follow from nothing but their number, sent by one end and summed up by the other. */
async function expectTransfer(from: End, to: End, mebibytes = 64): Promise<void> {
  const receiving = to.inside(process.execPath, '-e', RECEIVE, to.host.inside);
  const sending = await from.inside(process.execPath, '-e', SEND, from.host.inside, to.host.inside, String(mebibytes));
  expect(sending.stderr).toBe('');
  expect((await receiving).stdout).toBe(sending.stdout);
}

const RECEIVE = `
const hash = require('node:crypto').createHash('sha256');
require('node:net').createServer((socket) => {
  socket.on('data', (data) => hash.update(data)).on('end', () => { process.stdout.write(hash.digest('hex')); process.exit(); });
}).listen(9000, process.argv[1]);
setTimeout(() => process.exit(1), 60000).unref();`;
const SEND = `
const { createHash, randomBytes } = require('node:crypto');
const hash = createHash('sha256');
const dial = (tries) => {
  const socket = require('node:net').connect({ host: process.argv[2], port: 9000, localAddress: process.argv[1] });
  socket.on('error', (error) => (tries > 0 ? setTimeout(() => dial(tries - 1), 100) : (process.stderr.write(error.message), process.exit(1))));
  socket.on('connect', async () => {
    for (let i = 0; i < Number(process.argv[3]); i++) {
      const block = randomBytes(1 << 20);
      hash.update(block);
      if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve));
    }
    socket.end(() => process.stdout.write(hash.digest('hex')));
  });
};
dial(50);`;
const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
