import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Echoed } from '../process/echoes.ts';
import { addInside, createNetwork } from '../support/network.ts';
import { compiled, Daemon, eventually, PATIENCE } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, EVERYTHING, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from './end.ts';

/** `TUNNELWRIGHT_FULL=1` makes it a thousand. */
const REKEYINGS = EVERYTHING ? 1000 : 50;

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
        const spis = new Set<string>();
        for (let i = 0; i < REKEYINGS; i++) {
          const before = await spiOf(left);
          expect(before).toBeDefined();
          spis.add(before!);
          await (i % 2 === 0 ? left : right).control.rekey({ connection: 'net', children: true });
          // whoever was asked: both ends must be through with it before the next begins
          for (const end of [left, right]) await settled(end, end === left ? before : undefined);
        }
        load.child.stdin!.end();
        await eventually(
          'all echoes are back',
          () => !load.running,
          2 * PATIENCE,
          () => load.output,
        );
        const { sent, ...counts } = JSON.parse(load.output) as Echoed;
        expect(counts).toEqual({ received: sent, repeated: 0, lost: 0 });
        expect([spis.size, sent > 10 * REKEYINGS]).toEqual([REKEYINGS, true]);
      } finally {
        await scope.close();
      }
    },
  );
});

/** The inbound SPI of the one child that is not about to go. */
async function spiOf(end: End): Promise<string | undefined> {
  const { ikeSas } = await end.control.sas();
  const children = ikeSas.flatMap(({ children }) => children).filter(({ state }) => state === 'installed');
  return children.length === 1 ? children[0]!.spiIn : undefined;
}

/** One child stands, and it is another one. */
async function settled(end: End, before: string | undefined): Promise<void> {
  await eventually(
    'the child is rekeyed',
    async () => {
      const spi = await spiOf(end);
      return spi !== undefined && spi !== before;
    },
    PATIENCE,
    () => end.log(),
  );
}
