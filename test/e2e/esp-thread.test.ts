import { afterEach, describe, expect, test } from 'vitest';
import { eventually, exchangeBothWays, INNER, Loopback, type Setting, socketPair } from './support/loopback.ts';

let open: Loopback | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

/** `auto` is with a thread wherever it can be; `no` is its twin. */
describe.each([
  ['auto', 'auto'],
  ['auto', 'no'],
  ['no', 'auto'],
  ['no', 'no'],
] as const)('esp_thread: %s at the gateway, %s at the client', (atGateway, atClient) => {
  async function loopback(setting: Setting = {}): Promise<Loopback> {
    open = await Loopback.open({ ...setting, gateway: { esp_thread: atGateway }, client: { esp_thread: atClient } });
    return open;
  }

  test('what a tunnel carries arrives, while keys change under it', async () => {
    const world = await loopback();
    const tunnel = await world.connect();
    for (const [{ engine }, wish] of [
      [world.gateway, atGateway],
      [tunnel.client, atClient],
    ] as const)
      if (wish === 'no') expect(engine.plane.espThread).toBe(false);
    const { here, there } = await socketPair(world, tunnel);
    const busy = exchangeBothWays(here, there, 8);
    const { id } = tunnel.client.ikeSas()[0]!.children[0]!;
    await tunnel.client.rekey({ child: id });
    await world.gateway.rekey({ connection: 'clients', children: true });
    await busy;
    expect((await tunnel.ping(INNER)).from).toBe(INNER);
    for (const { engine } of [tunnel.client, world.gateway])
      expect(engine.plane.drops()).toMatchObject({ 'no outbound SA': 0, 'unknown SPI': 0 });
    await eventually('octets are counted', () => tunnel.status!.children.every(({ counters }) => counters!.inbound.bytes > 0));
  });

  test('a gateway passes on, and what nobody may reach ends where it should', async () => {
    const world = await loopback();
    const [alice, bob] = [await world.connect(), await world.connect({ local: [{ auth: 'psk', id: 'bob@example.com' }] })];
    expect((await alice.ping(bob.addresses[0]!)).from).toBe(bob.addresses[0]);
    await expect(alice.client.inside.driver.ping({ ip: bob.addresses[0]!, hopLimit: 1 })).rejects.toMatchObject({ code: 'ETTL' });
    await eventually('the hops are counted', () => world.gateway.engine.plane.drops()['hop limit'] === 1);
  });
});
