import { expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { eventually, PATIENCE } from '../support/process.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import { leaveHalfOpen } from '../support/stranger.ts';

const SUITE = { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' };
/** A first key exchange that the other end does not take: INVALID_KE_PAYLOAD comes, too, and the cookie before it stays good or is followed by another. */
const WRONG_GUESS = 'aes256gcm16-prfsha384-ecp384-x25519';

describeWith(STRONGSWAN, 'COOKIE between us and strongSwan (RFC 7296 §2.6)', () => {
  test.each([
    ['always', SUITE.ike],
    ['always, and the first guess of the key exchange was wrong (§2.6.1)', WRONG_GUESS],
  ])('we demand it %s', async (_when, theirs) => {
    const sections = { limits: { cookie_threshold: 0 } };
    await inPair({ role: 'responder', ...SUITE, ours: { sections }, theirs: { ike: theirs } }, async ({ we, peer, network }) => {
      await peer.initiate();
      await agreedSa(we, peer);
      expect(peer.wholeLog()).toMatch(/parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/);
      if (theirs === WRONG_GUESS) expect(peer.wholeLog()).toMatch(/parsed IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]/);
      await expectPing(peer, network.left.inside);
    });
  });

  test('we demand it from one half-open IKE SA on', async () => {
    const sections = { limits: { cookie_threshold: 1 } };
    await inPair({ role: 'responder', ...SUITE, ours: { sections } }, async ({ we, peer, network }) => {
      await peer.initiate();
      await agreedSa(we, peer);
      expect(peer.wholeLog()).not.toMatch(/N\(COOKIE\)/);
      await peer.deleteIke();
      await leaveHalfOpen(network.right, SUITE.ike);
      await peer.initiate();
      expect(peer.wholeLog()).toMatch(/parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/);
      await expectPing(peer, network.left.inside);
    });
  });

  test.each([
    ['', SUITE.ike],
    [', and our first guess of the key exchange was wrong (§2.6.1)', WRONG_GUESS],
  ])('strongSwan demands it from one half-open IKE SA on%s', async (_and, ours) => {
    await inPair({ role: 'initiator', ...SUITE, ours: { ike: ours }, charon: { cookie_threshold: 1 } }, async ({ we, peer, network }) => {
      await leaveHalfOpen(network.left, SUITE.ike);
      await eventually(
        'strongSwan keeps a half-open IKE SA',
        async () => (await peer.stats()).halfOpen === 1,
        PATIENCE,
        () => peer.log(),
      );
      await we.initiate();
      expect(peer.wholeLog()).toMatch(/generating IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/);
      if (ours === WRONG_GUESS) expect(peer.wholeLog()).toMatch(/generating IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]/);
      await expectPing(we, network.right.inside);
      expect(await we.failures()).toEqual([]);
    });
  });
});
