import { createInterface } from 'node:readline';
import { expect } from 'vitest';
import type { ControlClient } from '../../../src/product/control/index.ts';
import type { Host } from '../support/network.ts';
import { Daemon, eventually, must, PATIENCE } from '../support/process.ts';
import { Scope } from '../support/scope.ts';

/** One end of a tunnel whose only connection is `net`. */
interface End {
  readonly control: ControlClient;
  log(): string;
}

interface Moving {
  readonly gateway: End;
  /** The client's. */
  readonly host: Host;
  readonly moves: number;
  /** A ping(8) between the two that never ends. */
  readonly ping: readonly [command: string, ...words: readonly string[]];
  /** Runs something where the client is; in the namespace of `host` unless given. */
  readonly there?: (script: string) => Promise<unknown>;
  /** What the client said, for a test that fails. */
  log(): string;
}

/**
 * The client gets another address and loses the one that it had, so many times there and back, under echo requests. What is lost is what
 * was under way: the numbers that were not answered stand together, once for each move.
 */
export async function movedUnder({ ping, ...moving }: Moving): Promise<void> {
  const scope = new Scope();
  try {
    await move(new Echoes(scope, ping), moving);
  } finally {
    await scope.close();
  }
}

async function move(echoes: Echoes, { gateway, host, moves, log, there = inNamespaceOf(host) }: Omit<Moving, 'ping'>): Promise<void> {
  // the other address of the network stays: without that the kernel takes it along
  await there('echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries');
  let [address, next] = [host.address, host.address.replace(/\d+$/, '77')];
  await echoes.goOn();
  for (let i = 0; i < moves; i++) {
    await there(`ip addr add ${next}/24 dev ${host.device} && ip addr del ${address}/24 dev ${host.device}`);
    await eventually(
      'the gateway follows',
      async () => (await clientOf(gateway)) === next,
      PATIENCE,
      () => `${log()}\n${gateway.log()}`,
    );
    await echoes.goOn();
    [address, next] = [next, address];
  }
  const { answered, gaps } = echoes;
  const lost = gaps.reduce((sum, gap) => sum + gap, 0);
  console.log(`${lost} of ${answered.at(-1)} echo requests lost over ${moves} moves (${gaps.join(', ')})`);
  expect(gaps.length).toBeLessThanOrEqual(moves);
  expect(new Set(answered).size).toBe(answered.length);
}

class Echoes {
  /** The numbers of those that came back, in their order. */
  readonly answered: number[] = [];
  readonly #daemon: Daemon;

  constructor(scope: Scope, [command, ...words]: Moving['ping']) {
    this.#daemon = new Daemon(scope, 'ping', command, words);
    createInterface({ input: this.#daemon.child.stdout! }).on('line', (line) => {
      const number = /bytes from .* icmp_seq=(\d+)/.exec(line)?.[1];
      if (number !== undefined) this.answered.push(Number(number));
    });
  }

  /** Until some more are answered. */
  async goOn(): Promise<void> {
    const before = this.answered.length;
    await eventually(
      'echo requests are answered',
      () => this.answered.length >= before + SOME,
      PATIENCE,
      () => this.#daemon.output,
    );
  }

  /** How many were lost, each time that any were. */
  get gaps(): readonly number[] {
    return this.answered.flatMap((number, i) => (i > 0 && number > this.answered[i - 1]! + 1 ? [number - this.answered[i - 1]! - 1] : []));
  }
}

const inNamespaceOf =
  ({ namespace }: Host) =>
  (script: string): Promise<unknown> =>
    must('ip', ['netns', 'exec', namespace, 'sh', '-c', script]);

/** Where a gateway sees its only client. */
async function clientOf({ control }: End): Promise<string | undefined> {
  const { ikeSas } = await control.sas();
  return ikeSas[0]?.remote.replace(/:\d+$/, '');
}

const SOME = 20;
