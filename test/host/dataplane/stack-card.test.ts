import { describe, expect, test } from 'vitest';
import { Stack } from '../../../src/core/netstack/index.ts';
import { type PacketBuffer, packetBuffer, segmentPlain, VNET_HEADER, VnetHeader } from '../../../src/core/packet/offload/index.ts';
import { CardDevice, cardRings, MOST_IN_CARD } from '../../../src/host/dataplane/fast/card-device.ts';
import { StackCard } from '../../../src/host/dataplane/stack-card.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { packet } from '../support/packets.ts';
import { engineClock, pass, settle } from '../support/virtual-platform.ts';

/** A host with its card, the other side of which a test plays, in one thread. */
class Host {
  readonly card: StackCard;
  readonly device: CardDevice;
  /** That the thread was told to look, and the host. */
  wakes = 0;
  looks = 0;
  /** Octets of what left. */
  largest = 0;
  readonly #buffer: PacketBuffer = packetBuffer(new Uint8Array(MOST_IN_CARD));

  constructor(clock: VirtualClock, ...addresses: readonly string[]) {
    const rings = cardRings();
    const stacks = addresses.map((ip) => new Stack({ addresses: [ip], mtu: 1400, random: scriptedRandom(ip) }));
    this.card = new StackCard({ clock: engineClock(clock), rings, wake: () => this.wakes++, stacks });
    this.device = new CardDevice(rings, () => {
      this.looks++;
      this.card.look();
    });
  }

  get driver() {
    return this.card.drivers[0]!;
  }

  /** What leaves next, its virtio header in front. */
  next(): Uint8Array | undefined {
    const length = this.device.read(this.#buffer, 0);
    this.largest = Math.max(this.largest, length);
    return length === 0 ? undefined : this.#buffer.octets.slice(0, length);
  }

  give(octets: Uint8Array, host = 0): boolean {
    return this.device.writeTo(host, packetBuffer(octets), 0, octets.length);
  }
}

/** As it comes from a device that has put nothing together. */
function whole(octets: Uint8Array, header = new VnetHeader()): Uint8Array {
  const made = new Uint8Array(VNET_HEADER + octets.length);
  header.write(made, 0);
  made.set(octets, VNET_HEADER);
  return made;
}

/** What a thread makes of it. */
function cut(octets: Uint8Array): readonly Uint8Array[] {
  const header = new VnetHeader();
  header.read(octets, 0);
  return segmentPlain(octets.subarray(VNET_HEADER), header) as Uint8Array[];
}

/** All that waits goes over, both ways, in a millisecond. */
async function exchange(clock: VirtualClock, a: Host, b: Host): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (let next = from.next(); next !== undefined; next = from.next()) for (const one of cut(next)) to.give(whole(one));
    to.device.announce();
  }
  await pass(clock, 1);
}

describe('a host behind rings', () => {
  test('a stream goes through whole, in super-packets whose checksums are left open', async () => {
    const clock = new VirtualClock();
    const [a, b] = [new Host(clock, '10.0.0.1'), new Host(clock, '10.0.0.2')];
    const here = a.driver.connect({ ip: '10.0.0.2', port: 7 });
    const chunks: Uint8Array[] = [];
    let came = 0;
    b.driver.listen({ port: 7 }, (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk: Uint8Array) => {
        chunks.push(chunk.slice());
        came += chunk.length;
      });
    });
    here.on('error', () => {});
    const text = new Uint8Array(3_000_000).map((_, i) => (i * 31) >> 3);
    here.end(text);
    for (let i = 0; i < 2000 && came < text.length; i++) await exchange(clock, a, b);
    expect(Buffer.compare(Buffer.concat(chunks), text)).toBe(0);
    expect(a.largest).toBeGreaterThan(20_000);
    for (const host of [a, b]) expect([host.device.dropped, host.driver.stack.counters.tcpMalformed]).toEqual([0, 0]);
    a.card.close();
    b.card.close();
  });

  test('where nobody takes what leaves, it stays in the stack, and goes on as soon as there is room', async () => {
    const clock = new VirtualClock();
    const host = new Host(clock, '10.0.0.1');
    const endpoint = host.driver.bindUdp({ port: 9 });
    const data = new Uint8Array(1300);
    let sent = 0;
    const fill = (): void => {
      while (endpoint.send(data, { ip: '10.0.0.2', port: 9 })) sent++;
    };
    for (let i = 0; i < 10_000; i++) {
      const before = sent;
      fill();
      host.driver.flush();
      if (sent === before) break;
    }
    const room = sent;
    expect(room * data.length).toBeGreaterThan(1_000_000);
    expect(endpoint.send(data, { ip: '10.0.0.2', port: 9 })).toBe(false);
    expect(host.looks).toBe(0);
    let left = 0;
    for (let idle = 0; idle < 3; idle++) {
      for (; host.next() !== undefined; left++) idle = 0;
      await pass(clock, 1);
    }
    expect(left).toBe(room);
    expect(host.looks).toBeGreaterThan(0);
    host.card.close();
  });

  test('a thread that finds no room reads no more until the host has caught up, and is woken then', async () => {
    const clock = new VirtualClock();
    const host = new Host(clock, '10.0.0.1');
    const one = whole(packet('10.0.0.2', '10.0.0.1', { size: 1400 }));
    expect([host.device.crowded, host.device.waitForRoom()]).toEqual([false, false]);
    while (!host.device.crowded) host.give(one);
    expect(host.device.waitForRoom()).toBe(true);
    while (host.give(one));
    expect(host.device.dropped).toBe(1);
    const { wakes } = host;
    host.device.announce();
    await pass(clock, 1);
    expect([host.device.crowded, host.wakes]).toEqual([false, wakes + 1]);
    expect(host.device.waitForRoom()).toBe(false);
    host.card.close();
  });

  test('each host gets what is marked with its number', async () => {
    const clock = new VirtualClock();
    const host = new Host(clock, '10.0.0.1', '10.20.0.1');
    host.give(whole(packet('10.9.0.1', '10.20.0.1')), 1);
    host.give(whole(packet('10.9.0.1', '10.0.0.1')), 0);
    host.give(whole(packet('10.9.0.1', '10.20.0.1')), 1);
    host.device.announce();
    await settle(clock);
    expect(host.card.drivers.map(({ stack }) => [stack.counters.packetsIn, stack.counters.ipNotOurs])).toEqual([
      [1, 0],
      [2, 0],
    ]);
    host.card.close();
  });
});
