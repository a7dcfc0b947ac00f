import { expect, test } from 'vitest';
import { Stack } from '../../../src/core/netstack/index.ts';
import backend from '../../../src/host/dataplane/backends/netstack.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { engineClock } from '../support/virtual-platform.ts';

test.each(['bbr', 'cubic', 'newreno'] as const)('congestion %s governs the connections of the plane', async (congestion) => {
  const random = scriptedRandom('planes');
  const plane = await backend.open({
    clock: engineClock(new VirtualClock()),
    random,
    openPath: () => ({ send: () => true, mtu: 1500, overhead: 28 }),
    onObservation: () => {},
    addresses: ['10.0.0.1'],
    congestion,
  });
  const { stack } = plane.driver;
  const peer = new Stack({ addresses: ['10.0.0.2'], mtu: 1400, random });
  const listener = stack.listen({ port: 80 });
  peer.connect({ ip: '10.0.0.1', port: 80 }, 0);
  for (const [from, to] of [
    [peer, stack],
    [stack, peer],
    [peer, stack],
  ] as const)
    to.receive(from.poll(0)!, 0);
  expect(listener.accept()?.info.congestion).toBe(congestion);
  await plane.close();
});
