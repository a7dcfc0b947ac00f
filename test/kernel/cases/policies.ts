import assert from 'node:assert/strict';
import { type Cases, command } from '../support/cases.ts';
import { echoes, OURS, reaches, THEIRS, withTunnel } from '../support/tunnel.ts';
import { echoesIn } from '../support/wire.ts';

/** What a configuration says of packets besides their CHILD_SA. */
export const policies: Cases = {
  'if_id: packets pass through an XFRM interface of ours, which goes with us': async () => {
    const links = (): string => command(`ip -n ${OURS.namespace} -s link show type xfrm`);
    await withTunnel({ child: { if_id_in: '42', if_id_out: '42' } }, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      await reaches(tunnel);
      tunnel.wire.sent();
      assert.equal((await tunnel.ping()).length, 3);
      assert.equal((await tunnel.pingBack()).length, 3);
      assert.deepEqual(echoesIn(tunnel.wire), []);
      assert.match(links(), /twx\d\.2a/);
      assert.match(command(`ip -n ${OURS.namespace} route get ${THEIRS.inside}`), /dev twx\d\.2a/);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm policy`).match(/if_id 0x2a/g)?.length, 3);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm state`).match(/if_id 0x2a/g)?.length, 2);
      // the SA is gone and the interface is not: nothing leaves in clear
      command(`ip -n ${OURS.namespace} xfrm state flush`);
      assert.deepEqual(await tunnel.ping({ count: 2 }), []);
      assert.deepEqual(echoesIn(tunnel.wire), []);
    });
    assert.equal(links(), '');
  },

  'marks: what has the mark is protected, and what leaves protected has another': () =>
    withTunnel({ child: { mark_out: '7/0xff', set_mark_out: '9' } }, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      const marked = (mark: number): Promise<readonly number[]> => echoes(OURS, { from: OURS.inside, to: THEIRS.inside, mark });
      assert.equal((await marked(0x107)).length, 3);
      assert.deepEqual(echoesIn(tunnel.wire), []);
      assert.deepEqual(await marked(0x108), []);
      assert.equal(echoesIn(tunnel.wire).length, 3);
      assert.match(command(`ip -n ${OURS.namespace} xfrm state`), /output-mark 0x9/);
    }),

  'pass and drop: one goes past the tunnel, the other nowhere': () =>
    withTunnel(
      { children: { lan: { mode: 'pass', remote_ts: '10.2.0.9' }, no: { mode: 'drop', remote_ts: '10.2.0.8' } } },
      async (tunnel) => {
        await tunnel.ours.up({ connection: 'net' });
        await reaches(tunnel);
        tunnel.wire.sent();
        assert.equal((await tunnel.ping({ from: OURS.address, to: '10.2.0.9' })).length, 3);
        assert.equal(echoesIn(tunnel.wire).length, 3);
        for (const from of [OURS.inside, OURS.address]) assert.deepEqual(await tunnel.ping({ from, to: '10.2.0.8', count: 2 }), []);
        assert.equal((await tunnel.ping()).length, 3);
        assert.deepEqual(echoesIn(tunnel.wire), []);
      },
    ),
};
