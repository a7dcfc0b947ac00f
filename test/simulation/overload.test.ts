import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/core/crypto/index.ts';
import type { Notice } from '../../src/core/ike/effects.ts';

import type { Host } from '../../src/testing/host.ts';
import { IKE_PROPOSAL } from '../core/ike/two-ends.ts';
import { clientConfig, GATEWAY, gatewayConfig, instancePair, type Pair } from '../host/support/instances.ts';
import { virtualThreads } from '../host/support/virtual-threads.ts';
import { initMessage, initPayloads } from '../security/support/hand-made.ts';

/** What one key exchange takes in a worker, milliseconds. */
const COST = 20;
const DH = { proposals: 'aes128gcm16-prfsha256-x25519' };

async function pairWithWorkers(limits: Record<string, unknown> = {}, workers = 1): Promise<Pair<never>> {
  const gateway = gatewayConfig({ connection: DH }, { limits });
  return (await instancePair({
    gateway,
    client: clientConfig({ connection: DH }),
    threads: ({ clock }) => virtualThreads(clock, COST),
    more: { workers },
  })) as unknown as Pair<never>;
}

/** Honest first requests from so many addresses, whose senders never say more. */
function flood({ internet }: Pair<never>, count: number): Host[] {
  const proposals = [IKE_PROPOSAL];
  return Array.from({ length: count }, (_, n) => {
    const ip = `192.0.2.${n + 1}`;
    const host = internet.host(`stranger ${n}`, { addresses: [ip], link: { delay: 10 } });
    host.bind(500, () => undefined);
    host.send({
      protocol: 'udp',
      source: { ip, port: 500 },
      destination: { ip: GATEWAY, port: 500 },
      data: initMessage(initPayloads({ proposals }), systemRandom().ikeSpi()),
    });
    return host;
  });
}

/** @param fate once it says `crash`, the worker ends at its next work instead of doing it */
async function pairWithCrash(fate: { crash: boolean }): Promise<Pair<never>> {
  return (await instancePair({
    gateway: gatewayConfig({ connection: DH }),
    client: clientConfig({ connection: DH }),
    threads: ({ clock }) => {
      const good = virtualThreads(clock, COST);
      return {
        cores: 2,
        start: (module, events) => {
          const thread = good.start(module, events);
          const post = (message: unknown): void => {
            if (!fate.crash) return thread.post(message);
            fate.crash = false;
            clock.after(1, () => events.onExit('out of memory'));
          };
          return { post, end: () => thread.end() };
        },
      };
    },
    more: { workers: 1 },
  })) as unknown as Pair<never>;
}

const rekeyedAt = (notices: readonly Notice[]): boolean => notices.some(({ kind }) => kind === 'ike-rekeyed');

