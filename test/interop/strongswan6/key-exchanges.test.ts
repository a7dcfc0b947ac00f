import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Pair, startPair } from '../support/pair.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, EVERYTHING, STRONGSWAN_6, STRONGSWAN_6_ROOT } from '../support/requirements.ts';
import { agreedSa, bothClean, expectChildRekey, expectIkeRekey, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

/** Several key exchanges for one SA (RFC 9370), with strongSwan 6. */
const SUITES = [
  { ike: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768', esp: 'aes256gcm16-x25519-ke1_mlkem768', auth: 'psk' },
  { ike: 'aes256-sha384-ecp384-ke1_x25519-ke2_mlkem1024', esp: 'aes128gcm16-ecp256-ke1_mlkem512', auth: 'ecdsa' },
] as const;

for (const [r, role] of (['initiator', 'responder'] as const).entries()) {
  for (const [s, { ike, esp, auth }] of SUITES.entries()) {
    if (EVERYTHING || r === s)
      describeWith(STRONGSWAN_6, `strongSwan 6: we are ${role}, ${auth}, ${ike}`, () => scenario(role, ike, esp, auth));
  }
  describeWith(STRONGSWAN_6, `strongSwan 6: we are ${role}, optional key exchanges`, () => optional(role));
}

function scenario(role: 'initiator' | 'responder', ike: string, esp: string, auth: 'psk' | 'ecdsa'): void {
  const scope = new Scope();
  let pair: Pair;

  beforeAll(async () => {
    pair = await startPair(scope, { role, ike, esp, root: STRONGSWAN_6_ROOT, identities: (folder) => createIdentities(folder, auth) });
  });
  afterAll(() => scope.close());

  test('comes up through IKE_INTERMEDIATE, and packets pass both ways', async () => {
    const { we, peer, network, initiator } = pair;
    await initiator.initiate();
    await agreedSa(we, peer);
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test.each(['we', 'peer'] as const)('the child is rekeyed with follow-ups, by %s', async (by) => {
    const { we, peer, network } = pair;
    await expectChildRekey(pair[by], by === 'we' ? peer : we);
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test.each(['we', 'peer'] as const)('the IKE SA is rekeyed with follow-ups, by %s; a child rekeying behind it', async (by) => {
    const { we, peer, network } = pair;
    await expectIkeRekey(pair[by], by === 'we' ? peer : we);
    await expectChildRekey(pair[by], by === 'we' ? peer : we);
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test('both ends rekey at once: the child, then the IKE SA', async () => {
    const { we, peer, network } = pair;
    await Promise.all([we.rekeyChild(), peer.rekeyChild()]);
    await agreedSa(we, peer);
    await Promise.all([we.rekeyIke(), peer.rekeyIke()]);
    await agreedSa(we, peer);
    await expectPing(we, network.right.inside);
    await expectPing(peer, network.left.inside);
  });

  test('either side deletes the IKE SA', async () => {
    const { we, peer, initiator } = pair;
    await we.deleteIke();
    await bothClean(we, peer);
    await initiator.initiate();
    await agreedSa(we, peer);
    await peer.deleteIke();
    await bothClean(we, peer);
  });
}

function optional(role: 'initiator' | 'responder'): void {
  const plain = { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' };
  const wish = { ike: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_none', esp: 'aes256gcm16-x25519-ke1_mlkem768-ke1_none' };

  const all = [
    ['here alone', wish, plain],
    ['there alone', plain, wish],
    ['at both ends', wish, wish],
  ] as const;

  test.each(EVERYTHING ? all : [all[role === 'initiator' ? 0 : 1]])('%s', async (_where, ours, theirs) => {
    const scope = new Scope();
    try {
      const pair = await startPair(scope, {
        role,
        ...ours,
        root: STRONGSWAN_6_ROOT,
        identities: (folder) => createIdentities(folder, 'psk'),
        theirs,
      });
      const { we, peer, network, initiator } = pair;
      await initiator.initiate();
      await agreedSa(we, peer);
      await expectChildRekey(we, peer);
      await expectIkeRekey(peer, we);
      await expectPing(we, network.right.inside);
      expect(await we.failures()).toEqual([]);
    } finally {
      await scope.close();
    }
  });
}
