// node udp-relay.js FRONT BACK BEHIND PORT,PORT…
// What comes to a port at FRONT leaves from the same port at BACK to BEHIND, and what comes from there goes to whoever was heard last at the
// front: one client, as behind a NAT. It says what the path between is like when it is asked to change it.
import { systemUdp, type UdpSocket } from '../../../src/host/platform/udp.ts';
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
const [outward, inward] = [new Direction(), new Direction()];

for (const port of ports.split(',').map(Number)) {
  let client: { readonly ip: string; readonly port: number } | undefined;
  let far: UdpSocket | undefined;
  const near = await systemUdp.bind({
    ip: front,
    port,
    ...LARGE,
    onDatagram: (data, ip, from) => {
      if (client?.port !== from || client.ip !== ip) client = { ip, port: from };
      outward.pass(data, (passed) => far?.send(passed, behind, port));
    },
  });
  far = await systemUdp.bind({
    ip: back,
    port,
    ...LARGE,
    onDatagram: (data) => inward.pass(data, (passed) => void (client && near.send(passed, client.ip, client.port))),
  });
}
answering((wanted: PathConditions): PathConditions => {
  conditions = wanted;
  random = new SeededRandom('path');
  return conditions;
});
