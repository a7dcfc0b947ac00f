import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { ChildSaSpec } from '../../../src/core/ike/effects.ts';
import { kernelBehind } from '../../../src/host/dataplane/xfrm/kernel.ts';
import { KernelPlane } from '../../../src/host/dataplane/xfrm/kernel-plane.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { childPair } from '../../host/support/esp-pair.ts';
import { type Cases, command } from '../support/cases.ts';
import { OURS, pinged, THEIRS, world } from '../support/tunnel.ts';

/** Both ends are planes of ours, without IKE between them: so many rekeyings as the kernels take while packets flow. */
export const rekeyings: Cases = {
  'no packet is lost, in either direction, while a CHILD_SA is rekeyed over and over': async () => {
    await world();
    const [ours, theirs] = [await end(OURS.namespace), await end(THEIRS.namespace)];
    const forget = ({ child }: Retiring): void => {
      for (const { plane } of [ours, theirs]) plane.remove(child);
    };
    try {
      const { a, b } = generation(1);
      theirs.plane.install(b);
      ours.plane.install(a);
      const policies = command(`ip -n ${OURS.namespace} xfrm policy`);
      let newest = 1;
      const retiring: Retiring[] = [];
      // as many flows as it takes
      while (newest <= REKEYINGS) {
        let flowing = true;
        const flows = Promise.all([
          pinged(OURS, { from: OURS.inside, to: THEIRS.inside, count: FLOW, every: 0.01 }),
          pinged(THEIRS, { from: THEIRS.inside, to: OURS.inside, count: FLOW, every: 0.01 }),
        ]).finally(() => (flowing = false));
        while (flowing) {
          await rekey(ours.plane, theirs.plane, newest);
          retiring.push({ child: newest++, until: systemClock.now() + RETIRES });
          while ((retiring[0]?.until ?? Number.POSITIVE_INFINITY) <= systemClock.now()) forget(retiring.shift()!);
        }
        for (const { answered, complaint } of await flows)
          assert.equal(new Set(answered).size, FLOW, `after ${newest - 1} rekeyings ${complaint}`);
      }
      retiring.forEach(forget);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm policy`), policies);
      assert.equal(command(`ip -n ${OURS.namespace} xfrm state`).match(/spi/g)?.length, 2);
    } finally {
      for (const { plane, socket } of [ours, theirs]) {
        plane.close();
        socket.close();
      }
    }
  },
};

/** RFC 7296 §2.8: the responder receives on both before the answer leaves, and sends on the new one when the old one is deleted. */
async function rekey(ours: KernelPlane, theirs: KernelPlane, old: number): Promise<void> {
  const { a, b } = generation(old + 1, old);
  theirs.install({ ...b, outboundActive: false });
  ours.install(a);
  await turn();
  theirs.update(old + 1, { kind: 'activate-outbound' });
  await turn();
}

function generation(id: number, replaces?: number): { readonly a: ChildSaSpec; readonly b: ChildSaSpec } {
  const more = { encap: false, ...(replaces === undefined ? {} : { replaces }) };
  const { a, b } = childPair({ id, localTs: [OURS.network], remoteTs: [THEIRS.network], more });
  const [left, right] = [
    { ip: OURS.address, port: 500 },
    { ip: THEIRS.address, port: 500 },
  ];
  return { a: { ...a, local: left, remote: right }, b: { ...b, local: right, remote: left } };
}

async function end(namespace: string): Promise<{ readonly plane: KernelPlane; readonly socket: NetlinkSocket }> {
  const socket = await NetlinkSocket.open('xfrm', { namespace: `/run/netns/${namespace}` });
  return { socket, plane: new KernelPlane({ kernel: kernelBehind(socket), clock: systemClock, onObservation: () => undefined }) };
}

/** A child that was replaced, and takes what is under way until then. */
interface Retiring {
  readonly child: number;
  /** Milliseconds of `systemClock`. */
  readonly until: number;
}

/** Milliseconds, as a child that IKE has replaced (docs/decisions/011). */
const RETIRES = 5000;
/** Echo requests each way, ten seconds of them. */
const FLOW = 1000;
/** At least. */
const REKEYINGS = process.env.TUNNELWRIGHT_FULL === '1' ? 1000 : 5;
