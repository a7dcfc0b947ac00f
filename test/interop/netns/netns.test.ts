import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlClient } from '../../../src/product/control/index.ts';
import { addInside, createNetwork, type Network } from '../support/network.ts';
import { compiled, Daemon, eventually, PATIENCE, run } from '../support/process.ts';
import { createIdentities, type Identity, swanctlConf } from '../support/profile.ts';
import { NATIVE_CALLS, STRONGSWAN } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration } from '../support/tunnelwright.ts';
import { movedUnder } from '../tun/moved-under.ts';
import { REKEYINGS, rekeyedUnder } from '../tun/rekeyed-under.ts';
import { describeForUser, User } from './user.ts';

const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
/** As `ip -o link` shows it. */
const TUN_DEVICE = /^\d+: tw\d+:/m;
describeForUser(NATIVE_CALLS, 'the netns plane of an ordinary user, and a gateway of ours', () => {
  const scope = new Scope();
  let folder: string;
  let network: Network;
  let user: User;
  let gateway: Daemon;
  let identities: { readonly left: Identity; readonly right: Identity };
  const lender = () => ({ control: new ControlClient(join(folder, 'gateway.sock')), log: () => gateway.output });
  const settings = (): object => ({
    ...configuration({
      host: network.left,
      peer: network.right,
      identity: identities.left,
      ike: IKE,
      esp: ESP,
      connection: { vips: '0.0.0.0', local_addrs: '%any' },
      child: { local_ts: 'dynamic' },
    }),
    addresses: [],
  });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-netns-'));
    scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    network = await createNetwork(scope);
    await addInside(network.right);
    identities = await createIdentities(folder, 'psk');
    user = new User(network.left, join(folder, 'user'));
    const file = join(folder, 'gateway.yaml');
    const lends = configuration({
      host: network.right,
      peer: network.left,
      identity: identities.right,
      ike: IKE,
      esp: ESP,
      connection: { pools: ['clients'], remote_addrs: '%any' },
      child: { remote_ts: 'dynamic' },
      sections: { pools: { clients: { addrs: '10.66.0.0/24', dns: network.right.inside } }, plane: 'tun' },
    });
    await writeFile(file, JSON.stringify({ ...lends, control: { socket: join(folder, 'gateway.sock') } }), { mode: 0o600 });
    const words = ['netns', 'exec', network.right.namespace, process.execPath, join('dist', 'cli', 'main.js'), 'serve', '--config', file];
    gateway = new Daemon(scope, 'gateway', 'ip', words, { env: { HOME: folder, NO_COLOR: '1' } });
    await eventually(
      'the gateway listens',
      () => gateway.output.includes('listening on'),
      PATIENCE,
      () => gateway.output,
    );
    await serveOctets(scope, network);
    await user.up(scope, settings());
  });
  afterAll(() => scope.close());

  test('ping and curl reach what is behind the gateway, as they are', async () => {
    await user.pings(network.right.inside);
    await expectDownload(user, network);
    const { stdout } = await user.inside('id', '-u');
    expect(stdout.trim()).toBe('65534');
  });

  test('the machine does not notice', async () => {
    expect((await user.outside('ip', '-o', 'link')).stdout).not.toMatch(TUN_DEVICE);
    expect((await user.outside('ip', 'rule')).stdout).not.toMatch(/^45\d\d:/m);
    expect((await user.outside('ping', '-q', '-c', '1', '-W', '1', network.right.inside)).status).not.toBe(0);
  });

  test('names are asked of the server that the gateway told of, inside alone', async () => {
    expect((await user.inside('cat', '/etc/resolv.conf')).stdout).toContain(`nameserver ${network.right.inside}\n`);
    expect((await run('cat', ['/etc/resolv.conf'])).stdout).not.toContain(network.right.inside);
    expect((await user.inside('curl', '-sS', '-m', '100', 'http://files.example.com:9000/name')).stdout).toBe('files.example.com');
  });

  test('status says which plane it is and how to come in', async () => {
    const status = (await user.status()) as { plane: string; enter: readonly string[] };
    expect(status).toMatchObject({ plane: 'netns', enter: expect.arrayContaining(['nsenter', '--preserve-credentials']) });
    expect(user.log()).toContain('data plane: netns');
    expect(user.log()).toContain('a program in it: tunnelwright exec -- COMMAND');
  });

  test('what no tunnel leads to is told at once, not lost in silence', async () => {
    const { status, stderr } = await user.inside('ping', '-c', '1', '-W', '1', network.right.address);
    expect([status, stderr]).toEqual([2, expect.stringContaining('unreachable')]);
  });

  test(`no packet is lost over ${REKEYINGS} rekeyings of the child`, async () => {
    const [own] = (await user.control.sas()).ikeSas[0]!.assigned;
    const command = [user.network, process.execPath, compiled('echoes'), own!, network.right.inside];
    const load = new Daemon(scope, 'echoes', 'nsenter', command, { stdin: true });
    const { spis, sent, ...counts } = await rekeyedUnder(load, [user, lender()], REKEYINGS);
    expect(counts).toEqual({ received: sent, repeated: 0, lost: 0 });
    expect([spis, sent > 10 * REKEYINGS]).toEqual([REKEYINGS, true]);
  });

  test('MOBIKE under packets that never cease: what is lost over two moves was under way on the path that died', async () => {
    const ping = ['nsenter', user.network, 'ping', '-n', '-i', '0.01', network.right.inside] as const;
    await movedUnder({ gateway: lender(), host: network.left, moves: 2, ping, log: () => user.log() });
  });

  test('killed, it lets nothing out: a program inside has no network left', async () => {
    const shell = user.shell(scope);
    const reach = `ping -q -c 1 -W 10 ${network.right.inside}`;
    expect((await shell.runs(reach)).status).toBe(0);
    await user.end('SIGKILL');
    await eventually('the device has gone', async () => !(await shell.runs('ip -o link')).output.includes('tw0'));
    const before = await user.sent();
    expect((await shell.runs('ip -o link')).output.split('\n')).toEqual([expect.stringMatching(/^1: lo:/)]);
    expect((await shell.runs('ip -o route list table all type unicast')).output).toBe('');
    for (const to of [network.right.inside, network.right.address, network.left.address])
      expect(await shell.runs(`ping -q -c 1 -W 1 ${to}`)).toMatchObject({
        output: expect.stringMatching(/unreachable|No route/),
        status: 2,
      });
    expect((await shell.runs(`curl -sS -m 5 http://${network.right.inside}:9000/`)).status).toBe(7);
    expect((await shell.runs(`${process.execPath} -e '${TRY_HARD}' ${network.right.inside} ${network.right.address}`)).output).toBe(
      'tried 400',
    );
    // neighbours are asked after, and the gateway is told that nobody listens any more
    expect((await user.sent()) - before).toBeLessThan(100);
    expect((await shell.runs('nsenter --net=/proc/1/ns/net true')).status).not.toBe(0);
  });

  test('the next one starts as if nothing had been, and Ctrl-C leaves nothing', async () => {
    await user.up(scope, settings());
    await user.pings(network.right.inside);
    await user.end('SIGINT');
    expect((await user.outside('ip', '-o', 'link')).stdout).not.toMatch(TUN_DEVICE);
  });
});

