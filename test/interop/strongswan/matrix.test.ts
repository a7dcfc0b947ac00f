import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Pair, startPair } from '../support/pair.ts';
import { createIdentities, PROPOSALS, type Profile } from '../support/profile.ts';
import { describeWith, EVERYTHING, STRONGSWAN } from '../support/requirements.ts';
import {
  agreedSa,
  bothClean,
  childless,
  expectAlive,
  expectChildRekey,
  expectIkeRekey,
  expectPing,
  expectTransfer,
} from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

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

function scenario({ role, auth, ike, esp }: Combination): void {
  const scope = new Scope();
  let pair: Pair;

  beforeAll(async () => {
    const liveness = { connection: { dpd_delay: '1s' } };
    pair = await startPair(scope, {
      role,
      ike,
      esp,
      identities: (folder) => createIdentities(folder, auth),
      ours: liveness,
      theirs: liveness,
    });
  });
  afterAll(() => scope.close());

  test('comes up, and both ends see the same SPIs', async () => {
    await pair.initiator.initiate();
    await agreedSa(pair.we, pair.peer);
  });

  test('ping both ways', async () => {
    const { we, peer, network } = pair;
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test('20 MB of TCP both ways, from either side', async () => {
    const { we, peer, network } = pair;
    await expectTransfer(peer, we, network.right.inside, 4001);
    await expectTransfer(we, peer, network.left.inside, 4002);
  });

  test('we rekey the child', async () => {
    const { we, peer, network } = pair;
    await expectChildRekey(we, peer);
    await expectPing(we, network.right.inside);
  });

  test('strongSwan rekeys the child', async () => {
    const { we, peer, network } = pair;
    await expectChildRekey(peer, we);
    await expectPing(we, network.right.inside);
  });

  test('we rekey the IKE SA', async () => {
    const { we, peer, network } = pair;
    await expectIkeRekey(we, peer);
    await expectPing(we, network.right.inside);
  });

  test('strongSwan rekeys the IKE SA', async () => {
    const { we, peer, network } = pair;
    await expectIkeRekey(peer, we);
    await expectPing(peer, network.left.inside);
  });

  test('a transfer does not notice four rekeys', async () => {
    const { we, peer, network } = pair;
    const transfer = expectTransfer(peer, we, network.right.inside, 4003);
    transfer.catch(() => undefined);
    await we.rekeyChild();
    await we.rekeyIke();
    await expectChildRekey(peer, we);
    await expectIkeRekey(peer, we);
    await transfer;
  });

  test('lives on while both ask whether the other does', () => expectAlive(pair.we, pair.peer, 3000));

  test('either side deletes the child alone, and it comes back', async () => {
    const { we, peer, initiator } = pair;
    for (const by of [we, peer]) {
      const { spiI } = await agreedSa(we, peer);
      await by.deleteChild();
      await childless(we, peer);
      await initiator.initiate();
      expect((await agreedSa(we, peer)).spiI).toBe(spiI);
    }
  });

  test('either side deletes the IKE SA: both ends are clean', async () => {
    const { we, peer, initiator } = pair;
    await we.deleteIke();
    await bothClean(we, peer);
    await initiator.initiate();
    await agreedSa(we, peer);
    await peer.deleteIke();
    await bothClean(we, peer);
  });

  test('a cut path is noticed by both ends', async () => {
    const { we, peer, initiator, network } = pair;
    await initiator.initiate();
    await agreedSa(we, peer);
    await network.cut();
    await bothClean(we, peer);
    await network.mend();
  });
}

function every(): Combination[] {
  return ROLES.flatMap((role) => AUTHS.flatMap((auth) => PROPOSALS.map((proposal) => ({ role, auth, ...proposal }))));
}

/** Both roles with each authentication, and each proposal in both roles or nearly so: six of the twenty-four. */
function few(): Combination[] {
  return ROLES.flatMap((role, r) => AUTHS.map((auth, a) => ({ role, auth, ...PROPOSALS[(a + 3 * r) % PROPOSALS.length]! })));
}
