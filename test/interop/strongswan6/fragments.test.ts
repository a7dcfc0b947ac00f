import { afterAll, beforeAll, expect, test } from 'vitest';
import { fragmentsOf } from '../support/fragments.ts';
import { type Pair, startPair } from '../support/pair.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, STRONGSWAN_6, STRONGSWAN_6_ROOT } from '../support/requirements.ts';
import { agreedSa, expectChildRekey, expectIkeRekey, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

/** Three key exchanges, the largest key of 1568 octets, in datagrams of 600 octets (RFC 7383, RFC 9242, RFC 9370). */
const IKE = 'aes256gcm16-prfsha384-ecp384-ke1_x448-ke2_mlkem1024';
const ESP = 'aes256gcm16-ecp384-ke1_x448-ke2_mlkem1024';
const FRAGMENT = 600;

for (const role of ['initiator', 'responder'] as const) {
  describeWith(STRONGSWAN_6, `strongSwan 6: we are ${role}, three key exchanges in fragments of 600 octets`, () => {
    const scope = new Scope();
    let pair: Pair;

    beforeAll(async () => {
      pair = await startPair(scope, {
        role,
        ike: IKE,
        esp: ESP,
        root: STRONGSWAN_6_ROOT,
        identities: (folder) => createIdentities(folder, 'ecdsa'),
        ours: { connection: { fragment_size: FRAGMENT } },
        charon: { fragment_size: FRAGMENT },
      });
    });
    afterAll(() => scope.close());

    test('comes up, and both ends send fragments', async () => {
      const { we, peer, network, initiator } = pair;
      await initiator.initiate();
      await agreedSa(we, peer);
      const { sent, received } = fragmentsOf(peer, 'IKE_INTERMEDIATE');
      expect([sent, received], peer.log()).toEqual([4, 4]);
      await expectPing(we, network.right.inside);
      await expectPing(peer, network.left.inside);
    });

    test.each(['we', 'peer'] as const)('by %s: rekeys of the child and the IKE SA, their follow-ups in fragments', async (by) => {
      const { we, peer, network } = pair;
      const other = by === 'we' ? peer : we;
      const before = fragmentsOf(peer, 'IKE_FOLLOWUP_KE');
      await expectChildRekey(pair[by], other);
      await expectIkeRekey(pair[by], other);
      const after = fragmentsOf(peer, 'IKE_FOLLOWUP_KE');
      expect([after.sent - before.sent, after.received - before.received], peer.log()).toEqual([8, 8]);
      await expectPing(we, network.right.inside);
      await expectPing(peer, network.left.inside);
    });
  });
}
