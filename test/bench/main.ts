import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import process from 'node:process';
import { NAMESPACES, STRONGSWAN as PEER, STRONGSWAN_6, STRONGSWAN_6_ROOT } from '../interop/support/requirements.ts';
import { SUITES as ESP_SUITES, measureEsp } from './esp.ts';
import { measureCookies, measureRekeyings } from './exchange-rate.ts';
import { measureIkeRate } from './ike-rate.ts';
import { type Row, row } from './measure.ts';
import { measureChildren, measureMemory } from './memory.ts';
import { benchNetstack } from './netstack.ts';
import { measureOffload } from './offload.ts';
import { benchPlanes } from './planes/index.ts';
import { measureRelay, measureSmallFiles } from './relay/index.ts';
import { measureStack } from './stack/index.ts';
import { STRONGSWAN, SUITE, strongswan, TUNNELWRIGHT, tunnelwright } from './subjects.ts';
import { printTable } from './table.ts';
import { measureTun, SUITES, TUNNELS } from './tun.ts';

interface Options {
  readonly only: string;
  readonly rounds: number;
  readonly quick: boolean;
  readonly json: boolean;
}

interface Section {
  readonly name: string;
  /** Needs root, network namespaces and strongSwan. */
  readonly peer?: true;
  rows(options: Options): AsyncGenerator<Row>;
}

const PLANES = 'planes';
const FLAGS = ['--only', '--rounds', '--quick', '--json', '--vs', '--svg'];
const SECTIONS: readonly Section[] = [
  {
    name: 'ike',
    peer: true,
    async *rows({ rounds, quick }) {
      for (const auth of ['psk', 'ecdsa'] as const) {
        for (const subject of [TUNNELWRIGHT, STRONGSWAN]) yield await measureIkeRate(subject, { auth }, rounds, quick ? 100 : 500);
      }
    },
  },
  {
    name: 'workers',
    peer: true,
    async *rows({ rounds, quick }) {
      for (const auth of ['psk', 'ecdsa'] as const)
        for (const workers of [1, 2]) yield await measureIkeRate(tunnelwright(workers), { auth }, rounds, quick ? 100 : 500);
    },
  },
  {
    name: 'ml-kem',
    peer: true,
    async *rows({ rounds, quick }) {
      const missing = STRONGSWAN_6.missing();
      if (missing !== undefined) return void process.stderr.write(`ml-kem: skipped, needs ${missing}\n`);
      const profile = { suite: `${SUITE}-ke1_mlkem768` };
      for (const subject of [TUNNELWRIGHT, tunnelwright(1), tunnelwright(2), strongswan(STRONGSWAN_6_ROOT)])
        yield await measureIkeRate(subject, { auth: 'psk', profile, root: STRONGSWAN_6_ROOT }, rounds, quick ? 50 : 200);
    },
  },
  {
    name: 'rekeyings',
    peer: true,
    async *rows({ rounds, quick }) {
      for (const subject of [TUNNELWRIGHT, STRONGSWAN]) yield await measureRekeyings(subject, rounds, quick ? 200 : 2000);
    },
  },
  {
    name: 'cookies',
    peer: true,
    async *rows({ rounds, quick }) {
      for (const subject of [TUNNELWRIGHT, STRONGSWAN]) yield await measureCookies(subject, rounds, quick ? 2000 : 20_000);
    },
  },
  {
    name: 'esp',
    async *rows({ rounds }) {
      for (const suite of ESP_SUITES) for (const octets of [64, 1400]) yield* measureEsp(suite, octets, rounds);
    },
  },
  {
    name: 'offload',
    async *rows({ rounds }) {
      yield* measureOffload(rounds);
    },
  },
  ...Object.entries({ 'tun-suites': SUITES, 'tun-tunnels': TUNNELS }).map(([name, variants]) => ({
    name,
    async *rows({ rounds, quick }: Options) {
      const missing = NAMESPACES.missing();
      if (missing !== undefined) return void process.stderr.write(`${name}: skipped, needs ${missing}\n`);
      yield* measureTun(variants, rounds, quick);
    },
  })),
  {
    name: 'netstack',
    async *rows({ rounds, quick }) {
      const runs = [];
      for (let i = 0; i < rounds; i++) runs.push(await benchNetstack(quick ? { cleanOctets: 64e6, lossyOctets: 16e6 } : {}));
      const ours = 'Tunnelwright';
      yield row(
        'TCP in the process, no loss',
        ours,
        'MB/s',
        runs.map(({ cleanMBps }) => cleanMBps),
      );
      yield row(
        'TCP in the process, 0.5 % loss',
        ours,
        'MB/s',
        runs.map(({ lossyMBps }) => lossyMBps),
      );
    },
  },
  {
    name: 'stack',
    async *rows({ rounds, quick }) {
      yield* measureStack(rounds, quick);
    },
  },
  {
    name: 'transfer-relay',
    peer: true,
    async *rows({ rounds, quick }) {
      yield* measureRelay(rounds, quick);
    },
  },
  {
    name: 'transfer-small',
    peer: true,
    async *rows({ rounds, quick }) {
      yield* measureSmallFiles(rounds, quick);
    },
  },
  {
    name: 'child-memory',
    async *rows({ rounds }) {
      for (const count of [1000, 10_000]) yield await measureChildren(count, rounds);
    },
  },
  {
    name: 'memory',
    peer: true,
    async *rows({ quick }) {
      for (const subject of [TUNNELWRIGHT, STRONGSWAN]) yield await measureMemory(subject, 1000);
      // strongSwan's ESP in user space takes minutes for so many policies.
      if (!quick) yield await measureMemory(TUNNELWRIGHT, 10_000);
      for (const subject of [TUNNELWRIGHT, STRONGSWAN]) yield await measureMemory(subject, quick ? 1000 : 10_000, 'half-open');
    },
  },
];

