import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { addInside, createNetwork } from '../support/network.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';
import { movedUnder } from './moved-under.ts';

describeWith(NAMESPACES, 'MOBIKE under packets that never cease', () => {
  test('what is lost over three moves was under way on the path that died, and nothing comes twice', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-moves-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      const network = await createNetwork(scope);
      for (const host of [network.left, network.right]) await addInside(host);
      const identities = await createIdentities(folder, 'psk');
      const [left, right] = [new End(network.left, join(folder, 'left')), new End(network.right, join(folder, 'right'))];
      const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16-x25519' };
      const settings = (host: typeof network.left, peer: typeof network.left, identity: typeof identities.left, connection: object) =>
        configuration({ host, peer, identity, ...suites, connection });
      await right.start(scope, ['serve'], settings(network.right, network.left, identities.right, { remote_addrs: '%any' }));
      await left.start(scope, ['up', 'net'], settings(network.left, network.right, identities.left, { local_addrs: '%any' }));
      await left.pings(network.right.inside);
      const ping = ['ip', 'netns', 'exec', network.left.namespace, 'ping', '-n', '-i', '0.01', '-I', network.left.inside] as const;
      await movedUnder({
        gateway: right,
        host: network.left,
        moves: 3,
        ping: [...ping, network.right.inside],
        log: () => left.log(),
      });
    } finally {
      await scope.close();
    }
  });
});
