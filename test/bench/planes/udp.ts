import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dialogue } from '../../interop/support/dialogue.ts';
import type { Host } from '../../interop/support/network.ts';
import type { Scope } from '../../interop/support/scope.ts';
import { highestRate } from './rate-search.ts';
import type { Asked, Counted, Sent, Step } from './udp-load.ts';

export interface UdpResult {
  /** Datagrams that arrived. */
  readonly packets: number;
  readonly seconds: number;
  /** Beyond this rate the sender was busy all the time and sent less than it was asked to: the path may carry more. */
  readonly senderLimits: boolean;
}

/**
 * The throughput of RFC 2544 §26.1, with one datagram in a hundred let off: the highest rate at which the others arrive. It is searched in
 * short steps, and held for longer at the end.
 */
export class UdpFlow {
  readonly #sender: Dialogue;
  readonly #receiver: Dialogue;
  /** The last rate found, where the next search begins. */
  readonly #found = new Map<number, number>();
  #step = 0;

  private constructor(sender: Dialogue, receiver: Dialogue) {
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /** @param target where the sender finds the receiver, if that is not its own address */
  static async start(scope: Scope, from: Host, to: Host, target: string = to.inside): Promise<UdpFlow> {
    const start = (host: Host, ...words: string[]): Promise<Dialogue> =>
      Dialogue.start(scope, `datagrams: ${words[0]}`, 'ip', ['netns', 'exec', host.namespace, process.execPath, SCRIPT, ...words]);
    const receiver = await start(to, 'receive', to.inside, PORT);
    return new UdpFlow(await start(from, 'send', target, PORT, from.inside), receiver);
  }

  /** @param held seconds at the rate found. @param around is called there, and given what came of it */
  async throughput(octets: number, held: number, around: (run: () => Promise<UdpResult>) => Promise<UdpResult>): Promise<UdpResult> {
    let senderLimits = false;
    const passes = async (rate: number): Promise<boolean> => {
      const { sent, received, keptUp, busy } = await this.#offer({ rate, octets, seconds: held / 5 });
      // where others kept it from running, the machine is the limit
      if (!keptUp) senderLimits = busy;
      return keptUp && received >= sent * ARRIVING;
    };
    const found = await highestRate(Math.max(FIRST, (this.#found.get(octets) ?? 0) * 0.7), passes);
    for (let rate = found; rate > 0; rate *= 0.93) {
      let passed = false;
      const result = await around(async () => {
        const { sent, received, seconds } = await this.#offer({ rate, octets, seconds: held });
        passed = received >= sent * ARRIVING;
        return { packets: received, seconds, senderLimits };
      });
      if (!passed && rate > found * 0.5) continue;
      this.#found.set(octets, rate);
      return result;
    }
    return { packets: 0, seconds: held, senderLimits };
  }

  async #offer(load: Omit<Step, 'step'>): Promise<Offered> {
    const step = ++this.#step;
    const { sent, seconds, busy } = await this.#sender.ask<Step, Sent>({ ...load, step });
    // what is still on its way
    await sleep(100);
    const { received } = await this.#receiver.ask<Asked, Counted>({ count: step });
    return { sent, received, seconds, keptUp: sent >= load.rate * seconds * 0.97, busy: busy >= seconds * 0.9 };
  }
}

interface Offered {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
  /** The sender sent what it was asked to. */
  readonly keptUp: boolean;
  /** The sender was busy all the time. */
  readonly busy: boolean;
}

/** `udp-load.ts`, compiled. */
const SCRIPT = join('dist', '.tools', 'test', 'bench', 'planes', 'udp-load.js');
export const PORT = '5202';
/** Datagrams a second at which the first search begins. */
const FIRST = 20_000;
const ARRIVING = 0.99;
