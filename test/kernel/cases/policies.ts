import assert from 'node:assert/strict';
import { needNative } from '../../../src/host/platform/linux/ffi.ts';
import { descriptorUdp } from '../../../src/host/platform/linux/udp-network.ts';
import { type Cases, command } from '../support/cases.ts';
import { OURS, reaches, THEIRS, withTunnel } from '../support/tunnel.ts';
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
      // what was asked for and never came
      command(`ip -n ${OURS.namespace} xfrm state flush`);
    });
    assert.equal(links(), '');
  },

  'marks: what has the mark is protected, and what leaves protected has another': () =>
    withTunnel({ child: { mark_out: '7/0xff', set_mark_out: '9' } }, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      /** @returns how many datagrams left in ESP, and in clear */
      const sent = async (mark: number): Promise<readonly [number, number]> => {
        const socket = await descriptorUdp(await needNative('xfrm'), { mark }).bind({
          ip: OURS.inside,
          port: 0,
          onDatagram: () => undefined,
        });
        tunnel.wire.sent();
        for (let i = 0; i < 3; i++) socket.send(new Uint8Array(100), THEIRS.inside, DISCARD);
        const seen = tunnel.wire.sent().map(({ protocol, destination }) => `${protocol} ${destination}`);
        await socket.close();
        return [seen.filter((one) => one === `50 ${THEIRS.address}`).length, seen.filter((one) => one === `17 ${THEIRS.inside}`).length];
      };
      assert.deepEqual(await sent(0x107), [3, 0]);
      assert.deepEqual(await sent(0x108), [0, 3]);
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

const DISCARD = 9;
