import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dialogue } from '../interop/support/dialogue.ts';
import { addInside, createNetwork, type Host, type Network } from '../interop/support/network.ts';
import { Daemon, eventually, must, PATIENCE, run } from '../interop/support/process.ts';
import { createIdentities, type Identity } from '../interop/support/profile.ts';
import { Scope } from '../interop/support/scope.ts';
import { configuration } from '../interop/support/tunnelwright.ts';
import type { Flows, Received } from './flows-load.ts';
import { cpuSeconds, type Row, row } from './measure.ts';
import { TcpFlow } from './planes/tcp.ts';

/**
 * The plane in user space against itself: `SUITES`, or `TUNNELS`. All stand at once and are measured in turn, so that whatever else the machine
 * does meets all alike; what each comes to beside the first is taken round by round.
 */
export async function* measureTun(variants: readonly Variant[], rounds: number, quick: boolean): AsyncGenerator<Row> {
  const scope = new Scope();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tun-'));
    scope.defer(folder, () => rm(folder, { recursive: true, force: true }));
    const lanes: Lane[] = [];
    for (const variant of variants) lanes.push(await Lane.start(scope, join(folder, `${lanes.length}`), variant));
    for (let round = 0; round <= rounds; round++) {
      // the first round is for what is compiled on the way
      for (const lane of lanes) await lane.measure(quick || round === 0 ? 1 : 4, round > 0);
    }
    yield* rowsOf(lanes, '', 'Gbit/s', ({ gbps }) => gbps);
    yield* rowsOf(lanes, ', a daemon’s processor', 'ns/KiB', ({ cost }) => cost);
  } finally {
    await scope.close();
  }
}

function* rowsOf(lanes: readonly Lane[], note: string, unit: string, pick: (lane: Lane) => readonly number[]): Generator<Row> {
  const [first, ...others] = lanes;
  for (const lane of lanes) yield row(`${TCP}${lane.variant.name}${note}`, OURS, unit, pick(lane));
  for (const lane of others) {
    const percent = pick(lane).map((value, round) => (value / pick(first!)[round]!) * 100);
    yield row(`${TCP}${lane.variant.name}${note}, beside ${first!.variant.name}`, OURS, '%', percent);
  }
}

export interface Variant {
  readonly name: string;
  readonly esp: string;
  readonly v6?: true;
  /** TCP streams, each between two addresses of its own; one between the usual ones unless given. */
  readonly flows?: number;
  /** CHILD_SAs, one for each pair of addresses; one for all unless given. */
  readonly tunnels?: number;
}

/** Sends for so long. */
type Measure = (seconds: number) => Promise<{ readonly octets: number; readonly seconds: number }>;

class Lane {
  readonly variant: Variant;
  readonly gbps: number[] = [];
  /** Of both ends, the mean. */
  readonly cost: number[] = [];
  readonly #daemons: readonly Daemon[];
  readonly #octets: Measure;

  private constructor(variant: Variant, daemons: readonly Daemon[], octets: Measure) {
    this.variant = variant;
    this.#daemons = daemons;
    this.#octets = octets;
  }

  static async start(scope: Scope, folder: string, variant: Variant): Promise<Lane> {
    const network = await createNetwork(scope);
    for (const host of [network.left, network.right]) await prepare(host);
    const identities = await createIdentities(folder, 'psk');
    const daemons = [
      await start(scope, join(folder, 'right'), network.right, network.left, identities.right, variant),
      await start(scope, join(folder, 'left'), network.left, network.right, identities.left, variant),
    ];
    const log = (): string => daemons.map(({ output }) => output.slice(-2000)).join('\n');
    const [from, to] = variant.v6 ? [LEFT_V6, RIGHT_V6] : [network.left.inside, network.right.inside];
    const ping = ['netns', 'exec', network.left.namespace, 'ping', '-q', '-c', '1', '-W', '2', '-I', from, to];
    await eventually('packets pass', async () => (await run('ip', ping)).status === 0, PATIENCE, log);
    for (const host of [network.left, network.right])
      await eventually('all tunnels stand', async () => (await routes(host)) >= (variant.tunnels ?? 1), 5 * PATIENCE, log);
    return new Lane(
      variant,
      daemons,
      variant.flows === undefined ? await oneStream(scope, network, variant) : await many(scope, network, variant.flows),
    );
  }

