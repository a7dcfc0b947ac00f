import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, test } from 'vitest';
import type { End } from '../support/end.ts';
import { addInside, createNetwork, type Network } from '../support/network.ts';
import { createIdentities, type Identity, PROPOSALS, type Profile, swanctlConf, swanctlFiles } from '../support/profile.ts';
import { describeWith, EVERYTHING, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, bothClean, expectAlive, expectChildRekey, expectIkeRekey, expectPing, expectTransfer } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

/** Everything that two ends of a tunnel do with one another, with strongSwan, by role, authentication and proposal. */
interface Combination extends Profile {
  readonly role: 'initiator' | 'responder';
}

const ROLES = ['initiator', 'responder'] as const;
const AUTHS = ['psk', 'ecdsa', 'rsa'] as const;
const AUTH_NAMES = { psk: 'PSK', ecdsa: 'ECDSA', rsa: 'RSA-4096' };

for (const combination of EVERYTHING ? every() : few()) {
  const { role, auth, ike } = combination;
  describeWith(STRONGSWAN, `strongSwan: we are ${role}, ${AUTH_NAMES[auth]}, ${ike}`, () => scenario(combination));
}

function scenario(combination: Combination): void {
  const scope = new Scope();
  let network: Network;
  let we: Tunnelwright;
  let peer: Strongswan;
  let initiator: End;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    network = await createNetwork(scope);
    const identities = await createIdentities(folder, combination.auth);
    peer = await startPeer(scope, network, folder, combination, identities.right);
    we = await Tunnelwright.start(scope, {
      folder: join(folder, 'we'),
      host: network.left,
      role: combination.role === 'initiator' ? 'client' : 'gateway',
      configuration: configuration({
        host: network.left,
        peer: network.right,
        identity: identities.left,
        ...combination,
        connection: { dpd_delay: '1s' },
      }),
    });
    initiator = combination.role === 'initiator' ? we : peer;
  });
  afterAll(() => scope.close());

  test('comes up, and both ends see the same SPIs', async () => {
    await initiator.initiate();
    await agreedSa(we, peer);
  });

  test('ping both ways', async () => {
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test('20 MB of TCP both ways, from either side', async () => {
    await expectTransfer(peer, we, network.right.inside, 4001);
    await expectTransfer(we, peer, network.left.inside, 4002);
  });

  test('we rekey the child', async () => {
    await expectChildRekey(we, peer);
    await expectPing(we, network.right.inside);
  });

  test('strongSwan rekeys the child', async () => {
    await expectChildRekey(peer, we);
    await expectPing(we, network.right.inside);
  });

  test('we rekey the IKE SA', async () => {
    await expectIkeRekey(we, peer);
    await expectPing(we, network.right.inside);
  });

  test('strongSwan rekeys the IKE SA', async () => {
    await expectIkeRekey(peer, we);
    await expectPing(peer, network.left.inside);
  });

  test('lives on while both ask whether the other does', () => expectAlive(we, peer, 3000));

  test('we delete it: both ends are clean', async () => {
    await we.deleteIke();
    await bothClean(we, peer);
  });

  test('strongSwan deletes it: both ends are clean', async () => {
    await initiator.initiate();
    await agreedSa(we, peer);
    await peer.deleteIke();
    await bothClean(we, peer);
  });

  test('a cut path is noticed by both ends', async () => {
    await initiator.initiate();
    await agreedSa(we, peer);
    await network.cut();
    await bothClean(we, peer);
    await network.mend();
  });
}

async function startPeer(scope: Scope, network: Network, folder: string, profile: Profile, identity: Identity): Promise<Strongswan> {
  await addInside(network.right);
  const connection = { dpd_delay: '1s' };
  return Strongswan.start(scope, {
    folder: join(folder, 'peer'),
    host: network.right,
    swanctl: swanctlConf({ host: network.right, peer: network.left, identity, ...profile, connection }),
    files: swanctlFiles(identity),
  });
}

function every(): Combination[] {
  return ROLES.flatMap((role) => AUTHS.flatMap((auth) => PROPOSALS.map((proposal) => ({ role, auth, ...proposal }))));
}

/** Both roles with each authentication, and each proposal in both roles or nearly so: six of the twenty-four. */
function few(): Combination[] {
  return ROLES.flatMap((role, r) => AUTHS.map((auth, a) => ({ role, auth, ...PROPOSALS[(a + 3 * r) % PROPOSALS.length]! })));
}
