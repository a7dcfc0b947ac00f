import { afterEach, describe, expect, test } from 'vitest';
import type { ChildSaSpec, Observation } from '../../src/core/ike/effects.ts';
import type { Backend, DataPlane, DataPlaneOptions } from '../../src/host/dataplane/data-plane.ts';
import { scriptedRandom } from '../../src/testing/seeded.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';
import { childPair } from '../host/support/esp-pair.ts';
import { selector } from '../host/support/packets.ts';
import { engineClock } from '../host/support/virtual-platform.ts';

/** What every data plane promises (`DataPlane`), over one that can run here. */
export function dataPlaneContract(backend: Backend, options: Pick<DataPlaneOptions, 'espThread'> = {}): void {
  const form = options.espThread === true ? ' with a thread for ESP' : '';
  describe(`the ${backend.name} data plane${form}`, () => {
    const observed: Observation[] = [];
    let plane: DataPlane | undefined;

    async function open(): Promise<DataPlane> {
      observed.length = 0;
      plane = await backend.open({
        clock: engineClock(new VirtualClock()),
        random: scriptedRandom(1),
        openPath: () => ({ mtu: 1500, overhead: 28, send: () => true }),
        onObservation: (observation) => observed.push(observation),
        ...options,
      });
      return plane;
    }

    afterEach(async () => {
      await plane?.close();
      plane = undefined;
    });

    const spec = (id: number, more: Partial<ChildSaSpec> = {}): ChildSaSpec => childPair({ id, more }).a;

    test('says what it is', async () => {
      expect((await open()).backend).toBe(backend.name);
      expect(await backend.probe()).toMatchObject({ ok: true, detail: expect.stringMatching(/./) });
    });

    test('knows the children that stand, and no others', async () => {
      const it = await open();
      expect(it.counters(1)).toBeUndefined();
      await it.install(spec(1));
      expect(it.counters(1)).toMatchObject({ inbound: { packets: 0, bytes: 0 }, outbound: { packets: 0, bytes: 0 }, drops: {} });
      it.remove(1);
      expect(it.counters(1)).toBeUndefined();
    });

    test.each(['10.99.0.7', 'fd00:99::7'])('takes the address %s that a peer lends', async (ip) => {
      const it = await open();
      await it.install(spec(1, { assigned: [ip], localTs: [selector(ip)] }));
      expect(it.counters(1)).toMatchObject({ outbound: { packets: 0 } });
    });

    test('does not mind a child that is gone', async () => {
      const it = await open();
      it.update(7, { kind: 'activate-outbound' });
      it.update(7, { kind: 'stop-outbound' });
      it.update(7, { kind: 'addresses', local: { ip: '192.0.2.1', port: 1 }, remote: { ip: '192.0.2.2', port: 2 }, encap: true });
      it.remove(7);
      await it.install(spec(7));
      it.remove(7);
      it.remove(7);
      expect(observed).toEqual([]);
    });

    test('refuses a second SA with the same inbound SPI, and keeps the first', async () => {
      const it = await open();
      await it.install(spec(1));
      await expect((async () => it.install({ ...spec(1), id: 2 }))()).rejects.toMatchObject({
        name: 'DataPlaneError',
        code: expect.any(String),
      });
      expect([it.counters(1) === undefined, it.counters(2)]).toEqual([false, undefined]);
    });

    test('gives an SPI free again', async () => {
      const it = await open();
      await it.install(spec(1));
      it.remove(1);
      await it.install({ ...spec(1), id: 2 });
      expect(it.counters(2)).toBeDefined();
    });

    test('keeps two generations of a child beside each other while one is rekeyed', async () => {
      const it = await open();
      await it.install(spec(1));
      await it.install(spec(2, { replaces: 1, outboundActive: false }));
      it.update(2, { kind: 'activate-outbound' });
      it.update(2, { kind: 'owner', ikeSa: 9 });
      expect([it.counters(1), it.counters(2)]).not.toContain(undefined);
      it.remove(1);
      expect([it.counters(1) === undefined, it.counters(2) === undefined]).toEqual([true, false]);
    });

    test('keeps a child of which the peer has closed its half, until it is removed', async () => {
      const it = await open();
      await it.install(spec(1));
      it.update(1, { kind: 'stop-outbound' });
      it.update(1, { kind: 'stop-outbound' });
      expect(it.counters(1)).toBeDefined();
      it.remove(1);
      expect([it.counters(1), observed]).toEqual([undefined, []]);
    });

    test('follows a peer to another address', async () => {
      const it = await open();
      await it.install(spec(1));
      it.update(1, {
        kind: 'addresses',
        local: { ip: '198.51.100.9', port: 4500 },
        remote: { ip: '203.0.113.9', port: 61_000 },
        encap: true,
      });
      expect(it.counters(1)).toBeDefined();
    });

    test('needs the caller’s keys no longer once it has installed', async () => {
      const it = await open();
      const wanted = spec(1);
      await it.install(wanted);
      for (const keys of [wanted.inbound, wanted.outbound]) keys.encryptionKey.fill(0);
      it.remove(1);
      expect(it.counters(1)).toBeUndefined();
    });

    test('asks for nothing by itself: a trap alone is silent, and traps may be replaced', async () => {
      const it = await open();
      const trap = { connection: 'road', child: 'net', localTs: [selector('0.0.0.0/0')], remoteTs: [selector('10.0.0.0/8')] };
      it.setTraps([trap]);
      it.setTraps([trap, { ...trap, child: 'other' }]);
      it.setTraps([]);
      expect(observed).toEqual([]);
    });

    test('takes shunts that drop, replaced as a whole, beside whatever stands', async () => {
      const it = await open();
      const discard = {
        action: 'discard',
        connection: 'road',
        child: 'no',
        localTs: [selector('0.0.0.0/0')],
        remoteTs: [selector('10.9.0.0/16')],
      } as const;
      it.setShunts([discard]);
      await it.install(spec(1));
      it.setShunts([discard, { ...discard, child: 'mail', remoteTs: [selector('10.0.0.0/8[6/25]')] }]);
      it.setShunts([]);
      expect(it.counters(1)).toBeDefined();
    });

    test('passes by what it is told to, or says that it has no way past the tunnels', async () => {
      const it = await open();
      const bypass = {
        action: 'bypass',
        connection: 'road',
        child: 'lan',
        localTs: [selector('0.0.0.0/0')],
        remoteTs: [selector('10.9.0.0/16')],
      } as const;
      if (backend.features?.includes('bypass')) it.setShunts([bypass]);
      else expect(() => it.setShunts([bypass])).toThrow(expect.objectContaining({ code: 'BYPASS_UNSUPPORTED' }));
    });

    test('counts drops under stable words', async () => {
      const drops = (await open()).drops();
      for (const count of Object.values(drops)) expect(count).toBe(0);
    });

    test('leaves nothing when it closes, and closes twice', async () => {
      const it = await open();
      await it.install(spec(1));
      await it.install(spec(2));
      await it.close();
      expect([it.counters(1), it.counters(2)]).toEqual([undefined, undefined]);
      await it.close();
    });
  });
}
