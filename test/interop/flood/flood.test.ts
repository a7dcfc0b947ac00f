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
const SECONDS = 4;
const SOURCES = 256;
/** A client whose datagram was lost in the flood tries again after a second, and again. */
const PATIENCE = 30_000;

interface Health {
  readonly load: EngineLoad;
  readonly rss: number;
  readonly cpu: NodeJS.CpuUsage;
  readonly received: number;
  readonly drops: Readonly<Record<string, number>>;
}

const running: ChildProcess[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

const SETTINGS: readonly [string, Record<string, unknown>, (last: Health) => void][] = [
  [
    'cookies',
    {},
    ({ load: { strangers } }) => {
      expect(strangers.cookies).toBeGreaterThan(1000);
      expect(strangers.unknown).toBe(0);
    },
  ],
  [
    'cookies, key exchanges in a worker',
    { workers: 1 },
    ({ load: { strangers, workers } }) => {
      expect(strangers.cookies).toBeGreaterThan(1000);
      expect(workers).toMatchObject({ workers: 1, crashes: 0 });
    },
  ],
  [
    'known peers alone',
    { limits: { known_peers: ['127.0.0.1'] } },
    ({ load: { strangers, halfOpen }, drops }) => {
      expect(strangers).toMatchObject({ cookies: 0 });
      expect(strangers.unknown).toBeGreaterThan(1000);
      expect(drops['unknown-source']).toBe(strangers.unknown);
      expect(halfOpen).toBeLessThanOrEqual(1);
    },
  ],
];

test.each(SETTINGS)('%s: while forged requests pour in, every honest client connects, and memory stays', async (what, settings, check) => {
  const gateway = await Gateway.start(settings);
  const flood = startFlood(gateway.ike);
  await sleep(500);
  const early = await gateway.ask();
  const began = performance.now();
  const ends = began + (SECONDS - 1) * 1000;
  const took: number[] = [];
  for (let n = 0; performance.now() < ends; n++) took.push(await connectOnce(gateway, n));
  const late = await gateway.ask();
  const served = Math.round(((late.received - early.received) / (performance.now() - began)) * 1000);
  const { perSecond } = await flood;
  report(what, perSecond, served, took, early, late);
  expect(took.length).toBeGreaterThan(0);
  // what a flood leaves behind is bounded; a megabyte a second would be a leak
  expect(late.rss - early.rss).toBeLessThan(24 * 2 ** 20);
  expect(late.load.halfOpen).toBeLessThanOrEqual(32 + 1);
  expect(late.load.ikeSas).toBeLessThanOrEqual(took.length + 33);
  check(late);
});

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

  async ask(): Promise<Health> {
    this.#child.stdin!.write('\n');
    const { value } = await this.#lines.next();
    return JSON.parse(value as string) as Health;
  }
}

async function startFlood(port: number): Promise<{ readonly sent: number; readonly perSecond: number }> {
  const message = toHex(initMessage(initPayloads({ proposals: [ikeProposal('aes256gcm16-prfsha384-x25519')] })));
  const child = spawn(process.execPath, [compiled('flooder'), ...[port, SOURCES, SECONDS, RATE].map(String), message], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.push(child);
  const said: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the flood ended with ${code}`);
  return JSON.parse(Buffer.concat(said).toString()) as { sent: number; perSecond: number };
}

function report(what: string, asked: number, served: number, took: readonly number[], early: Health, late: Health): void {
  const sorted = [...took].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1] ?? 0;
  const megabytes = (octets: number) => (octets / 2 ** 20).toFixed(0);
  console.log(
    `${what}: ${asked} forged requests/s sent, ${served}/s received; ${took.length} clients, median ${middle.toFixed(0)} ms, slowest ${sorted.at(-1)?.toFixed(0)} ms; ` +
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
