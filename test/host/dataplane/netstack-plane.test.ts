import { once } from 'node:events';
import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/crypto/system-random.ts';
import { Stack } from '../../../src/core/netstack/index.ts';
import backend, { type NetstackPlane } from '../../../src/host/dataplane/backends/netstack.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import type { StreamSocket } from '../../../src/host/platform/stream-socket.ts';
import type { UdpSocket } from '../../../src/host/platform/udp.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { describeWithNative } from '../../support/native.ts';
import { childPair } from '../support/esp-pair.ts';
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

describeWithNative('with sockets of this machine', () => {
  const INNER = { a: '10.1.0.1', b: '10.2.0.1' } as const;

  interface End {
    readonly plane: NetstackPlane;
    readonly socket: UdpSocket;
    /** Datagrams that came by the engine's way, one at a time. */
    readonly handed: () => number;
    close(): Promise<void>;
  }

  async function open(end: 'a' | 'b'): Promise<End> {
    let handed = 0;
    let plane: NetstackPlane | undefined;
    const socket = await (await backend.udp!()).bind({
      ip: '127.0.0.1',
      port: 0,
      onDatagram: (data, ip, port) => {
        handed++;
        plane?.receive(data, socket.local, ip, port);
      },
    });
    const opened = await backend.open({
      clock: systemClock,
      random: systemRandom(),
      openPath: (_, { ip, port }) => ({ send: (packet) => socket.send(packet, ip, port), socket, mtu: 1500, overhead: 28 }),
      onObservation: () => {},
      addresses: [INNER[end]],
    });
    plane = opened;
    return {
      plane: opened,
      socket,
      handed: () => handed,
      close: async () => {
        await opened.disown(socket);
        await opened.close();
        await socket.close();
      },
    };
  }

  /** Two ends that have an SA and sockets which the planes read; afterwards a connection between them. */
  async function withPair(use: (a: End, b: End, here: StreamSocket, there: StreamSocket) => Promise<void>): Promise<void> {
    const [a, b] = [await open('a'), await open('b')];
    const specs = childPair({ localTs: [`${INNER.a}/32`], remoteTs: [`${INNER.b}/32`] });
    try {
      a.plane.install({ ...specs.a, local: a.socket.local, remote: b.socket.local });
      b.plane.install({ ...specs.b, local: b.socket.local, remote: a.socket.local });
      await Promise.all([a.plane.adopt(a.socket), b.plane.adopt(b.socket)]);
      const accepted = once(b.plane.driver.listen({ port: 7 }), 'connection') as Promise<[StreamSocket]>;
      const here = a.plane.driver.connect({ ip: INNER.b, port: 7 });
      const [there] = await accepted;
      // that the planes go first is nobody's concern
      for (const socket of [here, there]) socket.on('error', () => {});
      await use(a, b, here, there);
    } finally {
      await Promise.all([a.close(), b.close()]);
    }
  }

  test('what a connection carries arrives whole, read and sent many packets at a time', () =>
    withPair(async (a, b, here, there) => {
      const text = systemRandom().secret(OCTETS);
      here.end(text);
      expect(Buffer.compare(Buffer.concat(await there.toArray()), text)).toBe(0);
      expect(b.handed()).toBeLessThan(b.socket.counters.received / 2);
      const { inbound } = b.plane.counters(1)!;
      expect(inbound.packets).toBeGreaterThanOrEqual(OCTETS / 1400);
      expect(a.plane.counters(1)!.outbound.packets).toBeGreaterThanOrEqual(inbound.packets);
      expect(b.plane.driver.stack.counters.tcpMalformed).toBe(0);
    }));

  test('a socket that the plane reads no longer hands all datagrams to whoever bound it', () =>
    withPair(async (_, b, here, there) => {
      await b.plane.disown(b.socket);
      const before = b.socket.counters.received - b.handed();
      here.end(new Uint8Array(20_000));
      expect(Buffer.concat(await there.toArray())).toHaveLength(20_000);
      expect(b.socket.counters.received - b.handed()).toBe(before);
    }));

  const OCTETS = 1 << 20;
});
