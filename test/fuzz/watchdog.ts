import { Worker } from 'node:worker_threads';

/**
 * A thread that looks on while inputs are run. An input that never ends blocks its own thread for good, timeouts and all; this one then
 * says which it was and ends the process.
 */
export class Watchdog {
  static #one: Watchdog | undefined;
  readonly #shared = new SharedArrayBuffer(HEADER + LONGEST_NAME + LONGEST);
  readonly #state = new Int32Array(this.#shared, 0, 3);
  readonly #name = new Uint8Array(this.#shared, HEADER, LONGEST_NAME);
  readonly #octets = new Uint8Array(this.#shared, HEADER + LONGEST_NAME);

  private constructor() {
    const workerData = { shared: this.#shared, seconds: SECONDS, header: HEADER, longestName: LONGEST_NAME };
    new Worker(LOOK_ON, { eval: true, workerData }).unref();
  }

  /** One is enough for targets that take turns: a thread costs more than hundreds of inputs. */
  static ofThisProcess(): Watchdog {
    Watchdog.#one ??= new Watchdog();
    return Watchdog.#one;
  }

  /** Before each input. */
  watch(target: string, input: Uint8Array): void {
    this.#state[NAME_LENGTH] = new TextEncoder().encodeInto(target, this.#name).written;
    this.#octets.set(input.subarray(0, LONGEST));
    this.#state[LENGTH] = Math.min(input.length, LONGEST);
    Atomics.add(this.#state, COUNT, 1);
  }

  /** After the last one. */
  rest(): void {
    Atomics.store(this.#state, COUNT, 0);
  }
}

const SECONDS = 20;
const COUNT = 0;
const LENGTH = 1;
const NAME_LENGTH = 2;
const HEADER = 12;
const LONGEST_NAME = 128;
const LONGEST = 65_536;

const LOOK_ON = `
const { workerData: { shared, seconds, header, longestName } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const state = new Int32Array(shared, 0, 3);
let last = 0;
setInterval(() => {
  const count = Atomics.load(state, 0);
  if (count !== 0 && count === last) {
    const target = Buffer.from(shared, header, state[2]).toString();
    const input = Buffer.from(shared, header + longestName, state[1]);
    writeSync(2, target + ': an input does not end within ' + seconds + ' s. ' + input.length + ' octets, base64:\\n' + input.toString('base64') + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = count;
}, seconds * 1000);
`;
