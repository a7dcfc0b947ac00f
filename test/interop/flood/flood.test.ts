import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { toHex } from '../../../src/core/bytes/index.ts';
import type { EngineLoad } from '../../../src/host/engine/status.ts';
import { connect } from '../../../src/product/client/index.ts';
import { compile, configFrom } from '../../../src/product/config/index.ts';
import { ikeProposal } from '../../../src/testing/policies.ts';
import { initMessage, initPayloads } from '../../security/support/hand-made.ts';
import { compiled } from '../support/process.ts';

/** Forged requests each second that are asked for; a machine with other work sends what it can, and the test says how many that were. */
const RATE = 50_000;
const SOURCES = 256;
/** Honest clients, half of them one after another, half at once. */
const CLIENTS = 20;
/** A client whose datagram was lost in the flood tries again after a second, and again. */
const PATIENCE = 60_000;

interface Health {
  readonly load: EngineLoad;
  readonly rss: number;
  readonly cpu: NodeJS.CpuUsage;
  readonly received: number;
  readonly shed: number;
  readonly drops: Readonly<Record<string, number>>;
}

const running: ChildProcess[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

/** Each lasts so many seconds. */
const SETTINGS: readonly [string, number, Record<string, unknown>, (last: Health) => void][] = [
  [
    'cookies',
    12,
    {},
    ({ load: { strangers } }) => {
      expect(strangers.cookies).toBeGreaterThan(100);
      expect(strangers.unknown).toBe(0);
    },
  ],
  [
    'cookies, key exchanges in a worker',
    4,
    { workers: 1 },
    ({ load: { strangers, workers } }) => {
      expect(strangers.cookies).toBeGreaterThan(100);
      expect(workers).toMatchObject({ workers: 1, crashes: 0 });
    },
  ],
  [
    'known peers alone',
    4,
    { limits: { known_peers: ['127.0.0.1'] } },
    ({ load: { strangers, halfOpen }, drops }) => {
      expect(strangers).toMatchObject({ cookies: 0 });
      expect(strangers.unknown).toBeGreaterThan(100);
      expect(drops['unknown-source']).toBe(strangers.unknown);
      expect(halfOpen).toBeLessThanOrEqual(1);
    },
  ],
];

test.each(SETTINGS)(
  '%s: while forged requests pour in, every honest client connects, and memory stays',
  async (what, seconds, settings, check) => {
    const gateway = await Gateway.start(settings);
    const flood = startFlood(gateway.ike, seconds);
    await gateway.seesFlood(flood);
    const early = await gateway.ask();
    const began = performance.now();
    const took: number[] = [];
    for (let n = 0; n < CLIENTS / 2; n++) took.push(await connectOnce(gateway, n));
    took.push(...(await Promise.all(Array.from({ length: CLIENTS / 2 }, (_, n) => connectOnce(gateway, CLIENTS / 2 + n)))));
    const connected = performance.now() - began;
    const { perSecond, cpu } = await flood;
    const late = await gateway.ask();
    report(what, { perSecond, cpu, connected, took }, early, late);
    expect(took).toHaveLength(CLIENTS);
    // what a flood leaves behind is bounded; a megabyte a second would be a leak
    expect(late.rss - early.rss).toBeLessThan(24 * 2 ** 20);
    expect(late.load.halfOpen).toBeLessThanOrEqual(32 + CLIENTS);
    expect(late.load.ikeSas).toBeLessThanOrEqual(CLIENTS + 33);
    check(late);
  },
);

/** @returns milliseconds */
async function connectOnce({ ike, nat }: Gateway, n: number): Promise<number> {
  const began = performance.now();
  const tunnel = await connect({
    config: compile(
      configFrom({
        connections: {
          road: {
            remote_addrs: '127.0.0.1',
            remote_port: ike,
            remote_nat_port: nat,
            local: [{ auth: 'psk', id: `client-${n}@example.com` }],
            remote: [{ auth: 'psk', id: 'gateway.example' }],
            vips: '0.0.0.0',
            children: { net: { remote_ts: '0.0.0.0/0' } },
          },
        },
        secrets: PSK,
      }),
    ),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const took = performance.now() - began;
  await tunnel.close();
  return took;
}

class Gateway {
  readonly ike: number;
  readonly nat: number;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  static async start(settings: Record<string, unknown>): Promise<Gateway> {
    const child = spawn(process.execPath, ['--expose-gc', compiled('flooded')], { stdio: ['pipe', 'pipe', 'inherit'] });
    running.push(child);
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stdin!.write(`${JSON.stringify({ ...CONFIGURATION, ...settings })}\n`);
    const { value } = await lines.next();
    return new Gateway(child, lines, JSON.parse(value as string) as { ike: number; nat: number });
  }

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, { ike, nat }: { readonly ike: number; readonly nat: number }) {
    this.#child = child;
    this.#lines = lines;
    this.ike = ike;
    this.nat = nat;
  }

  /** Its answers to what the flood brings are the first thing to wait for, or the end of a flood that this machine had no time for. */
  async seesFlood(flood: Promise<unknown>): Promise<void> {
    let over = false;
    const end = () => {
      over = true;
    };
    flood.then(end, end);
    while (!over && (await this.ask()).received < 1000) await sleep(50);
  }

  async ask(): Promise<Health> {
    this.#child.stdin!.write('\n');
    const { value } = await this.#lines.next();
    return JSON.parse(value as string) as Health;
  }
}

interface Flood {
  readonly sent: number;
  readonly perSecond: number;
  /** Seconds of processor time. */
  readonly cpu: number;
}

async function startFlood(port: number, seconds: number): Promise<Flood> {
  const message = toHex(initMessage(initPayloads({ proposals: [ikeProposal('aes256gcm16-prfsha384-x25519')] })));
  const child = spawn(process.execPath, [compiled('flooder'), ...[port, SOURCES, seconds, RATE].map(String), message], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.push(child);
  const said: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the flood ended with ${code}`);
  return JSON.parse(Buffer.concat(said).toString()) as Flood;
}

function report(
  what: string,
  { perSecond, cpu, connected, took }: Pick<Flood, 'perSecond' | 'cpu'> & { readonly connected: number; readonly took: readonly number[] },
  early: Health,
  late: Health,
): void {
  const sorted = [...took].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1] ?? 0;
  const megabytes = (octets: number) => (octets / 2 ** 20).toFixed(0);
  const seconds = (late.cpu.user + late.cpu.system - early.cpu.user - early.cpu.system) / 1e6;
  const received = late.received - early.received;
  console.log(
    `${what}: ${perSecond} forged requests/s offered (${RATE} asked for, ${cpu.toFixed(1)} s of processor time); ` +
      `gateway: ${received} received, ${late.shed - early.shed} shed, ${((seconds / received) * 1e6).toFixed(1)} µs of processor time each; ` +
      `${took.length} clients in ${(connected / 1000).toFixed(1)} s, median ${middle.toFixed(0)} ms, slowest ${sorted.at(-1)?.toFixed(0)} ms; ` +
      `resident ${megabytes(early.rss)} → ${megabytes(late.rss)} MiB; ${JSON.stringify(late.load.strangers)}`,
  );
}

const PSK = { key: { kind: 'psk', secret: 'a key that both ends know' } };
const CONFIGURATION = {
  listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
  connections: {
    clients: {
      local: [{ auth: 'psk', id: 'gateway.example' }],
      remote: [{ auth: 'psk' }],
      pools: ['lan'],
      children: { net: { local_ts: '0.0.0.0/0', remote_ts: 'dynamic' } },
    },
  },
  pools: { lan: { addrs: '10.66.0.0/16' } },
  secrets: PSK,
};
