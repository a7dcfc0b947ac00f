import { afterEach, expect, test } from 'vitest';
import { formatAddress, fromUtf8, utf8 } from '../../src/core/bytes/index.ts';
import { systemClock } from '../../src/host/platform/clock.ts';
import { systemUdp, type UdpSocket } from '../../src/host/platform/udp.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { UdpRelay, type UdpRelayOptions } from '../../src/testing/udp-relay.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Box {
  readonly socket: UdpSocket;
  readonly heard: { text: string; from: string; port: number }[];
  say(text: string, port: number): void;
}

async function box(): Promise<Box> {
  const heard: Box['heard'] = [];
  const socket = await systemUdp.bind({
    ip: '127.0.0.1',
    port: 0,
    onDatagram: (data, ip, port) => heard.push({ text: fromUtf8(data), from: formatAddress({ ip, port }), port }),
  });
  closing.push(() => socket.close());
  return { socket, heard, say: (text, port) => void socket.send(utf8(text), '127.0.0.1', port) };
}

/** A client, a gateway with two ports, and the relay between them. */
async function scene(options: Partial<UdpRelayOptions> = {}) {
  const [client, ike, nat] = [await box(), await box(), await box()];
  const relay = await UdpRelay.open({
    udp: systemUdp,
    clock: systemClock,
    ip: '127.0.0.1',
    targets: [ike.socket.local, nat.socket.local],
    ...options,
  });
  closing.push(() => relay.close());
  return { client, ike, nat, relay, fronts: relay.fronts.map((front) => front.port) };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 4000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition(), what).toBe(true);
}

test('the gateway sees one port of the relay for both of its own, never the client’s, and answers find back', async () => {
  const { client, ike, nat, fronts } = await scene();
  client.say('to ike', fronts[0]!);
  client.say('to nat-t', fronts[1]!);
  await until(() => ike.heard.length + nat.heard.length === 2, 'both arrive');
  expect(ike.heard[0]!.from).toBe(nat.heard[0]!.from);
  expect(ike.heard[0]!.port).not.toBe(client.socket.local.port);
  nat.say('answer', nat.heard[0]!.port);
  await until(() => client.heard.length === 1, 'the answer arrives');
  expect(client.heard).toEqual([{ text: 'answer', from: `127.0.0.1:${fronts[1]}`, port: fronts[1] }]);
});

test('two clients have two mappings', async () => {
  const { client, ike, fronts } = await scene();
  const second = await box();
  client.say('one', fronts[0]!);
  second.say('two', fronts[0]!);
  await until(() => ike.heard.length === 2, 'both arrive');
  expect(new Set(ike.heard.map((heard) => heard.port)).size).toBe(2);
});

test('strangers do not get in through a mapping', async () => {
  const { client, ike, fronts, relay } = await scene();
  client.say('hello', fronts[0]!);
  await until(() => ike.heard.length === 1, 'it arrives');
  const stranger = await box();
  stranger.say('let me in', ike.heard[0]!.port);
  // to the same port, behind the stranger's
  ike.say('answer', ike.heard[0]!.port);
  await until(() => client.heard.length > 0, 'the answer arrives');
  expect([client.heard.map((heard) => heard.text), relay.counters.passed]).toEqual([['answer'], 2]);
});

test('rebinding gives another port; the old one is dead', async () => {
  const { client, ike, fronts, relay } = await scene();
  client.say('before', fronts[0]!);
  await until(() => ike.heard.length === 1, 'it arrives');
  await relay.rebind();
  ike.say('too late', ike.heard[0]!.port);
  client.say('after', fronts[0]!);
  await until(() => ike.heard.length === 2, 'it arrives again');
  expect(ike.heard[1]!.port).not.toBe(ike.heard[0]!.port);
  expect(client.heard).toEqual([]);
});

test('a pause swallows, in both directions, until it ends', async () => {
  const { client, ike, fronts, relay } = await scene();
  client.say('one', fronts[0]!);
  await until(() => ike.heard.length === 1, 'it arrives');
  relay.conditions.paused = true;
  client.say('two', fronts[0]!);
  ike.say('two back', ike.heard[0]!.port);
  await until(() => relay.counters.lost === 2, 'both are counted as lost');
  relay.conditions.paused = false;
  client.say('three', fronts[0]!);
  await until(() => ike.heard.length === 2, 'it arrives after the pause');
  expect(ike.heard.map((heard) => heard.text)).toEqual(['one', 'three']);
  expect(client.heard).toEqual([]);
});

test('loss follows the seed, delay holds back', async () => {
  const arrived = async (seed: number): Promise<string[]> => {
    const random = new SeededRandom(seed);
    const { client, ike, fronts, relay } = await scene({ random: () => random.fraction() });
    relay.conditions.loss = 0.5;
    for (let i = 0; i < 40; i++) client.say(String(i), fronts[0]!);
    await until(() => relay.counters.passed + relay.counters.lost === 40, 'all are decided');
    await until(() => ike.heard.length === relay.counters.passed, 'what passed arrived');
    return ike.heard.map((heard) => heard.text);
  };
  const first = await arrived(1);
  expect(first.length).toBeGreaterThan(8);
  expect(first.length).toBeLessThan(32);
  expect(await arrived(1)).toEqual(first);
  expect(await arrived(2)).not.toEqual(first);

  const { client, ike, fronts, relay } = await scene();
  relay.conditions.delay = 60;
  const began = performance.now();
  client.say('slow', fronts[0]!);
  await until(() => ike.heard.length === 1, 'it arrives');
  expect(performance.now() - began).toBeGreaterThanOrEqual(55);
});