describeForUser(STRONGSWAN, 'the netns plane of an ordinary user, and strongSwan', () => {
  test('ping and curl pass', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-netns-'));
      scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
      await chmod(folder, 0o755);
      const network = await createNetwork(scope);
      const { left: host, right: peer } = network;
      await addInside(peer);
      const identities = await createIdentities(folder, 'psk');
      const swanctl = swanctlConf({ host: peer, peer: host, identity: identities.right, ike: IKE, esp: ESP });
      const theirs = await Strongswan.start(scope, { folder: join(folder, 'swan'), host: peer, swanctl });
      const user = new User(host, join(folder, 'user'));
      await serveOctets(scope, network);
      await user.up(scope, configuration({ host, peer, identity: identities.left, ike: IKE, esp: ESP }));
      await user.pings(peer.inside);
      await expectDownload(user, network);
      await user.end('SIGINT');
      expect(theirs.log()).not.toContain('integrity check failed');
    } finally {
      await scope.close();
    }
  });
});

/** Behind the gateway: octets that follow from nothing but their number, and their sum. */
async function serveOctets(scope: Scope, { right }: Network): Promise<void> {
  const words = ['netns', 'exec', right.namespace, process.execPath, '-e', SERVE, right.inside];
  const server = new Daemon(scope, 'a server behind the gateway', 'ip', words);
  await eventually(
    'the server listens',
    () => server.output.includes('listening'),
    PATIENCE,
    () => server.output,
  );
}

async function expectDownload(user: User, { right }: Network): Promise<void> {
  const address = `http://${right.inside}:9000`;
  const { stdout: sum } = await user.inside('curl', '-sS', '-m', '100', `${address}/sum`);
  const got = await user.inside('sh', '-c', `curl -sS -m 100 ${address}/octets | sha256sum`);
  expect(got.stdout.split(' ')[0], got.stderr).toBe(sum);
}

/** Datagrams to wherever a packet in clear could come from. */
const TRY_HARD = `
const socket = require("node:dgram").createSocket("udp4").on("error", () => undefined);
let tried = 0;
for (let i = 0; i < 200; i++)
  for (const to of process.argv.slice(1))
    socket.send("in clear", 9, to, () => { if (++tried === 400) { console.log("tried", tried); process.exit(); } });`;

/** HTTP, and a DNS server (RFC 1035 §4.1) to which every name is ours. */
const SERVE = `
const { createHash, randomBytes } = require('node:crypto');
const octets = randomBytes(16 << 20);
const sum = createHash('sha256').update(octets).digest('hex');
require('node:http').createServer((request, answer) => 
  answer.end(request.url === '/sum' ? sum : request.url === '/name' ? request.headers.host.split(':')[0] : octets))
  .listen(9000, process.argv[1], () => dns.bind(53, process.argv[1], () => console.log('listening')));
const dns = require('node:dgram').createSocket('udp4').on('message', (query, { address, port }) => {
  const end = query.indexOf(0, 12) + 5;
  const wanted = query.readUInt16BE(end - 4);
  const answer = wanted === 1 ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...process.argv[1].split('.').map(Number)] : [];
  const header = [query[0], query[1], 0x81, 0x80, 0, 1, 0, answer.length && 1, 0, 0, 0, 0];
  dns.send(Buffer.from([...header, ...query.subarray(12, end), ...answer]), port, address);
});`;
