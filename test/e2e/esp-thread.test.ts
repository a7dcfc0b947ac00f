import { afterEach, describe, expect, test } from 'vitest';
import { nativeLack } from '../../src/host/platform/linux/ffi.ts';
import { eventually, exchangeBothWays, INNER, Loopback, type Setting, socketPair } from './support/loopback.ts';

let open: Loopback | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

/** With a thread wherever one can be; `no` is its twin. */
const WITH = (await nativeLack()) === undefined ? 'yes' : 'auto';

describe.each([
  [WITH, WITH],
  [WITH, 'no'],
  ['no', WITH],
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
      expect(engine.plane.espThread).toBe(wish === 'yes');
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
