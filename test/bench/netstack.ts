import { type CongestionControlFactory, Stack, type TcpConnection } from '../../src/core/netstack/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';

export interface NetstackBench {
  /** Payload in millions of octets per second, both stacks on one thread. */
  readonly cleanMBps: number;
  /** The same with one packet in two hundred lost, in both directions. */
  readonly lossyMBps: number;
  /** The clean one by processor time of this process: what a machine that is busy with other things does not blur. */
  readonly cleanMBpsOfProcessor: number;
}

export interface NetstackBenchOptions {
  /** Octets to carry. */
  readonly cleanOctets?: number;
  readonly lossyOctets?: number;
  readonly mtu?: number;
  readonly congestion?: CongestionControlFactory;
}

/**
 * Two stacks in memory, back to back, as fast as the processor goes: one TCP connection carries octets one way and a sum over every
 * octet is compared. Not a test: it says how fast, and throws when what arrived is not what was sent.
 */
export function benchNetstack(options: NetstackBenchOptions = {}): Promise<NetstackBench> {
  const { cleanOctets = 512e6, lossyOctets = 128e6 } = options;
  // The first pass compiles.
  transfer(32e6, 0.005, options);
  const before = process.cpuUsage();
  const cleanMBps = transfer(cleanOctets, 0, options);
  const { user, system } = process.cpuUsage(before);
  const lossyMBps = transfer(lossyOctets, 0.005, options);
  return Promise.resolve({ cleanMBps, lossyMBps, cleanMBpsOfProcessor: cleanOctets / (user + system) });
}

function transfer(octets: number, loss: number, options: NetstackBenchOptions): number {
  const { mtu = 1500, congestion } = options;
  const random = new SeededRandom(`${octets} ${loss}`);
  const tcp = congestion === undefined ? {} : { congestion };
  const secret = (length: number): Uint8Array => random.bytes(length);
  const a = new Stack({ addresses: ['10.0.0.1'], mtu, random: { secret }, tcp });
  const b = new Stack({ addresses: ['10.0.0.2'], mtu, random: { secret }, tcp });
  const listener = b.listen({ port: 9 });
  const client = a.connect({ ip: '10.0.0.2', port: 9 }, performance.now());
  const source = new Source(random.bytes(1 << 20), octets);
  const sink = new Sink(source.pattern);
  let server: TcpConnection | undefined;
  const began = performance.now();
  while (sink.received < octets) {
    const now = performance.now();
    if (now - began > DEADLINE) throw new Error(`${sink.received} of ${octets} octets after ${DEADLINE} ms`);
    source.feed(client);
    let moved = carry(a, b, loss, random, now);
    server ??= listener.accept();
    if (server !== undefined) sink.drain(server);
    moved += carry(b, a, loss, random, now);
    if (moved === 0) wait(a, b, now);
  }
  const seconds = (performance.now() - began) / 1000;
  if (sink.mismatch) throw new Error('what arrived is not what was sent');
  return octets / 1e6 / seconds;
}

/** One batch from one stack to the other. */
function carry(from: Stack, to: Stack, loss: number, random: SeededRandom, now: number): number {
  let count = 0;
  for (; count < BATCH; count++) {
    const packet = from.poll(now);
    if (packet === undefined) break;
    if (loss === 0 || !random.chance(loss)) to.receive(packet, now);
  }
  return count;
}

/** Nothing moves: only a timer can help, and it is waited for in full. */
function wait(a: Stack, b: Stack, now: number): void {
  for (const stack of [a, b]) if ((stack.nextDeadline() ?? Number.POSITIVE_INFINITY) <= now) stack.expire(now);
}

class Source {
  readonly pattern: Uint8Array;
  #left: number;
  #at = 0;

  constructor(pattern: Uint8Array, octets: number) {
    this.pattern = pattern;
    this.#left = octets;
  }

  feed(connection: TcpConnection): void {
    while (this.#left > 0) {
      const chunk = this.pattern.subarray(this.#at, this.#at + Math.min(CHUNK, this.#left));
      const taken = connection.write(chunk);
      this.#at = (this.#at + taken) % this.pattern.length;
      this.#left -= taken;
      if (taken < chunk.length) return;
    }
  }
}

class Sink {
  received = 0;
  mismatch = false;
  readonly #pattern: Buffer;
  readonly #into = Buffer.alloc(CHUNK);

  constructor(pattern: Uint8Array) {
    this.#pattern = Buffer.from(pattern);
  }

  drain(connection: TcpConnection): void {
    for (let length = connection.read(this.#into); length > 0; length = connection.read(this.#into)) {
      for (let done = 0; done < length; ) {
        const at = this.received % this.#pattern.length;
        const size = Math.min(length - done, this.#pattern.length - at);
        if (this.#pattern.compare(this.#into, done, done + size, at, at + size) !== 0) this.mismatch = true;
        done += size;
        this.received += size;
      }
    }
  }
}

const CHUNK = 65536;
const BATCH = 2;
const DEADLINE = 120_000;
