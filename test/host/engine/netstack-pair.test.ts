import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import netstack from '../../../src/host/dataplane/backends/netstack.ts';
import type { NetstackPlane } from '../../../src/host/dataplane/netstack-hosts.ts';
import type { IkeSaStatus } from '../../../src/host/engine/status.ts';
import type { StreamSocket } from '../../../src/host/platform/stream-socket.ts';
import { CLIENT, clientConfig, GATEWAY, gatewayConfig, instancePair, type Pair } from '../support/instances.ts';

/** Real core, real ESP, real TCP/IP; only time and network are made up. */
async function up(options: Parameters<typeof instancePair<NetstackPlane>>[0] = {}): Promise<Pair<NetstackPlane>> {
  const pair = await instancePair<NetstackPlane>({
    backend: netstack,
    gatewayPlane: { addresses: ['10.66.0.1/24'], forward: true },
    ...options,
  });
  await pair.finish(pair.client.instance.up({ connection: 'road' }));
  return pair;
}

async function sockets({ gateway, client, finish }: Pair<NetstackPlane>, port = 80): Promise<{ here: StreamSocket; there: StreamSocket }> {
  const server = gateway.instance.inside.listen({ port });
  const accepted = once(server, 'connection') as Promise<[StreamSocket]>;
  const [here, [there]] = await finish(Promise.all([client.instance.inside.connect({ host: '10.66.0.1', port }), accepted]));
  server.close();
  return { here, there };
}

function counting(socket: StreamSocket): { bytes: number; readonly ended: Promise<void> } {
  const seen = { bytes: 0, ended: Promise.resolve() };
  seen.ended = new Promise((resolve, reject) => {
    socket.on('data', (chunk: Uint8Array) => (seen.bytes += chunk.length));
    socket.on('end', resolve);
    socket.on('error', reject);
  });
  return seen;
}