const USAGE = `npm run bench [-- --only TEXT] [--rounds N] [--quick] [--json]
    sections whose name has TEXT in it: ${SECTIONS.map(({ name }) => name).join(', ')}
npm run bench -- --vs strongswan,wireguard-go,plain [--rounds N] [--quick] [--json [FILE]] [--svg FILE]
    the data planes side by side, as root, an hour; the same as --only ${PLANES}; --json without a FILE writes to standard output`;

const args = process.argv.slice(2);
if (args.includes('--help')) leave(USAGE, 0);
const options = readOptions(args);
const facts = { commit: commit(), node: process.version, openssl: process.versions.openssl, cpu: `${cpus().length} × ${cpus()[0]?.model}` };
process.stdout.write(options.only === PLANES ? await planes() : await sections());

async function sections(): Promise<string> {
  const rows: Row[] = [];
  const missing = PEER.missing();
  for (const section of SECTIONS.filter(({ name }) => name.includes(options.only))) {
    if (section.peer && missing !== undefined) {
      process.stderr.write(`${section.name}: skipped, needs ${missing}\n`);
      continue;
    }
    for await (const measured of section.rows(options)) {
      process.stderr.write(`${measured.what}, ${measured.subject}: ${measured.value.toPrecision(4)} ${measured.unit}\n`);
      rows.push(measured);
    }
  }
  return options.json ? `${JSON.stringify({ schema: 1, ...facts, rows }, undefined, 2)}\n` : printTable(facts, rows);
}

/** By name alone: they take an hour. */
async function planes(): Promise<string> {
  try {
    const missing = NAMESPACES.missing();
    if (missing !== undefined) throw new Error(`needs ${missing}`);
    const { rounds, quick } = options;
    const against = value(args, '--vs') ?? 'strongswan,wireguard-go,plain';
    const json = options.json ? (value(args, '--json') ?? '-') : undefined;
    return await benchPlanes({ against, rounds, quick, json, svg: value(args, '--svg') }, facts);
  } catch (error) {
    process.stderr.write(`${PLANES}: ${(error as Error).message}\n`);
    process.exitCode = 1;
    return '';
  }
}

function readOptions(args: readonly string[]): Options {
  const unknown = args.find((word) => word.startsWith('--') && !FLAGS.includes(word));
  if (unknown !== undefined) leave(`✗ ${unknown} is no option\n${USAGE}`, 2);
  const quick = args.includes('--quick');
  const rounds = Number(value(args, '--rounds') ?? (quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) leave(`✗ --rounds is a whole number from 1 on\n${USAGE}`, 2);
  const only = value(args, '--only') ?? (args.includes('--vs') ? PLANES : '');
  return { only, rounds, quick, json: args.includes('--json') };
}

/** What stands behind a flag; undefined where that is the next flag. */
function value(args: readonly string[], flag: string): string | undefined {
  const word = args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined;
  return word?.startsWith('--') ? undefined : word;
}

function leave(text: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(`${text}\n`);
  process.exit(code);
}

function commit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ', with changes'}`;
  } catch {
    return 'unknown';
  }
}
