import { once } from 'node:events';
import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/crypto/system-random.ts';
import { Stack } from '../../../src/core/netstack/index.ts';
import backend from '../../../src/host/dataplane/backends/netstack.ts';
import type { NetstackPlane } from '../../../src/host/dataplane/netstack-hosts.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import type { StreamSocket } from '../../../src/host/platform/stream-socket.ts';
import type { UdpSocket } from '../../../src/host/platform/udp.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { whyNotBuilt } from '../../support/build.ts';
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

  async function open(end: 'a' | 'b', espThread: boolean): Promise<End> {
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
      espThread,
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
  async function withPair(
    [inA, inB]: readonly [boolean, boolean],
    use: (a: End, b: End, here: StreamSocket, there: StreamSocket) => Promise<void>,
  ): Promise<void> {
    const [a, b] = [await open('a', inA), await open('b', inB)];
    const specs = childPair({ localTs: [`${INNER.a}/32`], remoteTs: [`${INNER.b}/32`] });
    try {
      await Promise.all([a.plane.adopt(a.socket), b.plane.adopt(b.socket)]);
      await a.plane.install({ ...specs.a, local: a.socket.local, remote: b.socket.local });
      await b.plane.install({ ...specs.b, local: b.socket.local, remote: a.socket.local });
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
    withPair(ONE_THREAD, async (a, b, here, there) => {
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
    withPair(ONE_THREAD, async (_, b, here, there) => {
      await b.plane.disown(b.socket);
      const before = b.socket.counters.received - b.handed();
      here.end(new Uint8Array(20_000));
      expect(Buffer.concat(await there.toArray())).toHaveLength(20_000);
      expect(b.socket.counters.received - b.handed()).toBe(before);
    }));

  test.skipIf(whyNotBuilt() !== undefined).each([
    ['both ends', [true, true]],
    ['the sender', [true, false]],
    ['the receiver', [false, true]],
  ] as const)('with a thread for ESP at %s everything arrives as it does without (needs the build)', (_, threads) =>
    withPair(threads, async (a, b, here, there) => {
      expect([a.plane.espThread, b.plane.espThread]).toEqual(threads);
      const text = systemRandom().secret(8 * OCTETS);
      here.write(text);
      there.end(text.subarray(OCTETS));
      const [forth, back] = await Promise.all([read(there, text.length), read(here, text.length - OCTETS)]);
      expect([Buffer.compare(forth, text), Buffer.compare(back, text.subarray(OCTETS))]).toEqual([0, 0]);
      // what a thread counts it shows now and then
      const counted = (): boolean => a.plane.counters(1)!.outbound.packets >= b.plane.counters(1)!.inbound.packets;
      while (!counted() || b.plane.counters(1)!.inbound.bytes < text.length) await new Promise((resolve) => setTimeout(resolve, 20));
      // only what came before the sockets changed hands
      if (threads[1]) expect(b.handed()).toBe(0);
      expect(b.plane.driver.stack.counters.tcpMalformed).toBe(0);
      expect(b.plane.drops()).toMatchObject({ 'unknown SPI': 0, 'hop limit': 0 });
    }),
  );

  test.skipIf(whyNotBuilt() !== undefined)('a thread says how large packets may be before its SA stands (needs the build)', async () => {
    const a = await open('a', true);
    try {
      await a.plane.adopt(a.socket);
      const before = a.plane.driver.stack.mtu;
      const { a: spec } = childPair({ localTs: [`${INNER.a}/32`], remoteTs: [`${INNER.b}/32`] });
      await a.plane.install({ ...spec, local: a.socket.local, remote: { ip: '127.0.0.1', port: 9 } });
      // the twin, over the same path
      const twin = await open('a', false);
      await twin.plane.install({ ...spec, id: 2, local: twin.socket.local, remote: { ip: '127.0.0.1', port: 9 } });
      expect([before, a.plane.driver.stack.mtu]).toEqual([1400, twin.plane.driver.stack.mtu]);
      await twin.close();
    } finally {
      await a.close();
    }
  });

  const ONE_THREAD = [false, false] as const;
  const OCTETS = 1 << 20;
});

/** So many octets of what comes, the socket left as it is. */
async function read(socket: StreamSocket, octets: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let came = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (chunk: Uint8Array) => {
      chunks.push(chunk);
      came += chunk.length;
      if (came >= octets) resolve();
    });
  });
  return Buffer.concat(chunks);
}
