import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { ChildSaSpec } from '../../../src/core/ike/effects.ts';
import { kernelBehind } from '../../../src/host/dataplane/xfrm/kernel.ts';
import { KernelPlane } from '../../../src/host/dataplane/xfrm/kernel-plane.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { childPair } from '../../host/support/esp-pair.ts';
import { type Cases, command } from '../support/cases.ts';
import { echoes, OURS, THEIRS, world } from '../support/tunnel.ts';

/** Both ends are planes of ours, without IKE between them: so many rekeyings as the kernels take while packets flow. */
export const rekeyings: Cases = {
  'no packet is lost, in either direction, while a CHILD_SA is rekeyed over and over': async () => {
    await world();
    const [ours, theirs] = [await end(OURS.namespace), await end(THEIRS.namespace)];
    try {
      const generation = (id: number, replaces?: number): { readonly a: ChildSaSpec; readonly b: ChildSaSpec } => {
        const more = { encap: false, ...(replaces === undefined ? {} : { replaces }) };
        const { a, b } = childPair({ id, localTs: [OURS.network], remoteTs: [THEIRS.network], more });
        const [left, right] = [
          { ip: OURS.address, port: 500 },
          { ip: THEIRS.address, port: 500 },
        ];
        return { a: { ...a, local: left, remote: right }, b: { ...b, local: right, remote: left } };
      };
      const { a, b } = generation(1);
      theirs.plane.install(b);
      ours.plane.install(a);
      const policies = command(`ip -n ${OURS.namespace} xfrm policy`);
      const flows = Promise.all([
        echoes(OURS, { from: OURS.inside, to: THEIRS.inside, count: FLOW, every: 0.01 }),
        echoes(THEIRS, { from: THEIRS.inside, to: OURS.inside, count: FLOW, every: 0.01 }),
      ]);
      let flowing = true;
      void flows.finally(() => (flowing = false));
      let id = 1;
      for (; flowing; id++) {
        const next = generation(id + 1, id);
        // RFC 7296 §2.8: the responder receives on both before the answer leaves, and sends on the new one when the old one is deleted
        theirs.plane.install({ ...next.b, outboundActive: false });
        ours.plane.install(next.a);
        await turn();
        theirs.plane.update(id + 1, { kind: 'activate-outbound' });
        // what is under way still arrives: the one before goes now
        for (const { plane } of [ours, theirs]) plane.remove(id - 1);
        await turn();
      }
      for (const answered of await flows) assert.equal(new Set(answered).size, FLOW, `after ${id} rekeyings`);
      assert.ok(id > 5, `${id} rekeyings`);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm policy`), policies);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm state`).match(/spi/g)?.length, 4);
    } finally {
      for (const { plane, socket } of [ours, theirs]) {
        plane.close();
        socket.close();
      }
    }
  },
};

async function end(namespace: string): Promise<{ readonly plane: KernelPlane; readonly socket: NetlinkSocket }> {
  const socket = await NetlinkSocket.open('xfrm', { namespace: `/run/netns/${namespace}` });
  return { socket, plane: new KernelPlane({ kernel: kernelBehind(socket), clock: systemClock, onObservation: () => undefined }) };
}

/** Echo requests each way, ten seconds of them. */
const FLOW = 1000;
