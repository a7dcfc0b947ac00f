import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addInside, addNamespace, createNetwork, type Host, networkName } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities, LEFT_ID } from '../support/profile.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';

describeWith(NAMESPACES, 'the tun plane between others', () => {
  test('two clients reach each other through the gateway, and each still reaches its own network beside a tunnel that takes everything', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-hairpin-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      const { left, right } = await createNetwork(scope);
      const third = await addThird(scope, right);
      for (const host of [left, right, third]) await addInside(host);
      const identities = await createIdentities(folder, 'psk');
      const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };
      const towards = (peer: Host, peerId: string): { connections: Record<string, object> } =>
        configuration({
          ...{ host: right, peer, identity: { ...identities.right, peerId }, ...suites },
          child: { local_ts: '0.0.0.0/0', remote_ts: peer.network },
        }) as { connections: Record<string, object> };
      const gateway = new End(right, join(folder, 'gateway'));
      const second = { ...towards(third, THIRD_ID).connections.net, local_addrs: third.peerAddress };
      await gateway.start(scope, ['serve'], {
        ...towards(left, LEFT_ID),
        connections: { net: towards(left, LEFT_ID).connections.net, other: second },
      });
      const clients = await Promise.all(
        [left, third].map(async (host, i) => {
          const client = new End(host, join(folder, `client-${i}`));
          const peer = { ...right, address: host.peerAddress };
          const child = { local_ts: host.network, remote_ts: '0.0.0.0/0' };
          await client.start(
            scope,
            ['up', 'net'],
            configuration({ host, peer, identity: { ...identities.left, id: i === 0 ? LEFT_ID : THIRD_ID }, ...suites, child }),
          );
          await client.pings(right.inside);
          return client;
        }),
      );
      const [first, last] = clients as [End, End];
      await first.pings(third.inside);
      await last.pings(left.inside);
      for (const client of [first, last]) {
        const { peerAddress, device } = client.host;
        expect((await client.inside('ip', 'route', 'get', '192.0.2.1')).stdout).toMatch(/ dev tw\d/);
        expect((await client.inside('ip', 'route', 'get', peerAddress)).stdout).toContain(` dev ${device} `);
      }
      // what goes from the one to the other comes in by its tunnel and leaves by the other's
      for (let i = 0; i < 20; i++) await first.pings(third.inside);
      await eventually(
        'both tunnels count them',
        async () => {
          const { ikeSas } = await gateway.control.sas();
          const counted = ikeSas.flatMap(({ children }) => children).map((child) => [child.in.packets, child.out.packets]);
          return counted.length === 2 && counted.flat().every((packets) => packets >= 20);
        },
        PATIENCE,
        () => gateway.log(),
      );
    } finally {
      await scope.close();
    }
  });
});

/** One more host, on a link of its own to the gateway. */
async function addThird(scope: Scope, gateway: Host): Promise<Host> {
  const namespace = `${networkName()}-t`;
  await addNamespace(scope, namespace);
  const ip = (...words: string[]): Promise<string> => must('ip', words);
  await ip('link', 'add', 'outside', 'netns', namespace, 'type', 'veth', 'peer', 'name', 'outside-2', 'netns', gateway.namespace);
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  for (const [place, device, address] of [
    [namespace, 'outside', '10.8.0.1'],
    [gateway.namespace, 'outside-2', '10.8.0.2'],
  ] as const) {
    await ip('-n', place, 'addr', 'add', `${address}/24`, 'dev', device);
    await ip('-n', place, 'link', 'set', device, 'up');
  }
  return { namespace, device: 'outside', address: '10.8.0.1', peerAddress: '10.8.0.2', network: '10.3.0.0/24', inside: '10.3.0.1' };
}

const THIRD_ID = 'third.example';
