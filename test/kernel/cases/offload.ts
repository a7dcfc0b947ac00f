import assert from 'node:assert/strict';
import { type Cases, command } from '../support/cases.ts';
import { OURS, withTunnel } from '../support/tunnel.ts';

/** The guest's network card does nothing of IPsec, and its kernel may be older than packets that are left to a card whole. */
export const offload: Cases = {
  'hw_offload: auto goes on in software': () =>
    withTunnel({ child: { hw_offload: 'auto' } }, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      assert.equal((await tunnel.ping()).length, 3);
      const states = command(`ip -n ${OURS.namespace} xfrm state`);
      assert.equal(states.match(/proto esp/g)?.length, 2, states);
      assert.ok(!states.includes('offload'), states);
    }),

  ...Object.fromEntries(
    ['crypto', 'packet'].map((wish) => [
      `hw_offload: ${wish} makes no SA without the card, and says so`,
      () =>
        withTunnel({ child: { hw_offload: wish } }, async (tunnel) => {
          await assert.rejects(tunnel.ours.up({ connection: 'net' }), /the network card does not do what hw_offload asks for/);
          assert.ok(!command(`ip -n ${OURS.namespace} xfrm state`).includes('proto esp'));
        }),
    ]),
  ),
};