describe('under load', () => {
  test('a connection is made, its key exchange and signatures by workers', async () => {
    const pair = await pairWithWorkers();
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    const { workers, halfOpen } = pair.gateway.instance.load();
    expect(workers).toMatchObject({ workers: 1, done: 1, underWay: 0, refused: 0 });
    expect(halfOpen).toBe(0);
    await pair.finish(pair.client.instance.rekey({ connection: 'road', children: true }));
    expect(pair.gateway.instance.load().workers?.done).toBeGreaterThan(1);
    await pair.gateway.instance.close(0);
  });

  test('strangers wait in a row, a peer that rekeys goes before them', async () => {
    const pair = await pairWithWorkers({ cookie_threshold: 1000, half_open: 1000 });
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    flood(pair, 60);
    await pair.pass(25);
    expect(pair.gateway.instance.load().workers).toMatchObject({ underWay: 2, waiting: { stranger: 58 } });
    const began = pair.internet.clock.now;
    await pair.finish(pair.client.instance.rekey({ connection: 'road' }));
    // there and back twice, what was under way and at hand already, and its own
    expect(pair.internet.clock.now - began).toBeLessThanOrEqual(4 * 20 + 3 * COST + 5);
    expect(rekeyedAt(pair.gateway.notices)).toBe(true);
    expect(pair.gateway.instance.load().workers!.waiting.stranger).toBeGreaterThan(45);
    await pair.gateway.instance.close(0);
  });

  test('who has returned a cookie goes before who has not', async () => {
    const pair = await pairWithWorkers({ cookie_threshold: 40, half_open: 1000 });
    flood(pair, 40);
    await pair.pass(25);
    const began = pair.internet.clock.now;
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(pair.gateway.instance.load().strangers.cookies).toBe(1);
    expect(pair.internet.clock.now - began).toBeLessThan(40 * COST);
    await pair.gateway.instance.close(0);
  });

  test('what waits for a half-open IKE SA is not computed once that has died', async () => {
    const pair = await pairWithWorkers({ cookie_threshold: 1000, half_open: 1000, half_open_life: '100ms' });
    flood(pair, 50);
    await pair.pass(1000);
    const { workers, halfOpen } = pair.gateway.instance.load();
    expect(halfOpen).toBe(0);
    expect(workers).toMatchObject({ underWay: 0, waiting: { stranger: 0 } });
    expect(workers!.cancelled).toBeGreaterThan(40);
    expect(workers!.done + workers!.cancelled).toBeLessThanOrEqual(50);
    await pair.gateway.instance.close(0);
  });

  test('more than can wait is put off by a cookie; pressure demands cookies of whoever comes, and ends', async () => {
    const pair = await pairWithWorkers({ cookie_threshold: 10_000, half_open: 10_000, half_open_life: '60s' });
    flood(pair, 150);
    await pair.pass(25);
    // from the 64th that waits on
    expect(pair.gateway.instance.load().strangers.cookies).toBeGreaterThanOrEqual(150 - 64 - 3);
    const began = pair.internet.clock.now;
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(pair.internet.clock.now - began).toBeLessThan(500);
    await pair.pass(5000);
    const { cookies } = pair.gateway.instance.load().strangers;

    const other = await pair.addClient(
      '198.51.100.9',
      clientConfig({ connection: { ...DH, local: [{ auth: 'psk', id: 'bob@example.com' }] } }),
    );
    await pair.finish(other.instance.up({ connection: 'road' }));
    expect(pair.gateway.instance.load().strangers.cookies).toBe(cookies);
    await pair.gateway.instance.close(0);
  });

  test('a worker that ends while it computes for a stranger: he is put off by a cookie, comes back, and another worker is there', async () => {
    const pair = await pairWithCrash({ crash: true });
    const { took } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(took).toBeLessThan(500);
    expect(pair.gateway.instance.load()).toMatchObject({ workers: { workers: 1, crashes: 1, done: 1 }, strangers: { cookies: 1 } });
    expect(pair.gateway.instance.engine.counters.snapshot().drops).toMatchObject({ 'worker-crashed': 1 });
    await pair.gateway.instance.close(0);
  });

  test('a worker that ends while it computes for a peer: TEMPORARY_FAILURE, and the rekeying is done a little later', async () => {
    const fate = { crash: false };
    const pair = await pairWithCrash(fate);
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    fate.crash = true;
    pair.client.instance.engine.command({ kind: 'rekey-ike', ikeSa: pair.client.instance.ikeSas()[0]!.id });
    await pair.pass(120_000);
    expect(pair.gateway.instance.load().workers).toMatchObject({ crashes: 1 });
    expect(rekeyedAt(pair.client.notices)).toBe(true);
    expect(pair.gateway.instance.ikeSas().map(({ state }) => state)).toEqual(['established']);
    await pair.gateway.instance.close(0);
  });

  test('a flood with no workers at all: cookies from the threshold on, and the honest come in', async () => {
    const pair = await pairWithWorkers({ cookie_threshold: 8 }, 0);
    flood(pair, 200);
    await pair.pass(25);
    expect(pair.gateway.instance.load()).toMatchObject({ halfOpen: 8, workers: undefined, strangers: { cookies: 192 } });
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    await pair.gateway.instance.close(0);
  });

  const PFS = { connection: DH, child: { esp_proposals: 'aes128gcm16-x25519', pfs: 'require' } };

  test.each(['rekey-ike', 'rekey-child'] as const)('%s of both ends at once, ours begun at any moment of the computing', async (kind) => {
    for (let offset = 0; offset <= 60; offset += 10) {
      const pair = (await instancePair({
        gateway: gatewayConfig(PFS),
        client: clientConfig(PFS),
        threads: ({ clock }) => virtualThreads(clock, COST),
        more: { workers: 1 },
      })) as unknown as Pair<never>;
      await pair.finish(pair.client.instance.up({ connection: 'road' }));
      await pair.pass(1000);
      const begin = ({ instance }: Pair<never>['client']) => {
        const [sa] = instance.ikeSas();
        instance.engine.command(kind === 'rekey-ike' ? { kind, ikeSa: sa!.id } : { kind, child: sa!.children[0]!.id });
      };
      begin(pair.client);
      await pair.pass(offset);
      begin(pair.gateway);
      await pair.pass(120_000);
      for (const { instance } of [pair.client, pair.gateway]) {
        const standing = instance.ikeSas();
        expect([offset, standing.map(({ state }) => state)]).toEqual([offset, ['established']]);
        expect([offset, standing[0]!.children.map(({ state }) => state)]).toEqual([offset, ['installed']]);
      }
      expect(pair.client.notices.some(({ kind: told }) => told === (kind === 'rekey-ike' ? 'ike-rekeyed' : 'child-rekeyed'))).toBe(true);
      await pair.gateway.instance.close(0);
    }
  });
});
