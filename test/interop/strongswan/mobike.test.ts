import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Host } from '../support/network.ts';
import { type Pair, startPair } from '../support/pair.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectIkeRekey, expectTransfer } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

const SUITE = PROPOSALS[1]!;
const [LEFT, OTHER_LEFT] = ['10.9.0.1', '10.9.0.11'];
const [RIGHT, OTHER_RIGHT] = ['10.9.0.2', '10.9.0.12'];
const liveness = { dpd_delay: '1s' };

describeWith(STRONGSWAN, 'MOBIKE with strongSwan, we choose the addresses (RFC 4555)', () => {
  const scope = new Scope();
  let pair: Pair;

  beforeAll(async () => {
    pair = await start(scope, 'initiator');
    await add(pair.network.right, OTHER_RIGHT);
    await pair.initiator.initiate();
  });
  afterAll(() => scope.close());

  test('a transfer goes on while we roam: other addresses, the same IKE SA', async () => {
    const { we, peer, network } = pair;
    const before = await agreedSa(we, peer);
    await slow(network.left);
    const transfer = expectTransfer(peer, we, network.right.inside, 4001);
    transfer.catch(() => undefined);
    await sleep(1000);
    await add(network.left, OTHER_LEFT);
    await remove(network.left, LEFT);
    await transfer;
    await reached(pair, OTHER_LEFT, RIGHT);
    expect(await spiOf(pair)).toBe(before.spiI);
    await fast(network.left);
  });

  test('on the new path everything goes on: both rekey, both ping', async () => {
    const { we, peer } = pair;
    await expectIkeRekey(we, peer);
    await expectIkeRekey(peer, we);
    await bothPing(pair);
  });

  test('back to the first address, behind the rekeyings', async () => {
    const { network } = pair;
    const child = await childOf(pair);
    await add(network.left, LEFT);
    await remove(network.left, OTHER_LEFT);
    await reached(pair, LEFT, RIGHT);
    await childOtherThan(pair, child);
    await bothPing(pair);
  });

  test('the path to its address dies: the other one that it announced is found', async () => {
    const { network } = pair;
    const [before, child] = [await spiOf(pair), await childOf(pair)];
    // frames to an address that nobody owns
    await ip(network.left, 'neigh', 'replace', RIGHT, 'lladdr', '02:00:00:00:00:ee', 'nud', 'permanent', 'dev', network.left.device);
    await reached(pair, LEFT, OTHER_RIGHT);
    await childOtherThan(pair, child);
    await bothPing(pair);
    expect(await spiOf(pair)).toBe(before);
  });
});

describeWith(STRONGSWAN, 'MOBIKE with strongSwan, it chooses the addresses (RFC 4555)', () => {
  const scope = new Scope();
  let pair: Pair;

  beforeAll(async () => {
    pair = await start(scope, 'responder');
    await pair.initiator.initiate();
  });
  afterAll(() => scope.close());

  // that traffic follows at all shows that COOKIE2 came back
  test('a transfer goes on while it roams: we follow, and check that it is there', async () => {
    const { we, peer, network } = pair;
    const before = await agreedSa(we, peer);
    await slow(network.right);
    const transfer = expectTransfer(we, peer, network.left.inside, 4002);
    transfer.catch(() => undefined);
    await sleep(1000);
    await add(network.right, OTHER_RIGHT);
    await remove(network.right, RIGHT);
    await transfer;
    await reached(pair, LEFT, OTHER_RIGHT);
    expect(await spiOf(pair)).toBe(before.spiI);
    await fast(network.right);
  });

  test('we lose our address: strongSwan is told, and moves to the one that is left', async () => {
    const { we, peer, network } = pair;
    await add(network.left, OTHER_LEFT);
    await eventually(
      'strongSwan hears of our second address',
      async () => /parsed INFORMATIONAL request \d+ \[ N\(ADD_4_ADDR\)/.test(peer.log()),
      PATIENCE,
      () => `${we.log()}\n${peer.log()}`,
    );
    const child = await childOf(pair);
    await remove(network.left, LEFT);
    await reached(pair, OTHER_LEFT, OTHER_RIGHT);
    await childOtherThan(pair, child);
    await bothPing(pair);
  });
});

function start(scope: Scope, role: 'initiator' | 'responder'): Promise<Pair> {
  return startPair(scope, {
    role,
    ...SUITE,
    identities: (folder) => createIdentities(folder, 'psk'),
    ours: { connection: { ...liveness, local_addrs: '%any', remote_addrs: role === 'initiator' ? RIGHT : '%any' } },
    theirs: { connection: { ...liveness, mobike: 'yes', local_addrs: '%any', remote_addrs: LEFT } },
  });
}

async function reached({ we, peer }: Pair, local: string, remote: string): Promise<void> {
  await eventually(
    `the IKE SA is between ${local} and ${remote}`,
    async () => (await we.addresses()).join() === `${local},${remote}`,
    PATIENCE,
    () => `${we.log()}\n${peer.log()}`,
  );
}

async function spiOf({ we }: Pair): Promise<string> {
  const [sa, ...others] = await we.ikeSas();
  expect(others).toEqual([]);
  return sa!.spiI;
}

const childOf = async ({ we }: Pair): Promise<string> =>
  (await we.ikeSas()).flatMap(({ children }) => children.filter(({ installed }) => installed)).at(-1)!.spiIn;

/** Its ESP in user space cannot change addresses, so strongSwan rekeys the child each time; until then what it sends goes where we were. */
async function childOtherThan(pair: Pair, spi: string): Promise<void> {
  await eventually(
    'strongSwan rekeys the child',
    async () => (await childOf(pair)) !== spi,
    PATIENCE,
    () => `${pair.we.log()}\n${pair.peer.log()}`,
  );
}

async function bothPing({ we, peer, network }: Pair): Promise<void> {
  await eventually(
    'both ping',
    async () => (await we.ping(network.right.inside, 3)) === 3 && (await peer.ping(network.left.inside, 3)) === 3,
    2 * PATIENCE,
    () => `${we.log()}\n${peer.log()}`,
  );
}

const add = (host: Host, address: string): Promise<string> => ip(host, 'addr', 'add', `${address}/24`, 'dev', host.device);

/** The other addresses of the network stay: without that the kernel takes them along. */
async function remove(host: Host, address: string): Promise<void> {
  await must('ip', ['netns', 'exec', host.namespace, 'sysctl', '-qw', 'net.ipv4.conf.all.promote_secondaries=1']);
  await ip(host, 'addr', 'del', `${address}/24`, 'dev', host.device);
}

/** So that a transfer takes longer than it takes to notice that addresses changed. */
const slow = ({ namespace, device }: Host): Promise<string> =>
  must('tc', ['-n', namespace, 'qdisc', 'add', 'dev', device, 'root', 'tbf', 'rate', '25mbit', 'burst', '64kb', 'latency', '100ms']);
const fast = ({ namespace, device }: Host): Promise<string> => must('tc', ['-n', namespace, 'qdisc', 'del', 'dev', device, 'root']);
const ip = ({ namespace }: Host, ...args: string[]): Promise<string> => must('ip', ['-n', namespace, ...args]);
