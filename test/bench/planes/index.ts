import { writeFileSync } from 'node:fs';
import { commandExists } from '../../interop/support/process.ts';
import { printTable } from '../table.ts';
import type { Contestant } from './contestant.ts';
import { plain } from './contestants/plain.ts';
import { strongswan } from './contestants/strongswan.ts';
import { tunnelwright } from './contestants/tunnelwright.ts';
import { wireguardGo } from './contestants/wireguard-go.ts';
import { loadTitle, type Report, rowsOf, type Sample, tableOf } from './report.ts';
import { type Lengths, MTU, measurePlanes } from './run.ts';
import { planesSvg } from './svg.ts';

export interface PlaneOptions {
  /** Whom to measure beside ours, such as `strongswan,wireguard-go,plain`. */
  readonly against: string;
  readonly rounds: number;
  readonly quick: boolean;
  /** Files to write; `-` in place of the table. */
  readonly json?: string | undefined;
  readonly svg?: string | undefined;
}

/** The data planes side by side. @returns the table */
export async function benchPlanes(options: PlaneOptions, facts: Readonly<Record<string, string>>): Promise<string> {
  const contestants = chosen(options.against);
  for (const [command, packaged] of Object.entries(COMMANDS))
    if (!commandExists(command)) throw new Error(`needs ${command} (package ${packaged})`);
  // one for each process and namespace
  process.setMaxListeners(100);
  // the usual end of a process by a signal takes nothing along that it has made
  const ends = { SIGINT: 130, SIGTERM: 143 } as const;
  for (const [signal, status] of Object.entries(ends)) process.once(signal, () => process.exit(status));
  const lengths: Lengths = options.quick ? { rounds: options.rounds, tcp: 1, udp: 0.5 } : { rounds: options.rounds, tcp: 4, udp: 2 };
  const { checks, samples } = await measurePlanes(contestants, lengths, tell);
  const { commit = '', node = '' } = facts;
  const report: Report = { commit, node, mtu: MTU, checks, rows: rowsOf(samples) };
  const text = `${JSON.stringify(report, undefined, 2)}\n`;
  if (options.json !== undefined && options.json !== '-') writeFileSync(options.json, text);
  if (options.svg !== undefined) writeFileSync(options.svg, planesSvg(report));
  if (options.json === '-') return text;
  const limited = [...new Set(samples.filter(({ senderLimits }) => senderLimits).map(({ path, load }) => `${path} with ${load}`))];
  const notes = [
    'UDP: the highest rate at which 99 of 100 datagrams arrive.',
    ...(limited.length > 0 ? [`The sender was the limit: ${limited.join(', ')}.`] : []),
  ];
  return `${printTable({ ...facts, mtu: `${MTU}` }, tableOf(samples))}${notes.join(' ')}\n`;
}

/** Ours, and those asked for; who cannot take part is left out, and why is said. */
function chosen(against: string): readonly Contestant[] {
  const asked = new Set<string>(['tunnelwright', ...against.split(',').filter((name) => name !== '')]);
  const unknown = [...asked].filter((name) => !CONTESTANTS.some((contestant) => contestant.name === name));
  if (unknown.length > 0)
    throw new Error(`no contestant ${unknown.join(', ')}; there are ${CONTESTANTS.map(({ name }) => name).join(', ')}`);
  const present = CONTESTANTS.filter((contestant) => {
    if (!asked.has(contestant.name)) return false;
    const missing = contestant.missing();
    if (missing !== undefined) process.stderr.write(`${contestant.name}: left out, needs ${missing}\n`);
    return missing === undefined;
  });
  if (present.length === 0) throw new Error('nobody is left to measure');
  return present;
}

function tell({ path, load, streams, offloads, direction, gbps, kpps, cpuNsPerPacket, retransmits, senderLimits }: Sample): void {
  const rate = load === 'tcp' ? `${gbps.toFixed(2)} Gbit/s, ${retransmits} segments again` : `${kpps.toFixed(1)} kpps`;
  const cost = cpuNsPerPacket === null ? '' : `, ${cpuNsPerPacket.toFixed(0)} ns a packet`;
  const limit = senderLimits ? ', the sender was the limit' : '';
  process.stderr.write(`${path.padEnd(12)} ${loadTitle(load, streams)}, ${direction}, offloads ${offloads}: ${rate}${cost}${limit}\n`);
}

const CONTESTANTS: readonly Contestant[] = [tunnelwright, strongswan, wireguardGo, plain];

const COMMANDS = { ip: 'iproute2', ss: 'iproute2', ping: 'iputils-ping', iperf3: 'iperf3', ethtool: 'ethtool' };
