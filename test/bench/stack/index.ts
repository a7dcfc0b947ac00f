import { fileURLToPath } from 'node:url';
import type { CongestionName } from '../../../src/core/netstack/index.ts';
import { Dialogue } from '../../interop/support/dialogue.ts';
import { Scope } from '../../interop/support/scope.ts';
import { type Row, row } from '../measure.ts';
import type { Answers, Question } from './questions.ts';

interface Path {
  readonly what: string;
  readonly congestion: CongestionName;
  /** ESP of both ends in threads of their own. */
  readonly espThread?: boolean;
  /** Through a relay in a process of its own; directly unless given. */
  readonly relay?: { readonly loss: number; readonly delay: number };
  readonly seconds: number;
  readonly octets: number;
}

/** The in-process stack in a process at each end of a tunnel over UDP on loopback. */
export async function* measureStack(rounds: number, quick: boolean): AsyncGenerator<Row> {
  const octets = quick ? 64 * MEBI : 1024 * MEBI;
  const forever = Number.MAX_SAFE_INTEGER;
  // shorter than whoever asks waits
  const long = quick ? 10 : 45;
  const paths: readonly Path[] = (['bbr', 'cubic'] as const).flatMap((congestion) => [
    { what: `no loss, ${congestion}`, congestion, seconds: 300, octets },
    { what: `0.5 % loss, ${congestion}`, congestion, relay: { loss: 0.005, delay: 0 }, seconds: long / 4, octets: forever },
    { what: `0.5 % loss, 100 ms, ${congestion}`, congestion, relay: { loss: 0.005, delay: 50 }, seconds: long, octets: forever },
  ]);
  for (const path of paths) yield* measurePath(path, rounds);
  yield* measurePath({ what: 'no loss, bbr, ESP in a thread', congestion: 'bbr', espThread: true, seconds: 300, octets }, rounds);
  yield* measureSetUps(rounds, quick ? 2000 : 20_000);
  yield await measureIdle(quick ? 1000 : 10_000);
}

async function* measurePath(path: Path, rounds: number): AsyncGenerator<Row> {
  const rates: number[] = [];
  const costs: number[] = [];
  const mains: number[] = [];
  for (let i = 0; i < rounds; i++) {
    await withHosts(path, async (a, b) => {
      // The first octets compile.
      await ask(a, { ask: 'send', seconds: 2, octets: 32 * MEBI });
      const before = await processorSeconds(a, b);
      const mainBefore = await mainSeconds(a, b);
      const { octets, seconds } = await ask(a, { ask: 'send', seconds: path.seconds, octets: path.octets });
      rates.push(octets / 1e6 / seconds);
      costs.push((((await processorSeconds(a, b)) - before) * 1e9) / octets);
      mains.push((((await mainSeconds(a, b)) - mainBefore) * 1e9) / octets);
    });
  }
  yield row(`TCP between processes in ESP, ${path.what}`, OURS, 'MB/s', rates);
  yield row(`processor of both ends in ESP, ${path.what}`, OURS, 'ns/octet', costs);
  yield row(`of it, threads of TCP and the application, ${path.what}`, OURS, 'ns/octet', mains);
}

async function* measureSetUps(rounds: number, count: number): AsyncGenerator<Row> {
  const rates: number[] = [];
  const costs: number[] = [];
  for (let i = 0; i < rounds; i++) {
    await withHosts({ congestion: 'bbr' }, async (a, b) => {
      await ask(a, { ask: 'setUp', count: count / 4 });
      const before = await processorSeconds(a, b);
      const { seconds } = await ask(a, { ask: 'setUp', count });
      rates.push(count / seconds);
      costs.push((((await processorSeconds(a, b)) - before) * 1e6) / count);
    });
  }
  yield row('TCP connections set up in ESP', OURS, '1/s', rates);
  yield row('processor of both ends, a connection set up', OURS, 'µs', costs);
}

async function processorSeconds(...hosts: readonly Dialogue[]): Promise<number> {
  let sum = 0;
  for (const host of hosts) sum += (await ask(host, { ask: 'state' })).processorSeconds;
  return sum;
}

async function mainSeconds(...hosts: readonly Dialogue[]): Promise<number> {
  let sum = 0;
  for (const host of hosts) sum += (await ask(host, { ask: 'state' })).mainSeconds;
  return sum;
}

async function measureIdle(count: number): Promise<Row> {
  let octets = 0;
  await withHosts({ congestion: 'bbr' }, async (a) => {
    await ask(a, { ask: 'setUp', count: 100 });
    const before = await ask(a, { ask: 'state' });
    await ask(a, { ask: 'hold', count });
    const after = await ask(a, { ask: 'state' });
    if (after.connections < count) throw new Error(`${after.connections} of ${count} connections stand`);
    octets = after.memory - before.memory;
  });
  return row(`${count} idle TCP connections, one end`, OURS, 'MiB', [octets / MEBI]);
}

async function withHosts(
  { congestion, relay, espThread = false }: Pick<Path, 'congestion' | 'relay' | 'espThread'>,
  use: (a: Dialogue, b: Dialogue) => Promise<void>,
): Promise<void> {
  const scope = new Scope();
  try {
    const a = await Dialogue.start(scope, 'host a', process.execPath, ['--expose-gc', END]);
    const b = await Dialogue.start(scope, 'host b', process.execPath, ['--expose-gc', END]);
    await ask(a, { ask: 'open', end: 'a', congestion, espThread });
    const { port } = await ask(b, { ask: 'open', end: 'b', congestion, espThread });
    await ask(a, { ask: 'peer', port: relay === undefined ? port : await relayTo(scope, port, relay) });
    await use(a, b);
  } finally {
    await scope.close();
  }
}

async function relayTo(scope: Scope, port: number, { loss, delay }: { loss: number; delay: number }): Promise<number> {
  const relay = await Dialogue.start(scope, 'relay', process.execPath, [RELAY, ...[port, loss, delay].map(String)]);
  return (await relay.ask<object, { port: number }>({})).port;
}

const ask = <Ask extends Question['ask']>(host: Dialogue, question: Extract<Question, { ask: Ask }>): Promise<Answers[Ask]> =>
  host.ask(question);

const END = fileURLToPath(new URL('./end.js', import.meta.url));
const RELAY = fileURLToPath(new URL('./relay.js', import.meta.url));

const OURS = 'Tunnelwright';
const MEBI = 1024 * 1024;
