import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addInside, createNetwork } from '../support/network.ts';
import { must } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';

describeWith(NAMESPACES, 'shunts beside a tunnel', () => {
  test('pass goes past it in clear, drop goes nowhere; both outlast a daemon that is killed, and go with one that ends', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-shunts-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      const network = await createNetwork(scope);
      for (const host of [network.left, network.right]) await addInside(host);
      const { left: host, right: peer } = network;
      const rules = async (): Promise<string> => (await left.inside('ip', 'rule', 'list')).stdout;
      await must('ip', ['-n', host.namespace, 'route', 'add', peer.network, 'via', peer.address]);
      const identities = await createIdentities(folder, 'psk');
      const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };
      const [left, right] = [new End(host, join(folder, 'left')), new End(peer, join(folder, 'right'))];
      const before = await rules();
      const children = { lan: { mode: 'pass', remote_ts: PASSING }, no: { mode: 'drop', remote_ts: DROPPED } };
      const settings = configuration({ host, peer, identity: identities.left, ...suites, children });
      await right.start(scope, ['serve'], configuration({ host: peer, peer: host, identity: identities.right, ...suites }));
      await left.start(scope, ['up', 'net'], settings);
      await left.pings(peer.inside);
      const answered = async (to: string): Promise<boolean> =>
        (await left.inside('ping', '-q', '-c', '1', '-W', '5', '-I', host.address, to)).status === 0;
      const holds = async (): Promise<void> => {
        expect((await left.inside('ip', 'route', 'get', PASSING)).stdout).toContain(`dev ${host.device}`);
        expect(await answered(PASSING)).toBe(true);
        expect((await left.inside('ip', 'route', 'get', DROPPED)).stderr).toContain('Permission denied');
        for (const from of [host.address, host.inside])
          expect((await left.inside('ping', '-q', '-c', '1', '-W', '1', '-I', from, DROPPED)).status).not.toBe(0);
      };
      await holds();
      expect((await left.inside('ip', 'route', 'get', peer.inside)).stdout).toContain('dev tw');
      await left.end('SIGKILL');
      await holds();
      await left.start(scope, ['up', 'net'], settings);
      await left.pings(peer.inside);
      await holds();
      await left.end('SIGINT');
      expect(await rules()).toBe(before);
      expect(await answered(DROPPED)).toBe(true);
    } finally {
      await scope.close();
    }
  });
});

/** All of its network is an address of the peer's. */
const [PASSING, DROPPED] = ['10.2.0.9', '10.2.0.8'];
