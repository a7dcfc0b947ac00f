import { Worker } from 'node:worker_threads';

/**
 * A thread that looks on while inputs are run. An input that never ends blocks its own thread for good, timeouts and all; this one then
 * says which it was and ends the process.
 */
export class Watchdog {
  readonly #shared = new SharedArrayBuffer(HEADER + LONGEST);
  readonly #state = new Int32Array(this.#shared, 0, 2);
  readonly #octets = new Uint8Array(this.#shared, HEADER);
  readonly #worker: Worker;

  constructor(target: string, seconds = 20) {
    this.#worker = new Worker(LOOK_ON, { eval: true, workerData: { shared: this.#shared, target, seconds, header: HEADER } });
    this.#worker.unref();
  }

  /** Before each input. */
  watch(input: Uint8Array): void {
    this.#octets.set(input.subarray(0, LONGEST));
    this.#state[LENGTH] = Math.min(input.length, LONGEST);
    Atomics.add(this.#state, COUNT, 1);
  }

  stop(): void {
    Atomics.store(this.#state, COUNT, 0);
    void this.#worker.terminate();
  }
}

const COUNT = 0;
const LENGTH = 1;
const HEADER = 8;
const LONGEST = 65_536;

const LOOK_ON = `
const { workerData: { shared, target, seconds, header } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const state = new Int32Array(shared, 0, 2);
let last = 0;
setInterval(() => {
  const count = Atomics.load(state, 0);
  if (count !== 0 && count === last) {
    const input = Buffer.from(shared, header, state[1]);
    writeSync(2, target + ': an input does not end within ' + seconds + ' s. ' + input.length + ' octets, base64:\\n' + input.toString('base64') + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = count;
}, seconds * 1000);
`;
