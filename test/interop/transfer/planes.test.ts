import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { describeForUser, User } from '../netns/user.ts';
import { createNetwork, type Network } from '../support/network.ts';
import { eventually, type Finished, must, PATIENCE } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NATIVE_CALLS } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { End } from '../tun/end.ts';
import { TUNNELWRIGHT } from './ends.ts';

const SUITES = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16-x25519' };
const POOL = '10.66.0.0/24';
const LARGE = 6 * 2 ** 20;
const NOBODY = 65_534;

describeWith(NATIVE_CALLS, 'files on the plane tun, by sockets of the machine', () => {
  test(
    'sent while the child is rekeyed, got, listed, and received',
    inScene(async ({ scope, folder, network, gateway, settings }) => {
      const client = new End(network.left, join(folder, 'client'));
      await client.start(scope, ['up', 'net'], settings);
      await expectFiles({ folder, gateway, client, told: (...words) => asked(client, ...words) });
    }),
  );

  test(
    'nothing is dialled past the tunnel',
    inScene(async ({ scope, folder, network, settings }) => {
      const client = new End(network.left, join(folder, 'client'));
      await client.start(scope, ['up', 'net'], settings);
      // its neighbour outside, which is reached without the tunnel
      const refused = await command(client, 'ls', `${network.right.address}:`);
      expect(refused.status).not.toBe(0);
      expect(refused.stderr + refused.stdout).toContain('OUTSIDE_TUNNEL');
    }),
  );
});

describeForUser(NATIVE_CALLS, 'files on the plane netns, by sockets inside the namespace', () => {
  test(
    'sent while the child is rekeyed, got, listed, and received',
    inScene(async ({ scope, folder, network, gateway, settings }) => {
      const client = new User(network.left, join(folder, 'client'));
      await client.up(scope, settings);
      await expectFiles({ folder, gateway, client, told: (...words) => client.tell(...words) });
    }),
  );
});

interface Scene {
  readonly scope: Scope;
  readonly folder: string;
  readonly network: Network;
  /** Serves files on the plane tun. */
  readonly gateway: End;
  /** Of its client. */
  readonly settings: object;
}

function inScene(act: (scene: Scene) => Promise<void>): () => Promise<void> {
  return async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-planes-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      await chmod(folder, 0o755);
      const network = await createNetwork(scope);
      const identities = await createIdentities(folder, 'psk');
      const { left, right } = network;
      for (const name of ['inbox', 'share']) await mkdir(join(folder, name));
      await writeFile(join(folder, 'share', 'shared.bin'), new SeededRandom('shared').bytes(100_000));
      const gateway = new End(right, join(folder, 'gateway'));
      await gateway.start(
        scope,
        ['serve'],
        configuration({
          ...SUITES,
          host: right,
          peer: left,
          identity: identities.right,
          connection: { remote_addrs: '%any', pools: ['clients'] },
          child: { local_ts: POOL, remote_ts: 'dynamic' },
          sections: {
            addresses: undefined,
            pools: { clients: { addrs: POOL } },
            transfer: { inbox: join(folder, 'inbox'), share: join(folder, 'share') },
          },
        }),
      );
      const settings = configuration({
        ...SUITES,
        host: left,
        peer: right,
        identity: identities.left,
        connection: { remote_addrs: left.peerAddress, vips: '0.0.0.0' },
        child: { local_ts: 'dynamic', remote_ts: POOL },
        sections: { addresses: [] },
      });
      await act({ scope, folder, network, gateway, settings });
    } finally {
      await scope.close();
    }
  };
}

/** What the command line says to an instance in JSON. */
const command = (end: End, ...words: readonly string[]): Promise<Finished> =>
  end.inside(...TUNNELWRIGHT, ...words, '--control', join(end.folder, 'control.sock'), '--json');

async function asked(end: End, ...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await command(end, ...words);
  expect(status, `${stdout}${stderr}${end.log()}`).toBe(0);
  return stdout;
}

interface Moving {
  readonly folder: string;
  readonly gateway: End;
  readonly client: Pick<End, 'control' | 'log'>;
  /** What a command at the client writes. */
  readonly told: (...words: readonly string[]) => Promise<string>;
}

async function expectFiles({ folder, gateway, client, told }: Moving): Promise<void> {
  const [here, inbox, received] = ['here', 'inbox', 'received'].map((name) => join(folder, name)) as [string, string, string];
  const shared = join(folder, 'share', 'shared.bin');
  const data = new SeededRandom('large').bytes(LARGE);
  await mkdir(join(here, 'many'), { recursive: true });
  await mkdir(received);
  await writeFile(join(here, 'large.bin'), data);
  for (let i = 0; i < 100; i++) await writeFile(join(here, 'many', `${i}`), `${i}`);
  await must('chown', ['-R', `${NOBODY}:${NOBODY}`, here, received]);

  const moved = JSON.parse(await rekeyedWhile(client, told('send', join(here, 'large.bin'), 'net:', '--limit', '2M'))) as Moved;
  expect(moved.spis.length, 'it was sent by one SPI after the other').toBeGreaterThan(2);
  expect(moved.outside).toBe(0);
  expect(Buffer.compare(await readFile(join(inbox, 'large.bin')), data)).toBe(0);

  expect(JSON.parse(await told('ls', 'net:'))).toMatchObject({ entries: [{ name: 'shared.bin', size: 100_000 }] });
  await told('get', 'net:shared.bin', join(here, 'got.bin'));
  await must('cmp', [join(here, 'got.bin'), shared]);
  await told('send', join(here, 'many'), 'net:');
  await must('diff', ['-r', join(here, 'many'), join(inbox, 'many')]);

  const receiving = told('receive', received, '--count', '1');
  const [assigned] = (await client.control.sas()).ikeSas.flatMap((sa) => sa.assigned);
  let last: Finished | undefined;
  await eventually(
    'the client takes a file',
    async () => {
      // nobody may listen there yet
      last = await command(gateway, 'send', shared, `${assigned}:`);
      return last.status === 0;
    },
    PATIENCE,
    () => `${last?.stdout}${last?.stderr}\n${client.log()}\n${gateway.log()}`,
  );
  await receiving;
  await must('cmp', [join(received, 'shared.bin'), shared]);
}

interface Moved {
  readonly spis: readonly unknown[];
  readonly outside: number;
}

/** Rekeys the child again and again until the work is done. */
async function rekeyedWhile<T>(client: Pick<End, 'control'>, work: Promise<T>): Promise<T> {
  let over = false;
  const done = work.finally(() => {
    over = true;
  });
  // awaited below
  done.catch(() => undefined);
  while (!over) {
    await client.control.rekey({ connection: 'net', children: true });
    await sleep(200);
  }
  return done;
}
