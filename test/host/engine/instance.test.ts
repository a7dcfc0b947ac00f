import { describe, expect, test } from 'vitest';
import { ApiMisuse, AuthenticationFailure, TimedOut } from '../../../src/core/bytes/index.ts';
import type { Notice } from '../../../src/core/ike/effects.ts';
import type { MemoryPlane } from '../../../src/host/dataplane/backends/memory.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { clientConfig, GATEWAY, gatewayConfig, instancePair, type Pair } from '../support/instances.ts';

async function up(options?: Parameters<typeof instancePair<MemoryPlane>>[0]): Promise<Pair<MemoryPlane>> {
  const pair = await instancePair<MemoryPlane>(options);
  await pair.finish(pair.client.instance.up({ connection: 'road' }));
  return pair;
}

const children = ({ client, gateway }: Pair<MemoryPlane>): number[] =>
  [client, gateway].map(({ instance }) => instance.engine.plane.children.length);
const ikeSas = ({ client, gateway }: Pair<MemoryPlane>): number[] => [client, gateway].map(({ instance }) => instance.ikeSas().length);

describe('up', () => {
  test('resolves when the IKE SA stands with its child', async () => {
    const pair = await instancePair();
    const { ikeSa, took } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    // the first address of the pool is the gateway’s own
    expect(ikeSa).toMatchObject({ connection: 'road', state: 'established', assigned: ['10.66.0.2'] });
    expect(took).toBeGreaterThanOrEqual(80); // two round trips of 40 ms
    expect(took).toBeLessThan(200);
    expect(children(pair)).toEqual([1, 1]);
    expect(pair.client.instance.dnsServers).toEqual(['10.66.0.1']);
  });

  test('resolves at once when it stands already', async () => {
    const pair = await up();
    const { took } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect([took, ikeSas(pair)]).toEqual([0, [1, 1]]);
  });

  test('asked twice at once it connects once', async () => {
    const pair = await instancePair();
    const both = Promise.all([pair.client.instance.up({ connection: 'road' }), pair.client.instance.up({ connection: 'road' })]);
    await pair.finish(both);
    expect(ikeSas(pair)).toEqual([1, 1]);
  });

  test('brings a further child up on the IKE SA that stands', async () => {
    const pair = await up({
      client: clientConfig({
        connection: { children: { net: { remote_ts: '10.8.0.0/16', start_action: 'start' }, more: { remote_ts: '10.9.0.0/16' } } },
      }),
      gateway: gatewayConfig({
        connection: {
          children: { net: { local_ts: '10.8.0.0/16', remote_ts: 'dynamic' }, more: { local_ts: '10.9.0.0/16', remote_ts: 'dynamic' } },
        },
      }),
    });
    expect(children(pair)).toEqual([1, 1]);
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road', child: 'more' }));
    expect([children(pair), ikeSas(pair)]).toEqual([
      [2, 2],
      [1, 1],
    ]);
    expect(ikeSa.children.map(({ name }) => name).sort()).toEqual(['more', 'net']);
  });

  test('a wrong key is an authentication failure, at both ends, and leaves nothing (D01)', async () => {
    const wrong = { key: { kind: 'psk', secret: 'something else entirely' } };
    const pair = await instancePair({ client: clientConfig({}, { secrets: wrong }) });
    await expect(pair.finish(pair.client.instance.up({ connection: 'road' }))).rejects.toMatchObject({
      code: expect.stringMatching(/AUTHENTICATION_FAILED/),
    });
    expect(pair.gateway.notices.some((n) => 'error' in n && n.error instanceof AuthenticationFailure)).toBe(true);
    expect([children(pair), ikeSas(pair)]).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test('nobody there: it gives up in its time, as often as it was told to try', async () => {
    const retransmission = { initial: '1s', base: 1.8, give_up: '10s' };
    const pair = await instancePair({ client: clientConfig({ connection: { keyingtries: 3, retransmission } }) });
    pair.internet.core.partition(pair.client.host, pair.gateway.host);
    const began = pair.internet.clock.now;
    await expect(pair.finish(pair.client.instance.up({ connection: 'road' }))).rejects.toThrow(TimedOut);
    expect(pair.internet.clock.now - began).toBeGreaterThanOrEqual(30_000);
    expect(pair.internet.clock.now - began).toBeLessThan(40_000);
    expect(ikeSas(pair)).toEqual([0, 0]);
  });

  test('whoever waits may stop waiting: the attempt is given up', async () => {
    const pair = await instancePair();
    pair.internet.core.partition(pair.client.host, pair.gateway.host);
    const controller = new AbortController();
    const upping = pair.client.instance.up({ connection: 'road' }, controller.signal);
    await pair.pass(500);
    expect(ikeSas(pair)[0]).toBe(1);
    controller.abort(new Error('changed my mind'));
    await expect(pair.finish(upping)).rejects.toThrow('changed my mind');
    expect(ikeSas(pair)[0]).toBe(0);
  });

  test('an unknown connection names those that exist', async () => {
    const { client } = await instancePair();
    await expect(client.instance.up({ connection: 'raod' })).rejects.toMatchObject({
      code: 'NO_SUCH_CONNECTION',
      hint: expect.stringContaining('road'),
    });
    await expect(client.instance.up({ connection: 'road', child: 'nte' })).rejects.toThrow(ApiMisuse);
  });
});

describe('down', () => {
  test.each([
    ['its connection', { connection: 'road' }],
    ['its number', { ikeSa: 1 }],
    ['everything', { all: true }],
  ])('by %s ends both ends, and counts what went', async (_how, selection) => {
    const pair = await up();
    expect(await pair.finish(pair.client.instance.down(selection))).toEqual({ ikeSas: 1, children: 1 });
    await pair.pass(100);
    expect([children(pair), ikeSas(pair)]).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(pair.gateway.instance.engine.leases.list()).toMatchObject([{ ikeSa: undefined }]);
  });

  test('of a child leaves the IKE SA', async () => {
    const pair = await up();
    const [sa] = pair.client.instance.ikeSas();
    expect(await pair.finish(pair.client.instance.down({ child: sa!.children[0]!.id }))).toEqual({ ikeSas: 0, children: 1 });
    await pair.pass(100);
    expect([children(pair), ikeSas(pair)]).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });

  test('by force says nothing to the peer', async () => {
    const pair = await up();
    await pair.finish(pair.client.instance.down({ connection: 'road', force: true }));
    await pair.pass(1000);
    expect([children(pair), ikeSas(pair)]).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });

  test('of what does not exist', async () => {
    const { client } = await instancePair();
    await expect(client.instance.down({ ikeSa: 99 })).rejects.toMatchObject({ code: 'NO_SUCH_SA' });
    await expect(client.instance.down({ child: 99 })).rejects.toMatchObject({ code: 'NO_SUCH_SA' });
    await expect(client.instance.down({ connection: 'nowhere' })).rejects.toMatchObject({ code: 'NO_SUCH_CONNECTION' });
    expect(await client.instance.down({ connection: 'road' })).toEqual({ ikeSas: 0, children: 0 });
  });
});

describe('rekey', () => {
  test('of everything a connection has: fresh SPIs, one of each in the end, the address kept', async () => {
    const pair = await up();
    const before = pair.client.instance.ikeSas()[0]!;
    expect(await pair.finish(pair.client.instance.rekey({ connection: 'road', children: true }))).toEqual({ ikeSas: 1, children: 1 });
    await pair.pass(60_000);
    const after = pair.client.instance.ikeSas();
    expect(after.length).toBe(1);
    expect(after[0]!.spiI).not.toEqual(before.spiI);
    expect(after[0]!.children[0]!.inboundSpi).not.toBe(before.children[0]!.inboundSpi);
    expect(after[0]!.assigned).toEqual(before.assigned);
    expect(children(pair)).toEqual([1, 1]);
    expect(pair.client.instance.dnsServers).toEqual(['10.66.0.1']);
    await pair.finish(pair.client.instance.down({ all: true }));
    await pair.pass(100);
    expect(pair.gateway.instance.engine.leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: undefined }]);
  });

  test('by the gateway, of one child', async () => {
    const pair = await up();
    const before = pair.gateway.instance.ikeSas()[0]!.children[0]!;
    await pair.finish(pair.gateway.instance.rekey({ child: before.id }));
    await pair.pass(60_000);
    expect(children(pair)).toEqual([1, 1]);
    expect(pair.gateway.instance.ikeSas()[0]!.children[0]!.inboundSpi).not.toBe(before.inboundSpi);
  });

  test.each(['client', 'gateway'] as const)(
    'with a new authentication, wished by the %s: the address stays, nothing else does',
    async (who) => {
      const pair = await up();
      await pair.pass(20_000);
      const before = pair.client.instance.ikeSas()[0]!;
      const ikeSa = pair[who].instance.ikeSas()[0]!.id;
      expect(await pair.finish(pair[who].instance.rekey({ ikeSa, reauth: true }))).toEqual({ ikeSas: 1, children: 1 });
      await pair.pass(60_000);
      expect([ikeSas(pair), children(pair)]).toEqual([
        [1, 1],
        [1, 1],
      ]);
      const [after] = pair.client.instance.ikeSas();
      expect(after!.spiI).not.toEqual(before.spiI);
      expect(after!.children[0]!.inboundSpi).not.toBe(before.children[0]!.inboundSpi);
      expect(after!.assigned).toEqual(['10.66.0.2']);
      expect(pair.gateway.instance.engine.leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: expect.any(Number) }]);
      expect(pair.client.instance.dnsServers).toEqual(['10.66.0.1']);
    },
  );

  test('with a new authentication that fails: it is said, and what stood stands', async () => {
    const pair = await up();
    pair.internet.core.partition(pair.client.host, pair.gateway.host);
    await expect(pair.finish(pair.client.instance.rekey({ connection: 'road', reauth: true }))).rejects.toThrow(TimedOut);
  });

  test('of something that a peer no longer has fails', async () => {
    const pair = await up();
    await pair.finish(pair.gateway.instance.down({ all: true, force: true }));
    await expect(pair.finish(pair.client.instance.rekey({ connection: 'road' }))).rejects.toThrow();
  });
});

