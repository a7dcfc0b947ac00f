import { expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectChildRekey, expectIkeRekey, expectPing } from '../support/scenario.ts';

/** Version 5.9.8 knows neither additional key exchanges nor ML-KEM: where ours are optional it takes what stands beside (RFC 9370 §2.2.2). */
const WISH = { ike: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_none', esp: 'aes256gcm16-x25519-ke1_mlkem768-ke1_none' };
const PLAIN = { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' };

describeWith(STRONGSWAN, 'strongSwan 5 without additional key exchanges, which are optional here (RFC 9370)', () => {
  test.each(['initiator', 'responder'] as const)('we are %s: up, and either end rekeys', async (role) => {
    await inPair({ role, ...WISH, theirs: PLAIN }, async ({ we, peer, network, initiator }) => {
      await initiator.initiate();
      await agreedSa(we, peer);
      await expectPing(we, network.right.inside);
      for (const [by, other] of [
        [we, peer],
        [peer, we],
      ] as const) {
        await expectChildRekey(by, other);
        await expectIkeRekey(by, other);
      }
      await expectPing(we, network.right.inside);
      expect(await we.failures()).toEqual([]);
      expect(peer.wholeLog()).toMatch(/selected proposal: IKE:AES_GCM_16_256\/PRF_HMAC_SHA2_384\/CURVE_25519$/m);
    });
  });

  test('where we insist, the refusal is told', async () => {
    const ours = { ike: PLAIN.ike.concat('-ke1_mlkem768') };
    await inPair({ role: 'initiator', ...PLAIN, ours }, async ({ we }) => {
      await expect(we.initiate()).rejects.toMatchObject({ told: { notify: 14 } });
    });
  });
});
