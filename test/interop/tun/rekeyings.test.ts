import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addInside, createNetwork } from '../support/network.ts';
import { compiled, Daemon } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';
import { REKEYINGS, rekeyedUnder } from './rekeyed-under.ts';

describeWith(NAMESPACES, 'no packet is lost, repeated or late while the child is rekeyed again and again', () => {
  test.each(['tun', 'netstack'])(
    `${REKEYINGS} rekeyings from either end under packets that never cease, tun at one end and %s at the other`,
    async (plane) => {
      const scope = new Scope();
      try {
        const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-rekeyings-'));
        scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
        const network = await createNetwork(scope);
        await addInside(network.left);
        if (plane === 'tun') await addInside(network.right);
        const identities = await createIdentities(folder, 'psk');
        const [left, right] = [new End(network.left, join(folder, 'left')), new End(network.right, join(folder, 'right'), plane)];
        const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16-x25519' };
        await right.start(
          scope,
          ['serve'],
          configuration({ host: network.right, peer: network.left, identity: identities.right, ...suites }),
        );
        await left.start(
          scope,
          ['up', 'net'],
          configuration({ host: network.left, peer: network.right, identity: identities.left, ...suites }),
        );
        await left.pings(network.right.inside);
        const command = [
          'netns',
          'exec',
          network.left.namespace,
          process.execPath,
          compiled('echoes'),
          network.left.inside,
          network.right.inside,
        ];
        const load = new Daemon(scope, 'echoes', 'ip', command, { stdin: true });
        const { spis, sent, ...counts } = await rekeyedUnder(load, [left, right], REKEYINGS);
        expect(counts).toEqual({ received: sent, repeated: 0, lost: 0 });
        expect([spis, sent > 10 * REKEYINGS]).toEqual([REKEYINGS, true]);
      } finally {
        await scope.close();
      }
    },
  );
});
