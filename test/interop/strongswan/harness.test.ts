import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addInside, createNetwork, type Network } from '../support/network.ts';
import { createIdentities, PROPOSALS, swanctlConf, swanctlFiles } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, bothClean, expectAlive, expectChildRekey, expectIkeRekey, expectPing, expectTransfer } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';

/** Two strongSwans through the harness: what fails here is the machine or the harness, never ours. */
describeWith(STRONGSWAN, 'strongSwan with strongSwan', () => {
  const scope = new Scope();
  let network: Network;
  let left: Strongswan;
  let right: Strongswan;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    network = await createNetwork(scope);
    const identities = await createIdentities(folder, 'ecdsa');
    const start = async (side: 'left' | 'right', other: 'left' | 'right'): Promise<Strongswan> => {
      const [host, peer, identity] = [network[side], network[other], identities[side]];
      await addInside(host);
      return Strongswan.start(scope, {
        folder: join(folder, side),
        host,
        swanctl: swanctlConf({ host, peer, identity, ...PROPOSALS[0]!, connection: { dpd_delay: '1s' } }),
        files: swanctlFiles(identity),
      });
    };
    [left, right] = await Promise.all([start('left', 'right'), start('right', 'left')]);
  });
  afterAll(() => scope.close());

  test('comes up, and both ends see the same SPIs', async () => {
    await left.initiate();
    expect(await agreedSa(left, right)).toMatchObject({ established: true, remoteId: 'right.example' });
  });

  test('ping', async () => {
    await expectPing(left, network.right.inside);
    await expectPing(right, network.left.inside);
  });

  test('20 MB of TCP both ways', () => expectTransfer(right, left, network.right.inside, 4001));
  test('child rekey by either side', async () => {
    await expectChildRekey(left, right);
    await expectChildRekey(right, left);
    await expectPing(left, network.right.inside);
  });

  test('IKE rekey by either side', async () => {
    await expectIkeRekey(left, right);
    await expectIkeRekey(right, left);
    await expectPing(left, network.right.inside);
  });

  test('lives on while only liveness checks pass', () => expectAlive(left, right, 2500));

  test('delete by either side', async () => {
    await left.deleteIke();
    await bothClean(left, right);
    await left.initiate();
    await agreedSa(left, right);
    await right.deleteIke();
    await bothClean(left, right);
  });

  test('one is told to forget: it does not wait, and the other hears of it', async () => {
    await left.initiate();
    await agreedSa(left, right);
    await left.forget();
    expect(await left.ikeSas()).toEqual([]);
    await bothClean(left, right);
    await left.forget();
  });

  test('a cut path is noticed by both', async () => {
    await left.initiate();
    await agreedSa(left, right);
    await network.cut();
    await bothClean(left, right);
    await network.mend();
  });
});
