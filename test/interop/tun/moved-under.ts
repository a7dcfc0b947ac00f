import { createInterface } from 'node:readline';
import { expect } from 'vitest';
import type { ControlClient } from '../../../src/product/control/index.ts';
import type { Host } from '../support/network.ts';
import { Daemon, eventually, must, PATIENCE } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** One end of a tunnel whose only connection is `net`. */
interface End {
  readonly control: ControlClient;
  log(): string;
}

interface Moving {
  readonly client: End;
  readonly gateway: End;
  /** The client's. */
  readonly host: Host;
  readonly moves: number;
  /** A ping(8) that never ends, to the gateway. */
  readonly ping: readonly [command: string, ...words: readonly string[]];
}

/**
 * The client gets another address and loses the one that it had, so many times there and back, under echo requests. What is lost is what
 * was under way: the numbers that were not answered stand together, once for each move.
 */
export async function movedUnder(scope: Scope, { client, gateway, host, moves, ping }: Moving): Promise<void> {
  // the other address of the network stays: without that the kernel takes it along
  await must('ip', ['netns', 'exec', host.namespace, 'sysctl', '-qw', 'net.ipv4.conf.all.promote_secondaries=1']);
  const echoes = new Echoes(scope, ping);
  let [here, there] = [host.address, host.address.replace(/\d+$/, '77')];
  await echoes.goOn();
  for (let i = 0; i < moves; i++) {
    await must('ip', ['-n', host.namespace, 'addr', 'add', `${there}/24`, 'dev', host.device]);
    await must('ip', ['-n', host.namespace, 'addr', 'del', `${here}/24`, 'dev', host.device]);
    await eventually(
      'both ends know the new address',
      async () => (await ipOf(client, 'local')) === there && (await ipOf(gateway, 'remote')) === there,
      PATIENCE,
      () => `${client.log()}\n${gateway.log()}`,
    );
    await echoes.goOn();
    [here, there] = [there, here];
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

async function ipOf({ control }: End, end: 'local' | 'remote'): Promise<string | undefined> {
  const { ikeSas } = await control.sas();
  return ikeSas[0]?.[end].replace(/:\d+$/, '');
}

const SOME = 20;
