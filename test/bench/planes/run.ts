import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addInside, createNetwork, type Network } from '../../interop/support/network.ts';
import { eventually, must, run } from '../../interop/support/process.ts';
import { createIdentities } from '../../interop/support/profile.ts';
import { Scope } from '../../interop/support/scope.ts';
import { cpuSeconds } from '../measure.ts';
import type { Checks } from './checks.ts';
import type { Contestant, Path, PathName } from './contestant.ts';
import type { Direction, Load, OnOff, Sample } from './report.ts';
import { TcpFlow } from './tcp.ts';
import { UdpFlow, type UdpResult } from './udp.ts';

export interface Lengths {
  readonly rounds: number;
  /** Seconds of a TCP run. */
  readonly tcp: number;
  /** Seconds at the rate that the search found. */
  readonly udp: number;
}

/** Measures all contestants in one go, in turn, so that whatever else the machine does meets all alike. */
export async function measurePlanes(
  contestants: readonly Contestant[],
  { rounds, tcp, udp }: Lengths,
  told: (sample: Sample) => void,
): Promise<{ readonly checks: Checks; readonly samples: readonly Sample[] }> {
  const scope = new Scope();
  try {
    const folder = await temporaryFolder(scope);
    const lanes: Lane[] = [];
    for (const contestant of contestants) lanes.push(await Lane.start(scope, join(folder, contestant.name), contestant));
    const checks = await lanes.find(({ name }) => name === 'tunnelwright')?.checks?.();
    if (checks === undefined) throw new Error('nobody is there who could be seen to check packets');
    const samples: Sample[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const { load, streams, offloads, direction } of plan()) {
        // nobody is always the first after a change
        for (const lane of turned(lanes, round)) {
          await lane.setOffloads(offloads);
          const measured = await twice(() =>
            load === 'tcp' ? lane.tcp(direction, streams, tcp) : lane.udp(direction, Number(load.slice(3)), udp),
          );
          const sample: Sample = { path: lane.name, load, offloads, direction, streams, ...measured };
          samples.push(sample);
          told(sample);
        }
      }
    }
    return { checks, samples };
  } finally {
    await scope.close();
  }
}

/** @returns every combination that is measured, in the order in which they are shown */
function plan(): readonly Pick<Sample, 'load' | 'streams' | 'offloads' | 'direction'>[] {
  return LOADS.flatMap((load) =>
    (['on', 'off'] as const).flatMap((offloads) =>
      (['forward', 'reverse'] as const).map((direction) => ({ ...load, offloads, direction })),
    ),
  );
}

type Measured = Pick<Sample, 'gbps' | 'kpps' | 'cpuNsPerPacket' | 'retransmits' | 'senderLimits'>;

/** One contestant with its hosts and what sends and receives on them. */
class Lane {
  readonly name: PathName;
  readonly checks: Path['checks'];
  readonly #network: Network;
  readonly #path: Path;
  readonly #tcp: TcpFlow;
  readonly #udp: Readonly<Record<Direction, UdpFlow>>;
  #offloads: OnOff = 'on';

  private constructor(name: PathName, network: Network, path: Path, tcp: TcpFlow, udp: Readonly<Record<Direction, UdpFlow>>) {
    this.name = name;
    this.checks = path.checks;
    this.#network = network;
    this.#path = path;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  static async start(scope: Scope, folder: string, contestant: Contestant): Promise<Lane> {
    const network = await createNetwork(scope);
    const { left, right } = network;
    for (const host of [left, right]) {
      await must('ip', ['-n', host.namespace, 'link', 'set', host.device, 'mtu', `${MTU}`]);
      await addInside(host);
    }
    const path = await contestant.start(scope, { folder, network, identities: await createIdentities(folder, 'psk') });
    const ping = ['netns', 'exec', left.namespace, 'ping', '-q', '-c', '1', '-W', '2', '-I', left.inside, right.inside];
    await eventually(
      `packets pass by way of ${contestant.name}`,
      async () => (await run('ip', ping)).status === 0,
      30_000,
      () => path.log(),
    );
    const udp = { forward: await UdpFlow.start(scope, left, right), reverse: await UdpFlow.start(scope, right, left) };
    return new Lane(contestant.name, network, path, await TcpFlow.start(scope, left, right), udp);
  }

  async setOffloads(wanted: OnOff): Promise<void> {
    if (this.#offloads === wanted) return;
    const features = OFFLOADS.flatMap((feature) => [feature, wanted]);
    for (const { namespace, device } of [this.#network.left, this.#network.right])
      await must('ip', ['netns', 'exec', namespace, 'ethtool', '-K', device, ...features]);
    this.#offloads = wanted;
  }

  async tcp(direction: Direction, streams: number, seconds: number): Promise<Measured> {
    const before = this.#spent();
    const result = await this.#tcp.measure(direction, streams, seconds);
    const spent = this.#spent() - before;
    return { ...this.#rates(result.octets, result.packets, result.seconds, spent), retransmits: result.retransmits, senderLimits: false };
  }

  async udp(direction: Direction, octets: number, seconds: number): Promise<Measured> {
    let spent = 0;
    const around = async (held: () => Promise<UdpResult>): Promise<UdpResult> => {
      const before = this.#spent();
      const result = await held();
      spent = this.#spent() - before;
      return result;
    };
    const { packets, seconds: passed, senderLimits } = await this.#udp[direction].throughput(octets, seconds, around);
    return { ...this.#rates(packets * octets, packets, passed, spent), retransmits: null, senderLimits };
  }

  #rates(octets: number, packets: number, seconds: number, spent: number): Pick<Sample, 'gbps' | 'kpps' | 'cpuNsPerPacket'> {
    const daemons = this.#path.daemons.length;
    return {
      gbps: (octets * 8) / seconds / 1e9,
      kpps: packets / seconds / 1e3,
      cpuNsPerPacket: daemons === 0 || packets === 0 ? null : (spent / daemons / packets) * 1e9,
    };
  }

  /** Seconds of processor that the daemons have used. */
  #spent(): number {
    return this.#path.daemons.reduce<number>((sum, pid) => sum + cpuSeconds(pid), 0);
  }
}

/** A measurement that failed is made once more; the second failure ends the run. */
async function twice<T>(measure: () => Promise<T>): Promise<T> {
  try {
    return await measure();
  } catch (error) {
    process.stderr.write(`once more after: ${(error as Error).message.split('\n')[0]}\n`);
    return await measure();
  }
}

async function temporaryFolder(scope: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-planes-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  scope.defer(folder, () => {
    process.removeListener('exit', remove);
    remove();
  });
  return folder;
}

const turned = <T>(items: readonly T[], by: number): readonly T[] => items.map((_, i) => items[(i + by) % items.length]!);

export const MTU = 1500;
const OFFLOADS = ['tso', 'gso', 'gro', 'tx-udp-segmentation'];
const LOADS: readonly { readonly load: Load; readonly streams: number }[] = [
  { load: 'tcp', streams: 1 },
  { load: 'tcp', streams: 4 },
  { load: 'udp64', streams: 1 },
  { load: 'udp1300', streams: 1 },
];
