import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlClient } from '../../src/product/control/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { addInside } from '../interop/support/network.ts';
import { Daemon, eventually, run } from '../interop/support/process.ts';
import { createIdentities } from '../interop/support/profile.ts';
import { Scope } from '../interop/support/scope.ts';
import { configuration } from '../interop/support/tunnelwright.ts';
import { movedUnder } from '../interop/tun/moved-under.ts';
import { GUEST_ROOT, type Machine, NODE } from './support/machine.ts';
import { withMachine } from './support/suite.ts';

withMachine('the xfrm plane inside, the tun plane outside', (machine) => {
  const scope = new Scope();
  let ends: Ends;

  beforeAll(async () => {
    ends = await start(scope, machine());
  });
  afterAll(() => scope.close());

  test('packets pass either way, in UDP', async () => {
    await ends.pings();
    const { guest, outside, inside } = machine();
    expect((await outsideRun(outside.namespace, 'ping', '-q', '-c', '3', '-W', '5', '-I', outside.inside, inside.inside)).status).toBe(0);
    const states = await guest.must(`${IP} xfrm state`);
    expect(states.match(/encap type espinudp/g), states).toHaveLength(2);
    expect((await guest.must(`${IP} xfrm policy`)).match(/^\s+dir (in|out|fwd)/gm)?.length).toBeGreaterThanOrEqual(3);
  });

  test('status says which plane it is and what passed', async () => {
    const status = await ends.tell('status');
    expect(status).toContain('"plane":"xfrm"');
    expect(Number(/"bytesOut":(\d+)/.exec(status)?.[1])).toBeGreaterThan(0);
    expect(Number(/"bytesIn":(\d+)/.exec(status)?.[1])).toBeGreaterThan(0);
  });

  test('no packet is lost over rekeyings of the child, and the policies stay', async () => {
    const { guest, inside, outside } = machine();
    const before = await guest.must(`${IP} xfrm policy`);
    const spis = await ends.spis();
    const pinging = outsideRun(outside.namespace, 'ping', '-q', '-i', '0.02', '-c', '500', '-W', '5', '-I', outside.inside, inside.inside);
    for (let i = 0; i < 2; i++) await ends.tell('rekey', 'net', '--children');
    expect((await pinging).stdout).toMatch(/500 received, 0% packet loss/);
    for (const spi of await ends.spis()) expect(spis).not.toContain(spi);
    expect(await guest.must(`${IP} xfrm policy`)).toBe(before);
  });

  test('files pass by sockets of the machine: sent while the child is rekeyed, listed, got, and received', async () => {
    const { guest, outside } = machine();
    const { folder } = ends.outside;
    const there = `${outside.inside}:`;
    const [inbox, share] = [join(folder, 'inbox'), join(folder, 'share')];
    await guest.must(`mkdir -p /tmp/files/many /tmp/received; head -c ${LARGE} /dev/urandom > /tmp/files/large
      for i in 1 2 3 4 5 6 7 8 9; do echo $i > /tmp/files/many/$i; done`);
    const before = await ends.spis();
    await guest.must(
      `{ ${ends.command('send', '/tmp/files/large', there, '--limit', '64K')} > /tmp/sent 2>&1; echo $? > /tmp/sent.status; } & echo`,
    );
    await ends.outside.control.rekey({ connection: 'net', children: true });
    await eventually(
      'it is sent',
      async () => (await guest.run('test -s /tmp/sent.status')).status === 0,
      LONG,
      () => `${ends.outside.log()}${guest.log()}`,
    );
    expect(await guest.must('cat /tmp/sent; cat /tmp/sent.status')).toMatch(/\n0\n$/);
    for (const spi of await ends.spis()) expect(before).not.toContain(spi);
    expect(digest(await readFile(join(inbox, 'large')))).toBe((await guest.must('sha256sum /tmp/files/large')).split(' ')[0]);
    await ends.tell('send', '/tmp/files/many', there);
    expect((await readdir(join(inbox, 'many'))).sort()).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect(JSON.parse(await ends.tell('ls', there))).toMatchObject({ entries: [{ name: 'shared', size: SHARED.length }] });
    await ends.tell('get', `${there}shared`, '/tmp/files/');
    expect(await guest.must('sha256sum < /tmp/files/shared')).toContain(digest(SHARED));
    await received(join(share, 'shared'));
  });

  /** `receive` inside takes what is sent from outside. */
  async function received(file: string): Promise<void> {
    const { guest, outside, inside } = machine();
    const receiving = ends.tell('receive', '/tmp/received', '--count', '1');
    let said = '';
    await eventually(
      'it takes a file',
      async () => {
        // nobody may listen there yet
        const sending = [NODE, MAIN, 'send', file, `${inside.inside}:`, '--control', join(ends.outside.folder, 'control')];
        const { status, stdout, stderr } = await outsideRun(outside.namespace, ...sending);
        said = `${stdout}${stderr}`;
        return status === 0;
      },
      LONG,
      () => `${said}${ends.outside.log()}${guest.log()}`,
    );
    await receiving;
    expect(await guest.must('sha256sum < /tmp/received/shared')).toContain(digest(SHARED));
  }

  test('MOBIKE under packets that never cease: what is lost over four moves was under way on the path that died', async () => {
    const { guest, inside, outside } = machine();
    const ping = ['ip', 'netns', 'exec', outside.namespace, 'ping', '-n', '-i', '0.02', '-I', outside.inside, inside.inside] as const;
    const there = (script: string): Promise<string> => guest.must(script);
    await movedUnder({ gateway: ends.outside, host: { ...inside, device: 'eth0' }, moves: 4, ping, there, log: () => guest.log() });
    // the kernel's own, of a packet that came between two SAs, has no SPI
    const states = (await guest.must(`${IP} xfrm state`)).split(/^(?=src)/m).filter((state) => !state.includes('spi 0x00000000'));
    // what a rekeying has replaced may still be there, and moves along
    expect(states.length).toBeGreaterThanOrEqual(2);
    expect(states.filter((state) => !state.split('\n')[0]!.includes(inside.address))).toEqual([]);
  });

  test('killed, it lets nothing out in clear; the next one sweeps and goes on', async () => {
    const { guest, inside, outside } = machine();
    await guest.must(`kill -9 $(cat ${PID})`);
    const sent = async (): Promise<number> => Number(await guest.must('cat /sys/class/net/eth0/statistics/tx_packets'));
    const policies = await guest.must(`${IP} xfrm policy`);
    expect(policies).toContain('dir out');
    await guest.must(`${IP} xfrm state flush`);
    const before = await sent();
    expect((await guest.run(`ping -q -c 3 -W 1 -I ${inside.inside} ${outside.inside}`)).status).not.toBe(0);
    expect((await sent()) - before).toBeLessThan(3);
    await ends.again();
    await ends.pings();
    expect((await guest.must(`${IP} xfrm policy`)).match(/dir out/g)).toHaveLength(policies.match(/dir out/g)!.length);
  });

  test('ended it leaves nothing behind', async () => {
    const { guest } = machine();
    await guest.must(`kill -INT $(cat ${PID})`);
    await eventually(
      'it is gone',
      async () => (await guest.run(`kill -0 $(cat ${PID})`)).status !== 0,
      LONG,
      () => guest.log(),
    );
    expect(await guest.must(TABLES)).toBe(ends.before);
  });
});