  async measure(seconds: number, counts: boolean): Promise<void> {
    const before = this.#spent();
    const { octets, seconds: passed } = await this.#octets(seconds);
    const spent = this.#spent() - before;
    if (!counts) return;
    this.gbps.push((octets * 8) / passed / 1e9);
    this.cost.push((spent / this.#daemons.length / (octets / 1024)) * 1e9);
  }

  #spent(): number {
    return this.#daemons.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  }
}

async function oneStream(scope: Scope, { left, right }: Network, { v6 }: Variant): Promise<Measure> {
  const ends = v6
    ? [
        { ...left, inside: LEFT_V6 },
        { ...right, inside: RIGHT_V6 },
      ]
    : [left, right];
  const flow = await TcpFlow.start(scope, ends[0]!, ends[1]!);
  return (seconds) => flow.measure('forward', 1, seconds);
}

async function many(scope: Scope, { left, right }: Network, flows: number): Promise<Measure> {
  const begin = (host: Host, role: string): Promise<Dialogue> =>
    Dialogue.start(scope, `flows: ${role}`, 'ip', ['netns', 'exec', host.namespace, process.execPath, LOAD, role, PORT]);
  const receiver = await begin(right, 'receive');
  const sender = await begin(left, 'send');
  const received = async (): Promise<{ readonly octets: number; readonly at: number }> => ({
    octets: (await receiver.ask<object, Received>({})).octets,
    at: performance.now(),
  });
  return async (seconds) => {
    await sender.ask<Flows, Flows>({ flows });
    await sleep(1000);
    const before = await received();
    await sleep(seconds * 1000);
    const after = await received();
    await sender.ask<Flows, Flows>({ flows: 0 });
    return { octets: after.octets - before.octets, seconds: (after.at - before.at) / 1000 };
  };
}

/** Whatever begins with 10.1. is the left end's, and so on: an address of its own for each flow, and none for the gateway to listen at. */
async function prepare(host: Host): Promise<void> {
  await addInside(host);
  const side = host.inside.split('.')[1]!;
  await must('ip', ['-n', host.namespace, 'route', 'add', 'local', `10.${side}.4.0/22`, 'dev', 'lo']);
  await must('ip', ['-n', host.namespace, 'addr', 'add', `fd00:${side}::1/64`, 'dev', 'lo', 'nodad']);
}

async function start(scope: Scope, folder: string, host: Host, peer: Host, identity: Identity, variant: Variant): Promise<Daemon> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'tunnelwright.yaml');
  const [own, theirs] = [host, peer].map(({ inside }) => inside.split('.')[1]!);
  const { esp, tunnels = 0 } = variant;
  const settings = configuration({
    ...{ host, peer, identity, ike: IKE, esp },
    child: {
      local_ts: `10.${own}.0.0/${tunnels > 0 ? 24 : 16}, fd00:${own}::/64`,
      remote_ts: `10.${theirs}.0.0/${tunnels > 0 ? 24 : 16}, fd00:${theirs}::/64`,
    },
    children: Object.fromEntries(
      Array.from({ length: tunnels }, (_, i) => {
        const behind = `${4 + (i >> 8)}.${i & 255}/32`;
        return [`host-${i}`, { local_ts: `10.${own}.${behind}`, remote_ts: `10.${theirs}.${behind}`, esp_proposals: esp }];
      }),
    ),
  });
  await writeFile(file, JSON.stringify({ ...settings, plane: 'tun', control: { socket: join(folder, 'control.sock') } }), { mode: 0o600 });
  const words = own === '2' ? ['serve'] : ['up', 'net'];
  const command = [process.execPath, join('dist', 'cli', 'main.js'), ...words, '--plane', 'tun', '--config', file];
  const daemon = new Daemon(scope, 'tunnelwright', 'ip', ['netns', 'exec', host.namespace, ...command], {
    env: { HOME: folder, NO_COLOR: '1' },
  });
  const device = ['-n', host.namespace, '-o', 'link', 'show', 'type', 'tun'];
  await eventually(
    'the device is there',
    async () => (await must('ip', device)) !== '',
    PATIENCE,
    () => daemon.output,
  );
  return daemon;
}

/** Routes into the tunnel: one for each network of the peer's. */
async function routes({ namespace }: Host): Promise<number> {
  const all = await must('ip', ['-n', namespace, '-4', 'route', 'show', 'table', 'all']);
  return all.split('\n').filter((line) => / dev tw\d/.test(line) && line.startsWith('10.')).length;
}

const OURS = 'Tunnelwright';
const TCP = 'TCP through tun, ';
/** One stream. */
export const SUITES: readonly Variant[] = [
  { name: 'aes128gcm16', esp: 'aes128gcm16' },
  { name: 'aes256gcm16', esp: 'aes256gcm16' },
  { name: 'chacha20poly1305', esp: 'chacha20poly1305' },
  { name: 'aes128gcm16 over IPv6', esp: 'aes128gcm16', v6: true },
];
const MANY = 1000;
/** The other end is one gateway. */
export const TUNNELS: readonly Variant[] = [
  { name: `${MANY} streams in one tunnel`, esp: 'aes128gcm16', flows: MANY },
  { name: `${MANY} streams in ${MANY} tunnels`, esp: 'aes128gcm16', flows: MANY, tunnels: MANY },
  { name: 'one stream in one tunnel', esp: 'aes128gcm16' },
];
const IKE = 'aes128gcm16-prfsha256-x25519';
const LEFT_V6 = 'fd00:1::1';
const RIGHT_V6 = 'fd00:2::1';
/** `flows-load.ts`, compiled. */
const LOAD = join('dist', '.tools', 'test', 'bench', 'flows-load.js');
const PORT = '5203';