describe('a tunnel in virtual time', () => {
  test('answers pings in one round trip', async () => {
    const { client, finish } = await up();
    const { rtt, from } = await finish(client.instance.inside.ping('10.66.0.1'));
    expect([rtt, from]).toEqual([40, '10.66.0.1']);
  });

  test('carries a stream', async () => {
    const pair = await up();
    const { here, there } = await sockets(pair);
    const got = counting(there);
    here.end(new Uint8Array(300_000));
    await pair.finish(got.ended);
    expect(got.bytes).toBe(300_000);
  });

  test('a NAT that forgets its mapping is followed, without new keys and without loss (RFC 7296 §2.23)', async () => {
    const pair = await up({ behindNat: true });
    const { here, there } = await sockets(pair);
    const got = counting(there);
    const before = pair.gateway.instance.ikeSas()[0]!;
    expect([before.natTheirs, before.natOurs]).toEqual([true, false]);
    here.write(new Uint8Array(100_000));
    await pair.pass(500);
    pair.nat!.rebind();
    here.end(new Uint8Array(100_000));
    await pair.finish(got.ended);
    expect(got.bytes).toBe(200_000);
    const after = pair.gateway.instance.ikeSas()[0]!;
    expect(after.id).toBe(before.id);
    // with MOBIKE the IKE SA moves when the client says so (RFC 4555 §3.8), which it does when it looks at the mapping next
    expect(after.remote.port).toBe(before.remote.port);
    await pair.pass(70_000);
    expect(pair.gateway.instance.ikeSas()[0]!.remote.port).not.toBe(before.remote.port);
    expect(after.children[0]!.inboundSpi).toBe(before.children[0]!.inboundSpi);
  });

  test('keepalives hold the mapping of the NAT while nobody says anything', async () => {
    const quiet = await up({
      behindNat: true,
      client: clientConfig({ connection: { nat_keepalive: '0', dpd_delay: '0' } }),
      gateway: gatewayConfig({ connection: { dpd_delay: '0' } }),
    });
    await quiet.pass(60_000);
    await expect(quiet.finish(quiet.gateway.instance.inside.ping('10.66.0.2', { timeout: 2000 }))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    const kept = await up({
      behindNat: true,
      client: clientConfig({ connection: { dpd_delay: '0', nat_keepalive_most: '20s' } }),
      gateway: gatewayConfig({ connection: { dpd_delay: '0' } }),
    });
    await kept.pass(60_000);
    expect((await kept.finish(kept.gateway.instance.inside.ping('10.66.0.2'))).from).toBe('10.66.0.2');
    expect(kept.gateway.instance.engine.counters.get('datagrams', 'keepalive in')).toBe(3);
  });

  test('how rarely keepalives are enough is measured beside the mapping in use', async () => {
    const pair = await up({
      behindNat: 100_000,
      client: clientConfig({ connection: { dpd_delay: '0' } }),
      gateway: gatewayConfig({ connection: { dpd_delay: '0' } }),
    });
    const keepalive = () => pair.client.instance.ikeSas()[0]!.keepalive;
    const seen = pair.gateway.instance.ikeSas()[0]!.remote;
    expect(keepalive()).toEqual({ interval: 20_000, measured: false });
    await pair.pass(60_000);
    expect(keepalive()).toEqual({ interval: 40_000, measured: true });
    // the NAT forgets behind 100 s: with the margin 80 s are what it bears
    await pair.pass(600_000);
    expect(keepalive()).toEqual({ interval: 80_000, measured: true });
    expect(pair.gateway.instance.ikeSas()[0]!.remote).toEqual(seen);
    expect((await pair.finish(pair.gateway.instance.inside.ping('10.66.0.2'))).from).toBe('10.66.0.2');
    // every port that was opened for it is closed, and rarely something is sent
    const before = pair.gateway.instance.engine.counters.get('datagrams', 'keepalive in');
    await pair.pass(800_000);
    expect(pair.gateway.instance.engine.counters.get('datagrams', 'keepalive in') - before).toBeLessThanOrEqual(10);
    expect(pair.gateway.instance.ikeSas()[0]!.remote).toEqual(seen);
  });

  test('a client roams under a transfer: the same SAs, other addresses (RFC 4555)', async () => {
    const pair = await up();
    const { here, there } = await sockets(pair);
    const got = counting(there);
    const before = pair.gateway.instance.ikeSas()[0]!;
    here.write(new Uint8Array(100_000));
    await pair.pass(500);
    pair.client.host.addAddress('192.0.2.77');
    pair.client.host.removeAddress(CLIENT);
    here.end(new Uint8Array(200_000));
    await pair.finish(got.ended, 30_000);
    expect(got.bytes).toBe(300_000);
    const after = pair.gateway.instance.ikeSas()[0]!;
    expect([after.id, after.remote.ip]).toEqual([before.id, '192.0.2.77']);
    expect(after.children[0]!.inboundSpi).toBe(before.children[0]!.inboundSpi);
    expect(pair.client.notices).toContainEqual(expect.objectContaining({ kind: 'moved', why: 'our addresses changed' }));
  });

  test('NATs are forbidden, and there is one: tried anew a few times, then said (RFC 4555 §3.9)', async () => {
    const pair = await instancePair<NetstackPlane>({
      backend: netstack,
      behindNat: true,
      client: clientConfig({ connection: { nats_allowed: 'no' } }),
    });
    await expect(pair.finish(pair.client.instance.up({ connection: 'road' }))).rejects.toMatchObject({
      code: 'PEER_UNEXPECTED_NAT_DETECTED',
    });
    expect(pair.client.instance.engine.counters.get('exchanges', 'IKE_AUTH begun')).toBe(5);
  });

  test('traffic spares liveness checks', async () => {
    const pair = await up({
      gateway: gatewayConfig({ connection: { dpd_delay: '5s' } }),
      client: clientConfig({ connection: { dpd_delay: '0' } }),
    });
    const exchanges = (): number => pair.gateway.instance.engine.counters.get('exchanges', 'INFORMATIONAL begun');
    for (let i = 0; i < 20; i++) {
      await pair.finish(pair.client.instance.inside.ping('10.66.0.1'));
      await pair.pass(1000);
    }
    expect(exchanges()).toBe(0);
    await pair.pass(20_000);
    expect(exchanges()).toBeGreaterThanOrEqual(3);
  });

  test('what the data plane counts rekeys a child (RFC 7296 §2.8)', async () => {
    const child = { rekey_packets: 10, rand_packets: 2, life_packets: 1000 };
    const pair = await up({ client: clientConfig({ child }) });
    const rekeyed: boolean[] = [];
    pair.client.instance.onNotice(({ notice }) => notice.kind === 'child-rekeyed' && rekeyed.push(notice.byUs));
    for (let i = 0; i < 40; i++) {
      expect((await pair.finish(pair.client.instance.inside.ping('10.66.0.1'))).from).toBe('10.66.0.1');
      await pair.pass(100);
    }
    expect(rekeyed.length).toBeGreaterThanOrEqual(3);
    expect(rekeyed.every((byUs) => byUs)).toBe(true);
    const [newest] = pair.client.instance.ikeSas()[0]!.children.filter(({ state }) => state === 'installed');
    expect(newest!.counters!.outbound.packets).toBeLessThanOrEqual(10);
  });

  test('without traffic a child goes, counted by the data plane (D25)', async () => {
    const pair = await up({ client: clientConfig({ child: { inactivity: '10s' } }) });
    const standing = (): number => pair.gateway.instance.ikeSas().flatMap((sa) => sa.children).length;
    for (let i = 0; i < 5; i++) {
      await pair.finish(pair.client.instance.inside.ping('10.66.0.1'));
      await pair.pass(8000);
    }
    expect(standing()).toBe(1);
    await pair.pass(3000);
    expect(standing()).toBe(0);
  });

  test('two clients reach one another; the hops are counted on the way', async () => {
    const pair = await up();
    const bob = await pair.addClient('198.51.100.3', clientConfig({ connection: { local: [{ auth: 'psk', id: 'bob@example.com' }] } }));
    await pair.finish(bob.instance.up({ connection: 'road' }));
    expect((await pair.finish(pair.client.instance.inside.ping('10.66.0.3'))).rtt).toBe(80);
    const ping = pair.client.instance.inside.driver.ping({ ip: '10.66.0.3', hopLimit: 1 });
    await expect(pair.finish(ping)).rejects.toMatchObject({ code: 'ETTL' });
    expect(pair.gateway.instance.engine.plane.drops()['hop limit']).toBe(1);
    expect(pair.gateway.instance.engine.plane.forwarded).toBe(2);
  });

  test('transport mode between two hosts (RFC 7296 §1.3.1)', async () => {
    const hosts = {
      connection: { vips: undefined, pools: undefined },
      child: { mode: 'transport', local_ts: 'dynamic', remote_ts: 'dynamic' },
    };
    const pair = await up({ client: clientConfig(hosts), gateway: gatewayConfig(hosts, { pools: undefined }), gatewayPlane: {} });
    expect(pair.gateway.instance.ikeSas()[0]!.children).toMatchObject([{ mode: 'transport' }]);
    const { from } = await pair.finish(pair.client.instance.inside.ping(GATEWAY));
    expect(from).toBe(GATEWAY);
    expect((await pair.finish(pair.gateway.instance.inside.ping(CLIENT))).from).toBe(CLIENT);
  });

  test('the first packet brings a trapped child up, and is not lost', async () => {
    const trap = clientConfig({
      connection: { vips: undefined },
      child: { start_action: 'trap', local_ts: '10.77.0.1', remote_ts: '10.66.0.0/24' },
    });
    const site = gatewayConfig(
      { connection: { pools: undefined }, child: { local_ts: '10.66.0.0/24', remote_ts: '10.77.0.0/24' } },
      { pools: undefined },
    );
    const pair = await instancePair<NetstackPlane>({
      backend: netstack,
      gatewayPlane: { addresses: ['10.66.0.1'] },
      clientPlane: { addresses: ['10.77.0.1'] },
      client: trap,
      gateway: site,
    });
    expect(pair.client.instance.ikeSas()).toEqual([]);
    const { from } = await pair.finish(pair.client.instance.inside.ping('10.66.0.1'));
    expect([from, pair.client.instance.ikeSas().length]).toEqual(['10.66.0.1', 1]);
  });

  test('a gateway that restarts from a snapshot goes on under the same keys, with numbers never used', async () => {
    const pair = await up();
    await pair.finish(pair.client.instance.inside.ping('10.66.0.1'));
    const snapshot = structuredClone(pair.gateway.instance.engine.snapshot());
    await pair.finish(pair.client.instance.inside.ping('10.66.0.1')); // after the snapshot, before the crash
    const restarted = await pair.restartGateway();
    restarted.instance.engine.restore(snapshot);
    await pair.pass(100);
    expect(restarted.instance.ikeSas().length).toBe(1);
    expect(restarted.instance.engine.leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: expect.any(Number) }]);
    expect((await pair.finish(pair.client.instance.inside.ping('10.66.0.1'))).from).toBe('10.66.0.1');
    expect((await pair.finish(restarted.instance.inside.ping('10.66.0.2'))).from).toBe('10.66.0.2');
    expect(pair.client.instance.ikeSas()[0]!.children[0]!.counters!.drops).toMatchObject({ replay: 0, icv: 0 });
  });

  test('from one that is older, too: both ends agree on their counters first (RFC 6311)', async () => {
    const pair = await up();
    const { client, gateway } = pair;
    await pair.finish(client.instance.inside.ping('10.66.0.1'));
    const snapshot = structuredClone(gateway.instance.engine.snapshot());
    const [{ id, spiI, counterSync }] = client.instance.ikeSas() as [IkeSaStatus];
    expect(counterSync).toEqual({ messageIds: true, replayCounters: true });
    for (let i = 0; i < 4; i++) {
      client.instance.engine.command({ kind: 'check-liveness', ikeSa: id });
      gateway.instance.engine.command({ kind: 'check-liveness', ikeSa: gateway.instance.ikeSas()[0]!.id });
      await pair.pass(100);
      await pair.finish(client.instance.inside.ping('10.66.0.1'));
    }
    const restarted = await pair.restartGateway();
    restarted.instance.engine.restore(snapshot);
    await pair.pass(200);
    for (const [instance, ikeSa] of [
      [client.instance, id],
      [restarted.instance, restarted.instance.ikeSas()[0]!.id],
    ] as const)
      instance.engine.command({ kind: 'check-liveness', ikeSa });
    await pair.pass(200);
    expect((await pair.finish(client.instance.inside.ping('10.66.0.1'))).from).toBe('10.66.0.1');
    expect((await pair.finish(restarted.instance.inside.ping('10.66.0.2'))).from).toBe('10.66.0.2');
    expect(
      [client.instance, restarted.instance].map((one) => one.ikeSas().map((sa) => [sa.spiI, sa.children[0]!.counters!.drops])),
    ).toEqual(Array.from({ length: 2 }, () => [[spiI, expect.objectContaining({ replay: 0, icv: 0 })]]));
  });
});