describe('a rekeying on trial, right after connecting', () => {
  async function tried(
    theirs: Record<string, unknown>,
    mine: Record<string, unknown> = {},
    connection: Record<string, unknown> = { test_rekey: true },
  ) {
    const pair = await instancePair<MemoryPlane>({
      gateway: gatewayConfig({ child: theirs }),
      client: clientConfig({ child: mine, connection }),
    });
    const outcomes: Extract<Notice, { kind: 'rekey-tested' }>[] = [];
    pair.client.instance.onNotice(({ notice }) => notice.kind === 'rekey-tested' && outcomes.push(notice));
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    return { pair, outcomes, ikeSa };
  }

  test('says for child and IKE SA that it works, and what the IKE SA is then', async () => {
    const { pair, outcomes, ikeSa } = await tried({});
    expect(outcomes).toEqual([
      expect.objectContaining({ what: 'CHILD_SA net', suite: 'aes256gcm16/pfs x25519', error: undefined }),
      expect.objectContaining({ what: 'the IKE SA', suite: 'aes256gcm16/prfsha384/x25519', error: undefined }),
    ]);
    expect(pair.client.instance.ikeSas().map(({ id }) => id)).toContain(ikeSa.id);
    expect(ikeSa.state).toBe('established');
    await pair.pass(60_000);
    expect([ikeSas(pair), children(pair)]).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  test('says at once what would have ended the child in an hour, and leaves it as it is', async () => {
    const { pair, outcomes } = await tried({ pfs: 'off' }, { pfs: 'require' });
    expect(outcomes.map(({ what, error }) => [what, error?.code])).toEqual([
      ['CHILD_SA net', 'PFS_REFUSED'],
      ['the IKE SA', undefined],
    ]);
    expect(outcomes[0]!.error!.hint).toMatch(/set pfs: prefer for net here/);
    await pair.pass(60_000);
    expect(children(pair)).toEqual([1, 1]);
  });

  test('is not repeated for what stands, unless it is asked for', async () => {
    const { pair, outcomes } = await tried({});
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(outcomes).toHaveLength(2);
    await pair.finish(pair.client.instance.up({ connection: 'road', testRekey: true }));
    expect(outcomes).toHaveLength(4);
  });

  test('is not made where nobody wants it', async () => {
    expect((await tried({}, {}, {})).outcomes).toEqual([]);
  });
});

describe('a peer that falls silent', () => {
  test('is found dead by the gateway, which frees everything it had (D03)', async () => {
    const retransmission = { initial: '1s', base: 1.8, give_up: '10s' };
    const pair = await up({ gateway: gatewayConfig({ connection: { dpd_delay: '5s', retransmission } }) });
    pair.internet.core.partition(pair.client.host, pair.gateway.host);
    await pair.pass(20_000);
    expect([ikeSas(pair)[1], children(pair)[1]]).toEqual([0, 0]);
    expect(pair.gateway.instance.engine.leases.list()).toMatchObject([{ ikeSa: undefined }]);
  });

  test('is called again by a client that is told to, until it answers, and gives back the same address (D04)', async () => {
    const retransmission = { initial: '1s', base: 1.8, give_up: '5s' };
    const pair = await up({ client: clientConfig({ connection: { dpd_delay: '5s', retransmission }, child: { dpd_action: 'start' } }) });
    const { clock, core } = pair.internet;
    core.partition(pair.client.host, pair.gateway.host);
    await pair.pass(40_000);
    expect(children(pair)[0]).toBe(0);
    core.heal();
    const healed = clock.now;
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(clock.now - healed).toBeLessThan(31_000);
    expect(pair.client.instance.ikeSas()[0]!.assigned.length).toBe(1);
    expect(children(pair)[0]).toBe(1);
  });
});

test('two clients are told apart, and each gets an address (D17)', async () => {
  const pair = await up();
  const bob = await pair.addClient('198.51.100.3', clientConfig({ connection: { local: [{ auth: 'psk', id: 'bob@example.com' }] } }));
  const { ikeSa } = await pair.finish(bob.instance.up({ connection: 'road' }));
  expect(ikeSa.assigned).toEqual(['10.66.0.3']);
  expect(pair.gateway.instance.ikeSas().map(({ assigned }) => assigned)).toEqual([['10.66.0.2'], ['10.66.0.3']]);
  await pair.finish(pair.client.instance.down({ all: true }));
  await pair.pass(100);
  expect(pair.gateway.instance.engine.leases.list()).toMatchObject([
    { ip: '10.66.0.3', ikeSa: expect.any(Number) },
    { ip: '10.66.0.2', ikeSa: undefined },
  ]);
});

test('a client that comes back after a crash replaces itself (D41)', async () => {
  const pair = await up();
  await pair.client.instance.close(0); // what it said last is lost with it
  pair.internet.core.partition(pair.client.host, pair.gateway.host);
  await pair.pass(1000);
  const again = await pair.addClient('198.51.100.9', clientConfig());
  await pair.finish(again.instance.up({ connection: 'road' }));
  await pair.pass(1000);
  expect([pair.gateway.instance.ikeSas().length, pair.gateway.instance.engine.plane.children.length]).toEqual([1, 1]);
});

test('garbage on both ports, of every length and kind, is counted and changes nothing', async () => {
  const pair = await up();
  const stranger = pair.internet.host('stranger', { addresses: ['192.0.2.66'] });
  const random = new SeededRandom(7, 'garbage');
  const recorded = pair.internet.capture.packets.filter(({ packet }) => packet.destination.ip === GATEWAY).map(({ packet }) => packet.data);
  for (let i = 0; i < 3000; i++) {
    const port = random.pick([500, 4500]);
    let data = random.bytes(random.between(0, 300));
    if (random.chance(0.5)) {
      data = random.pick(recorded).slice(); // a real message, damaged
      for (let n = random.between(1, 8); n > 0 && data.length > 0; n--) data[random.between(0, data.length - 1)] = random.between(0, 255);
      if (random.chance(0.3)) data = data.subarray(0, random.between(0, data.length));
    }
    const source = random.chance(0.5) ? { ip: '192.0.2.66', port: 4500 } : { ip: '192.0.2.66', port: random.between(1, 65_535) };
    stranger.send({ protocol: 'udp', source, destination: { ip: GATEWAY, port }, data });
    if (i % 100 === 99) await pair.pass(10);
  }
  await pair.pass(30_000);
  expect(pair.gateway.notices.filter((n) => 'error' in n && n.error?.code === 'INTERNAL_ERROR')).toEqual([]);
  expect(pair.gateway.instance.ikeSas().length).toBe(1);
  const { datagrams, drops } = pair.gateway.instance.engine.counters.snapshot();
  expect(datagrams['neither IKE nor ESP']).toBeGreaterThan(0);
  expect(Object.values(drops).reduce((sum, n) => sum + n, 0)).toBeGreaterThan(500);
  await pair.finish(pair.client.instance.rekey({ connection: 'road', children: true }));
});

test('status: where it listens, what moves packets, since when', async () => {
  const { gateway } = await instancePair();
  expect(gateway.instance.facts()).toEqual({
    plane: 'memory',
    listen: ['203.0.113.7:500', '203.0.113.7:4500'],
    startedAt: Date.UTC(2026, 0, 1),
  });
});
