import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually, exchangeBothWays, INNER, Loopback, type Setting, socketPair } from './support/loopback.ts';

let open: Loopback | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

async function loopback(setting?: Setting): Promise<Loopback> {
  open = await Loopback.open(setting);
  return open;
}

const QUICK = { initial: '200ms', base: 1.5, give_up: '1500ms' };

describe('a tunnel over loopback', () => {
  test('comes up with a pre-shared key, answers pings, and carries some MiB both ways', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    expect(tunnel.addresses).toEqual(['10.66.0.2', 'fd66::2']);
    expect(tunnel.status).toMatchObject({ state: 'established', suite: expect.stringContaining('aes256gcm16') });
    expect((await tunnel.ping(INNER)).from).toBe(INNER);
    expect((await world.gateway.inside.ping('10.66.0.2')).from).toBe('10.66.0.2');
    const { here, there } = await socketPair(world, tunnel);
    expect(there.remoteAddress).toBe('10.66.0.2');
    await exchangeBothWays(here, there, 4);
    // a thread for ESP tells what it has counted now and then
    await eventually('both directions are counted', () => {
      const { counters } = tunnel.status!.children[0]!;
      return counters!.inbound.bytes > 4 << 20 && counters!.outbound.bytes > 4 << 20;
    });
  });

  test.each(['aes128gcm16', 'chacha20poly1305', 'aes256-sha256', 'aes128ctr-sha384', 'aes256ccm16'])('under %s', async (suite) => {
    const world = await loopback({ roadChild: { esp_proposals: suite }, clientsChild: { esp_proposals: suite } });
    const tunnel = await world.connect();
    const { here, there } = await socketPair(world, tunnel);
    await exchangeBothWays(here, there, 1);
  });

  test('carries IPv6 inside', async () => {
    const world = await loopback({ gateway: { pools: { lan: { addrs: 'fd66::/64' } } } });
    const tunnel = await world.connect({ vips: '::' });
    expect(tunnel.addresses).toEqual(['fd66::2']);
    expect((await tunnel.ping('fd66::1')).from).toBe('fd66::1');
    const { here, there } = await socketPair(world, tunnel, 'fd66::1');
    await exchangeBothWays(here, there, 1);
  });

  test('a port where nobody listens refuses, an address outside of the tunnel is not reached', async () => {
    const world = await loopback({ roadChild: { remote_ts: '10.66.0.0/24' } });
    const tunnel = await world.connect();
    await expect(tunnel.connect({ host: INNER, port: 9 })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const before = tunnel.client.engine.plane.drops()['no outbound SA']!;
    await expect(tunnel.ping('192.0.2.1', { timeout: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    // a thread for ESP tells now and then
    await eventually('the drop is counted', () => tunnel.client.engine.plane.drops()['no outbound SA']! > before);
  });

  test('the gateway connects to the client as well', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    const server = tunnel.listen(8080, (socket) => socket.on('error', () => undefined).end('from the client'));
    const socket = await world.gateway.connectTcp({ host: '10.66.0.2', port: 8080 });
    const [chunk] = await once(socket, 'data');
    expect(String(chunk)).toBe('from the client');
    server.close();
    socket.destroy();
  });

  test('clients reach one another through the gateway, unless it is told not to', async () => {
    const world = await loopback();
    const alice = await world.connect();
    const bob = await world.connect({ local: [{ auth: 'psk', id: 'bob@example.com' }] });
    const server = bob.listen(7000, (socket) => socket.on('error', () => undefined).end('bob'));
    const socket = await alice.connect({ host: bob.addresses[0]!, port: 7000 });
    const [chunk] = await once(socket, 'data');
    expect([String(chunk), socket.localAddress]).toEqual(['bob', alice.addresses[0]]);
    socket.destroy();
    server.close();
    await world.close();
    const apart = await loopback({ gatewayOptions: { forward: false } });
    const carol = await apart.connect();
    const dave = await apart.connect({ local: [{ auth: 'psk', id: 'dave@example.com' }] });
    await expect(carol.ping(dave.addresses[0]!, { timeout: 300 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('names are asked of the server behind the tunnel', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    const endpoint = world.gateway.inside.driver.bindUdp({ port: 53 });
    const asked: number[] = [];
    endpoint.onReady = () => {
      for (let query = endpoint.receive(); query !== undefined; query = endpoint.receive()) {
        const { data, remote } = query;
        const type = data[data.length - 3]!;
        asked.push(type);
        const found = type === 1 ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 66, 0, 1] : [];
        const head = [data[0]!, data[1]!, 0x81, 0x80, 0, 1, 0, found.length > 0 ? 1 : 0, 0, 0, 0, 0];
        endpoint.send(Uint8Array.of(...head, ...data.subarray(12), ...found), remote);
      }
      world.gateway.inside.driver.wake();
    };
    expect(tunnel.dnsServers).toEqual([INNER]);
    expect((await tunnel.ping('files.corp.example')).from).toBe(INNER);
    expect(asked).toEqual([28, 1]); // IPv6 first, which that name has not
    endpoint.close();
  });

  test('says goodbye: the gateway is rid of it at once', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    await tunnel.close();
    expect(await tunnel.closed).toBeUndefined();
    await eventually('the gateway has no IKE SA', () => world.gateway.ikeSas().length === 0);
    expect(world.gateway.engine.leases.list().every(({ ikeSa }) => ikeSa === undefined)).toBe(true);
  });

  test('a gateway that ends takes the tunnel along, with the reason', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    await world.gateway.close();
    expect(await tunnel.closed).toMatchObject({ code: 'CLOSED_BY_PEER' });
    expect(tunnel.status).toBeUndefined();
  });

  test('a wrong key is refused (D01)', async () => {
    const world = await loopback({ client: { secrets: { key: { kind: 'psk', secret: 'another key altogether' } } } });
    await expect(world.connect()).rejects.toMatchObject({ code: expect.stringContaining('AUTHENTICATION_FAILED') });
    await eventually('the gateway has no IKE SA', () => world.gateway.ikeSas().length === 0);
  });

  test('the operator has the last word on who comes in', async () => {
    const world = await loopback({ gatewayOptions: { authorise: () => 'suspended' } });
    await expect(world.connect()).rejects.toMatchObject({ code: expect.stringContaining('AUTHENTICATION_FAILED') });
    expect(world.notices.some((n) => 'error' in n && n.error?.code === 'NOT_AUTHORISED')).toBe(true);
  });
});

describe('under load', () => {
  test('rekeying CHILD_SA and IKE SA, by either end, loses nothing (D02)', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    const { here, there } = await socketPair(world, tunnel);
    const spis = new Set<number>();
    const note = (): void => {
      for (const { inboundSpi } of tunnel.status?.children ?? []) spis.add(inboundSpi);
    };
    note();
    const busy = exchangeBothWays(here, there, 16);
    for (const by of [tunnel.client, world.gateway, tunnel.client]) {
      const { id } = by.ikeSas()[0]!.children.find(({ state }) => state === 'installed')!;
      await by.rekey({ child: id });
      note();
    }
    await tunnel.client.rekey({ connection: 'road' });
    await world.gateway.rekey({ connection: 'clients', children: true });
    note();
    await busy;
    expect(spis.size).toBeGreaterThanOrEqual(4);
    for (const { engine } of [tunnel.client, world.gateway])
      expect(engine.plane.drops()).toMatchObject({ 'no outbound SA': 0, 'unknown SPI': 0 });
    await eventually('one child is left at both ends', () =>
      [tunnel.client, world.gateway].every((end) => end.ikeSas().length === 1 && end.ikeSas()[0]!.children.length === 1),
    );
  });

  test('a network that is gone for ten seconds loses nothing', async () => {
    const world = await loopback({ road: { dpd_delay: '1s' }, clients: { dpd_delay: '1s' } });
    const tunnel = await world.connect();
    const { here, there } = await socketPair(world, tunnel);
    const [before] = tunnel.client.ikeSas();
    const busy = exchangeBothWays(here, there, 8);
    await new Promise((resolve) => setTimeout(resolve, 50));
    world.relay.conditions.paused = true;
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    world.relay.conditions.paused = false;
    await busy;
    expect(world.relay.counters.lost).toBeGreaterThan(0);
    expect(tunnel.client.ikeSas().map(({ id }) => id)).toEqual([before!.id]);
  });

  test('a lossy path with delay', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    Object.assign(world.relay.conditions, { loss: 0.01, delay: 5 });
    const { here, there } = await socketPair(world, tunnel);
    await exchangeBothWays(here, there, 2);
    expect(world.relay.counters.lost).toBeGreaterThan(0);
  });

  test('limits in octets rekey the child while it is used', async () => {
    const lifetime = { rekey_bytes: '2MiB', life_bytes: '64MiB', rand_bytes: '0' };
    const world = await loopback({ roadChild: lifetime });
    const tunnel = await world.connect();
    const { here, there } = await socketPair(world, tunnel);
    await exchangeBothWays(here, there, 6);
    expect(world.notices.filter(({ kind }) => kind === 'child-rekeyed').length).toBeGreaterThanOrEqual(2);
  });
});

describe('a client that dies', () => {
  test('is found out: the gateway frees its SAs and its addresses (D03)', async () => {
    const world = await loopback({ clients: { dpd_delay: '300ms', retransmission: QUICK } });
    const tunnel = await world.connect();
    expect(world.gateway.engine.leases.list().filter(({ ikeSa }) => ikeSa !== undefined).length).toBe(2);
    world.relay.conditions.paused = true;
    await tunnel.client.close(0);
    await eventually('the gateway has no IKE SA', () => world.gateway.ikeSas().length === 0);
    expect(world.gateway.engine.leases.list().filter(({ ikeSa }) => ikeSa !== undefined)).toEqual([]);
    expect(world.notices.find(({ kind }) => kind === 'ike-down')).toMatchObject({ error: { name: 'TimedOut' } });
  });
});

test('a client that is told to come back does, with its address and its open connections (D04)', async () => {
  const patience = { dpd_delay: '300ms', retransmission: QUICK };
  const world = await loopback({ clients: patience, road: patience, roadChild: { dpd_action: 'start' } });
  const tunnel = await world.connect();
  const { here, there } = await socketPair(world, tunnel);
  const before = tunnel.addresses;
  world.relay.conditions.paused = true;
  await eventually('both ends gave up', () => tunnel.status === undefined && world.gateway.ikeSas().length === 0);
  world.relay.conditions.paused = false;
  await eventually('the tunnel stands again', () => (tunnel.status?.children.length ?? 0) > 0);
  expect(tunnel.addresses).toEqual(before);
  await exchangeBothWays(here, there, 1);
});
