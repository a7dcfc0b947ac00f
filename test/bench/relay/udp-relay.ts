// node udp-relay.js FRONT BACK BEHIND PORT,PORT…
// A NAT: what a client sends to a port at FRONT leaves from BACK to the same port at BEHIND, and what comes from there goes back to that client. The
// first one leaves from the same port as well, each other one (who asks how long a mapping lasts is one) from a port of its own.
// It says what the path between is like when it is asked to change it.
import { servingPlatform } from '../../../src/host/platform/system.ts';
import type { UdpSocket } from '../../../src/host/platform/udp.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { answering } from '../../interop/support/dialogue.ts';

/** Of each direction. */
export interface PathConditions {
  /** Of datagrams, 0 to 1; the same ones for everybody who asks. */
  readonly loss: number;
  /** Milliseconds. */
  readonly delay: number;
}

const [front = '', back = '', behind = '', ports = ''] = process.argv.slice(2);
// many datagrams in a call, where that can be: it is not the relay that is to be measured
const { udp } = await servingPlatform();
const LARGE = { receiveBuffer: 8 << 20, sendBuffer: 8 << 20 };
let conditions: PathConditions = { loss: 0, delay: 0 };
let random = new SeededRandom('path');

/** Datagrams of one direction, in the order in which they came: all take as long. */
class Direction {
  readonly #waiting: { readonly at: number; readonly data: Uint8Array; readonly send: (data: Uint8Array) => void }[] = [];
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  pass(data: Uint8Array, send: (data: Uint8Array) => void): void {
    const { loss, delay } = conditions;
    if (loss > 0 && random.chance(loss)) return;
    if (delay === 0) return send(data);
    this.#waiting.push({ at: performance.now() + delay, data: Uint8Array.from(data), send });
    this.#timer ??= setTimeout(() => this.#deliver(), delay);
  }

  #deliver(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (let due = this.#waiting[this.#next]; due !== undefined && due.at <= now; due = this.#waiting[++this.#next]) due.send(due.data);
    const next = this.#waiting[this.#next];
    if (this.#next > KEPT) {
      this.#waiting.splice(0, this.#next);
      this.#next = 0;
    }
    if (next !== undefined) this.#timer = setTimeout(() => this.#deliver(), Math.max(0, next.at - now));
  }
}

/** Datagrams that have left and are let go of together. */
const KEPT = 4096;
const CLIENTS = 256;
const [outward, inward] = [new Direction(), new Direction()];

for (const port of ports.split(',').map(Number)) {
  /** What takes the datagrams of a client on, once its socket is open. */
  const mappings = new Map<string, ((data: Uint8Array) => void) | undefined>();
  const open = async (ip: string, from: number): Promise<void> => {
    const far = await udp.bind({
      ip: back,
      port: mappings.size === 1 ? port : 0,
      ...LARGE,
      onDatagram: (data) => inward.pass(data, (passed) => void near.send(passed, ip, from)),
    });
    mappings.set(`${ip} ${from}`, (data) => void far.send(data, behind, port));
  };
  const near: UdpSocket = await udp.bind({
    ip: front,
    port,
    ...LARGE,
    onDatagram: (data, ip, from) => {
      const client = `${ip} ${from}`;
      const outwards = mappings.get(client);
      if (outwards !== undefined) outward.pass(data, outwards);
      else if (!mappings.has(client) && mappings.size < CLIENTS) {
        // what comes until it is open is lost, as with any network that is slow to begin
        mappings.set(client, undefined);
        void open(ip, from);
      }
    },
  });
}
answering((wanted: PathConditions): PathConditions => {
  conditions = wanted;
  random = new SeededRandom('path');
  return conditions;
});