interface Ends {
  /** What the kernel inside had in its tables. */
  readonly before: string;
  /** The one outside. */
  readonly outside: { readonly control: ControlClient; readonly folder: string; log(): string };
  /** The command line inside, as the shell there takes it. */
  command(...words: readonly string[]): string;
  /** What the command line inside says. */
  tell(...words: readonly string[]): Promise<string>;
  again(): Promise<void>;
  /** Until one comes back. */
  pings(): Promise<void>;
  spis(): Promise<readonly string[]>;
}

async function start(scope: Scope, { guest, outside, inside }: Machine): Promise<Ends> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-xfrm-'));
  scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
  await addInside(outside);
  const identities = await createIdentities(folder, 'psk');
  const suites = { ike: IKE, esp: ESP };
  const ours = configuration({
    ...{ host: outside, peer: inside, identity: identities.left, ...suites },
    connection: { ...PATIENT, remote_addrs: '%any' },
    sections: { transfer: { inbox: join(folder, 'inbox'), share: join(folder, 'share') } },
  });
  for (const name of ['inbox', 'share']) await mkdir(join(folder, name));
  await writeFile(join(folder, 'share', 'shared'), SHARED);
  const theirs = configuration({
    ...{ host: inside, peer: outside, identity: identities.right, ...suites },
    connection: { ...PATIENT, local_addrs: '%any' },
  });
  const file = join(folder, 'outside.yaml');
  await mkdir(folder, { recursive: true });
  await writeFile(file, JSON.stringify({ ...ours, plane: 'tun', control: { socket: join(folder, 'control') } }), { mode: 0o600 });
  const daemon = new Daemon(
    scope,
    'tunnelwright outside',
    'ip',
    ['netns', 'exec', outside.namespace, NODE, MAIN, 'serve', '--config', file],
    {
      env: { HOME: folder, NO_COLOR: '1' },
    },
  );
  const log = async (): Promise<string> => `${daemon.output}\n--- inside\n${(await guest.run(`tail -40 ${LOG}`)).stdout}\n${guest.log()}`;
  const again = async (): Promise<void> => {
    await guest.must(`NO_COLOR=1 ${NODE} ${GUEST_ROOT}/${MAIN} up net --config ${FILE} >> ${LOG} 2>&1 & echo $! > ${PID}`);
  };
  const command = (...words: readonly string[]): string =>
    `NO_COLOR=1 ${NODE} ${GUEST_ROOT}/${MAIN} ${words.join(' ')} --control ${SOCKET} --json`;
  const before = await guest.must(TABLES);
  await guest.write(FILE, JSON.stringify({ ...theirs, plane: 'xfrm', control: { socket: SOCKET } }));
  await again();
  return {
    before,
    outside: { control: new ControlClient(join(folder, 'control')), folder, log: () => daemon.output },
    again,
    command,
    tell: (...words) => guest.must(command(...words), 300),
    pings: async () => {
      let said = '';
      await eventually(
        'packets pass',
        async () => {
          if ((await guest.run(`ping -q -c 1 -W 2 -I ${inside.inside} ${outside.inside}`)).status === 0) return true;
          said = await log();
          return false;
        },
        LONG,
        () => said,
      );
    },
    spis: async () => (await guest.must(`${IP} xfrm state`)).match(/spi 0x\w+/g) ?? [],
  };
}

const outsideRun = (namespace: string, ...command: readonly string[]) => run('ip', ['netns', 'exec', namespace, ...command]);

const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
const LARGE = 2 ** 20;
const SHARED = new SeededRandom('shared').bytes(100_000);
const digest = (octets: Uint8Array): string => createHash('sha256').update(octets).digest('hex');
const PATIENT = { retransmission: { initial: '4s', base: 1.4, give_up: '60s' } };
const IP = '/usr/sbin/ip';
const TABLES = ['xfrm state', 'xfrm policy', 'rule', '-6 rule', '-4 route show table all', 'address show dev lo']
  .map((what) => `${IP} ${what}`)
  .join('; ');
const MAIN = 'dist/cli/main.js';
const FILE = '/tmp/tunnelwright.yaml';
const SOCKET = '/tmp/control';
const LOG = '/tmp/tunnelwright.log';
const PID = '/tmp/tunnelwright.pid';
/** Milliseconds. An emulated processor is some thirty times slower, and has to share the real one. */
const LONG = 400_000;
