import { describe, expect, test } from 'vitest';
import type { Address } from '../../../src/core/bytes/index.ts';
import { MappingProbes } from '../../../src/host/engine/mapping-probe.ts';

const LOCAL = { ip: '10.0.0.5', port: 4500 };
const REMOTE = { ip: '198.51.100.2', port: 4500 };
const PATH = { local: LOCAL, remote: REMOTE, least: 20_000, most: 110_000 };

/** A NAT that forgets behind so much silence, and a peer that answers at once and again later. */
class World {
  now = 0;
  forgets = 1e9;
  answers = true;
  open = 0;
  readonly asked: number[] = [];
  readonly probes = new MappingProbes({
    now: () => this.now,
    changed: () => undefined,
    open: (ip, onDatagram) => {
      this.open++;
      let closed = false;
      this.#onDatagram = (data, from) => !closed && onDatagram(data, from);
      const close = () => {
        closed = true;
        this.open--;
      };
      return Promise.resolve({ local: { ip, port: 50_000 }, close });
    },
    ask: (_, __, seconds) => {
      this.asked.push(seconds);
      if (!this.answers) return;
      this.deliver(Uint8Array.of(1, 2, 3));
      const deliver = this.#onDatagram;
      if (seconds * 1000 <= this.forgets)
        this.#echoes.push({ at: this.now + seconds * 1000, come: () => deliver(Uint8Array.of(1, 2, 3), REMOTE) });
    },
  });
  #onDatagram: (data: Uint8Array, from: Address) => boolean = () => false;
  #echoes: { readonly at: number; readonly come: () => void }[] = [];

  deliver(data: Uint8Array, from: Address = REMOTE): boolean {
    return this.#onDatagram(data, from);
  }

  async pass(span: number): Promise<void> {
    const end = this.now + span;
    for (; this.now < end; this.now += 1000) {
      await Promise.resolve();
      const due = this.#echoes.filter(({ at }) => at <= this.now);
      this.#echoes = this.#echoes.filter(({ at }) => at > this.now);
      for (const { come } of due) come();
      this.probes.expire(this.now);
      await Promise.resolve();
    }
  }
}

describe('how long a NAT keeps a mapping', () => {
  test.each([
    [1e9, 110_000, [50, 70, 90, 120]],
    [115_000, 80_000, [50, 70, 90, 120, 120]],
    [60_000, 40_000, [50, 70, 70]],
    [30_000, 20_000, [50, 50]],
  ])('forgotten behind %d ms: keepalives every %d ms', async (forgets, interval, asked) => {
    const world = new World();
    world.forgets = forgets;
    world.probes.track(1, PATH);
    await world.pass(1_000_000);
    expect(world.probes.of(1)).toEqual({ interval, measured: interval > 20_000 });
    expect(world.asked).toEqual(asked);
    expect([world.open, world.probes.nextDeadline()]).toEqual([0, undefined]);
  });

  test('a peer that does not answer over the other port: nothing is learned, and it ends', async () => {
    const world = new World();
    world.answers = false;
    world.probes.track(1, PATH);
    await world.pass(100_000);
    expect(world.probes.of(1)).toEqual({ interval: 20_000, measured: false });
    expect([world.asked.length, world.open, world.probes.nextDeadline()]).toEqual([2, 0, undefined]);
  });

  test('no more than the configuration allows', async () => {
    const world = new World();
    world.probes.track(1, { ...PATH, most: 60_000 });
    await world.pass(1_000_000);
    expect(world.probes.of(1)?.interval).toBe(60_000);
    const off = new World();
    off.probes.track(1, { ...PATH, most: 20_000 });
    await off.pass(100_000);
    expect(off.asked).toEqual([]);
  });

  test('what others send there proves nothing', async () => {
    const world = new World();
    world.forgets = 0;
    world.probes.track(1, PATH);
    await world.pass(20_000);
    expect(world.deliver(Uint8Array.of(1, 2, 3), { ...REMOTE, port: 4501 })).toBe(false);
    expect(world.deliver(Uint8Array.of(9))).toBe(false);
    await world.pass(200_000);
    expect(world.probes.of(1)?.interval).toBe(20_000);
  });

  test('a copy that comes early has refreshed the mapping: measured anew', async () => {
    const world = new World();
    world.probes.track(1, { ...PATH, most: 40_000 });
    await world.pass(20_000);
    world.deliver(Uint8Array.of(1, 2, 3));
    expect(world.open).toBe(0);
    await world.pass(20_000);
    expect(world.asked).toEqual([50, 50]);
    await world.pass(100_000);
    expect(world.probes.of(1)?.interval).toBe(40_000);
  });

  test('a rekeyed IKE SA inherits it, another path does not', async () => {
    const world = new World();
    world.probes.track(1, PATH);
    await world.pass(1_000_000);
    world.probes.track(2, PATH, 1);
    expect([world.probes.of(1), world.probes.of(2)?.interval]).toEqual([undefined, 110_000]);
    world.probes.track(2, { ...PATH, local: { ...LOCAL, ip: '10.9.0.5' } });
    expect(world.probes.of(2)?.interval).toBe(20_000);
  });

  test('the mapping in use is lost all the same: back to the beginning for good', async () => {
    const world = new World();
    world.probes.track(1, PATH);
    await world.pass(1_000_000);
    world.probes.distrust(1);
    await world.pass(1_000_000);
    expect(world.probes.of(1)).toEqual({ interval: 20_000, measured: false });
    expect(world.asked).toHaveLength(4);
  });

  test('an IKE SA that ends takes its port along', async () => {
    const world = new World();
    world.probes.track(1, PATH);
    await world.pass(20_000);
    expect(world.open).toBe(1);
    world.probes.drop(1);
    expect([world.open, world.probes.nextDeadline()]).toEqual([0, undefined]);
  });
});
