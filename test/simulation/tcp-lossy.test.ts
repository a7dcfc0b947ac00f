import { describe, expect, test } from 'vitest';
import { type CongestionControlFactory, Ready, type StackOptions, type TcpConnection } from '../../src/core/netstack/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { A4, A6, B4, B6, Pair } from '../core/netstack/support/pair.ts';

interface Wire {
  readonly loss: number;
  readonly delay: number;
  /** Added at random: packets overtake one another. */
  readonly jitter: number;
  readonly duplicate: number;
  /** One wrong bit. */
  readonly corrupt: number;
}

const CALM: Wire = { loss: 0, delay: 10, jitter: 0, duplicate: 0, corrupt: 0 };

interface Run {
  readonly seed: number;
  readonly wire: Wire;
  readonly octets: number;
  readonly six?: boolean;
  readonly a?: StackOptions['tcp'];
  readonly b?: StackOptions['tcp'];
  /** The receiver reads as slowly as this: octets per millisecond. */
  readonly appetite?: number;
}

interface Outcome {
  readonly took: number;
  readonly pair: Pair;
  readonly peakMemory: number;
}

/** Both sides send `octets` to one another at once, check every octet and its place, and close in order. */
function exchange(run: Run): Outcome {
  const random = new SeededRandom(run.seed, 'wire');
  const pair = new Pair({
    seed: run.seed,
    ...(run.a === undefined ? {} : { a: { tcp: run.a } }),
    ...(run.b === undefined ? {} : { b: { tcp: run.b } }),
    fate: (packet) => fateOf(run.wire, random, packet),
  });
  const listener = pair.b.listen({ port: 80 });
  const client = new Talker(pair.a.connect({ ip: run.six === true ? B6 : B4, port: 80 }, 0), run, 1);
  let server: Talker | undefined;
  let peakMemory = 0;
  pair.onStep = () => {
    const accepted = server === undefined ? listener.accept() : undefined;
    if (accepted !== undefined) server = new Talker(accepted, run, 2);
    client.act(pair.now);
    server?.act(pair.now);
    peakMemory = Math.max(peakMemory, pair.a.bufferMemory + pair.b.bufferMemory);
  };
  if (run.appetite !== undefined) pair.wake = () => (client.hungry || server?.hungry === true ? pair.now + 10 : undefined);
  const done = pair.run(3_600_000, () => client.done && server?.done === true);
  expect({ done, client: client.problem, server: server?.problem }, `seed ${run.seed}`).toEqual({
    done: true,
    client: undefined,
    server: undefined,
  });
  const took = pair.now;
  // TIME-WAIT and whatever was on its way: afterwards nothing is left.
  pair.run(pair.now + 600_000);
  expect([pair.a.connectionCount, pair.b.connectionCount, pair.a.bufferMemory, pair.b.bufferMemory]).toEqual([0, 0, 0, 0]);
  expect([pair.a.nextDeadline(), pair.b.nextDeadline()]).toEqual([undefined, undefined]);
  return { took, pair, peakMemory };
}

function fateOf(wire: Wire, random: SeededRandom, packet: Uint8Array): readonly number[] {
  if (random.chance(wire.loss)) return [];
  if (random.chance(wire.corrupt)) {
    const bit = random.between(0, packet.length * 8 - 1);
    packet[bit >>> 3] = packet[bit >>> 3]! ^ (1 << (bit & 7));
  }
  const arrival = wire.delay + random.fraction() * wire.jitter;
  return random.chance(wire.duplicate) ? [arrival, wire.delay + random.fraction() * wire.jitter * 2] : [arrival];
}

/** An application: writes its stream, reads the other one and compares. */
class Talker {
  problem: string | undefined;
  done = false;
  readonly #connection: TcpConnection;
  readonly #run: Run;
  readonly #mine: number;
  #written = 0;
  #read = 0;
  #allowed = 0;
  #lastAt = 0;
  readonly #into = new Uint8Array(65536);
  readonly #from = new Uint8Array(65536);

  constructor(connection: TcpConnection, run: Run, mine: number) {
    this.#connection = connection;
    this.#run = run;
    this.#mine = mine;
  }

  /** There is more to read than its appetite allows for now. */
  get hungry(): boolean {
    return !this.done && this.#connection.readable > 0;
  }

  act(now: number): void {
    if (this.done) return;
    const connection = this.#connection;
    if (connection.error !== undefined) this.#finish(`connection lost: ${connection.error}`);
    this.#write();
    this.#readAll(now);
    if (connection.ended && this.#written === this.#run.octets) {
      if (this.#read !== this.#run.octets) this.#finish(`${this.#read} octets instead of ${this.#run.octets}`);
      this.done = true;
    }
  }

  #write(): void {
    while (this.#written < this.#run.octets) {
      // One more than fits: the connection has to know that somebody waits.
      const length = Math.min(this.#from.length, this.#run.octets - this.#written, this.#connection.writable + 1);
      fill(this.#from, length, this.#mine, this.#written);
      const taken = this.#connection.write(this.#from.subarray(0, length));
      this.#written += taken;
      if (taken < length) break;
    }
    if (this.#written === this.#run.octets) this.#connection.shutdown();
  }

  #readAll(now: number): void {
    const { appetite } = this.#run;
    if (appetite !== undefined) this.#allowed = Math.min(65536, this.#allowed + (now - this.#lastAt) * appetite);
    this.#lastAt = now;
    for (;;) {
      const room = appetite === undefined ? this.#into : this.#into.subarray(0, Math.floor(this.#allowed));
      const length = room.length === 0 ? 0 : this.#connection.read(room);
      if (length === 0) return;
      this.#allowed -= length;
      for (let i = 0; i < length; i++) {
        if (this.#into[i] === octetAt(3 - this.#mine, this.#read + i)) continue;
        this.#finish(`octet ${this.#read + i} is wrong`);
        return;
      }
      this.#read += length;
    }
  }

  #finish(problem: string): void {
    this.problem ??= problem;
    this.done = true;
  }
}

const octetAt = (stream: number, at: number): number => (Math.imul(at + stream * 7919, 0x9e3779b1) >>> 24) & 0xff;

function fill(data: Uint8Array, length: number, stream: number, from: number): void {
  for (let i = 0; i < length; i++) data[i] = octetAt(stream, from + i);
}

/** A random but repeatable world. */
function worldOf(seed: number): Run {
  const random = new SeededRandom(seed, 'world');
  const tcp = (): StackOptions['tcp'] => ({
    sack: random.chance(0.8),
    timestamps: random.chance(0.7),
    windowScaling: random.chance(0.8),
    receiveBuffer: random.pick([4000, 16384, 65536, 262144]),
    maxReceiveBuffer: random.pick([262144, 1 << 20, 6 << 20]),
    sendBuffer: random.pick([3000, 65536, 262144]),
    maxSendBuffer: random.pick([262144, 4 << 20]),
  });
  return {
    seed,
    octets: random.pick([0, 1, 1460, 20_000, 100_000, 200_000]),
    six: random.chance(0.5),
    wire: {
      loss: random.pick([0, 0.001, 0.01, 0.05, 0.15]),
      delay: random.pick([0, 1, 10, 60]),
      jitter: random.pick([0, 0, 1, 8, 40]),
      duplicate: random.pick([0, 0.01, 0.1]),
      corrupt: random.pick([0, 0, 0.01]),
    },
    a: tcp(),
    b: tcp(),
    ...(random.chance(0.2) ? { appetite: random.pick([30, 300]) } : {}),
  };
}

describe('two stacks over a wire that loses, delays, reorders, duplicates and corrupts', () => {
  test.each(Array.from({ length: 30 }, (_, block) => 10 * block))(
    'both streams arrive whole and in order: ten seeds from %i on',
    (first) => {
      for (let seed = first; seed < first + 10; seed++) exchange(worldOf(seed));
    },
  );
});

describe('throughput', () => {
  const megabytes = (octets: number, took: number): number => octets / 1e3 / took;
  const LONG = 3_000_000;

  test('a clean path is filled up to its bandwidth-delay product', () => {
    const { took, pair } = exchange({ seed: 1, octets: LONG, wire: { ...CALM, delay: 20 } });
    expect(pair.a.counters.tcpRetransmits + pair.b.counters.tcpRetransmits).toBe(0);
    // Doubling from ten segments at 40 ms: within a second or so.
    expect(took).toBeLessThan(1500);
  });

  test.each([
    { loss: 0.001, least: 1.5 },
    { loss: 0.005, least: 0.6 },
    { loss: 0.02, least: 0.3 },
  ])('at $loss loss and 20 ms round trip at least $least MB/s each way', ({ loss, least }) => {
    const { took, pair } = exchange({ seed: 2, octets: LONG, wire: { ...CALM, loss } });
    expect(megabytes(LONG, took)).toBeGreaterThan(least);
    // Recovery does its work; the timer is the last resort.
    const { counters } = pair.a;
    expect(counters.tcpTimeouts).toBeLessThan(counters.tcpFastRecoveries / 5 + 3);
  });

  test('a path that only reorders is not taken for one that loses', () => {
    const { pair } = exchange({ seed: 3, octets: LONG, wire: { ...CALM, delay: 20, jitter: 4 } });
    const { tcpRetransmits, tcpSegmentsOut } = pair.a.counters;
    expect(tcpRetransmits / tcpSegmentsOut).toBeLessThan(0.02);
  });

  test('memory stays within the buffers, however far the sender is ahead', () => {
    const tcp = { receiveBuffer: 65536, maxReceiveBuffer: 65536, sendBuffer: 131072, maxSendBuffer: 131072 };
    const { peakMemory } = exchange({ seed: 4, octets: LONG, wire: { ...CALM, loss: 0.01 }, a: tcp, b: tcp, appetite: 400 });
    // Two of each, and a block that is begun at either end of every buffer.
    expect(peakMemory).toBeLessThanOrEqual(2 * (65536 + 131072) + 8 * 16384);
  });
});

describe('congestion control behind its interface', () => {
  test('hears what happens and decides how much is under way', () => {
    const heard = new Set<string>();
    const fixed: CongestionControlFactory = () => ({
      name: 'fixed',
      window: 20_000,
      threshold: 20_000,
      pacingRate: () => Number.POSITIVE_INFINITY,
      acknowledged: ({ delivered, flight, rtt }) => {
        heard.add('acknowledged');
        expect(delivered).toBeGreaterThan(0);
        expect(flight).toBeGreaterThanOrEqual(delivered);
        if (rtt !== undefined) expect(rtt).toBeGreaterThanOrEqual(19.9);
      },
      lost: () => heard.add('lost'),
      recovered: () => heard.add('recovered'),
      timedOut: () => heard.add('timed out'),
      undo: () => {},
      repaired: () => {},
      idle: () => {},
      resized: () => {},
    });
    exchange({ seed: 5, octets: 1_000_000, wire: { ...CALM, loss: 0.03 }, a: { congestion: fixed }, b: { congestion: fixed } });
    expect([...heard].sort()).toEqual(expect.arrayContaining(['acknowledged', 'lost', 'recovered']));
  });
});

test('a hundred connections share one wire', () => {
  const random = new SeededRandom('many');
  const pair = new Pair({ fate: () => (random.chance(0.01) ? [] : [5 + random.fraction()]) });
  const listener = pair.b.listen({ port: 80, backlog: 200 });
  const talkers = Array.from({ length: 100 }, (_, i) => {
    const run: Run = { seed: i, octets: 20_000, wire: CALM };
    return new Talker(pair.a.connect({ ip: i % 2 === 0 ? B4 : B6, port: 80 }, 0), run, 1);
  });
  pair.onStep = () => {
    for (let accepted = listener.accept(); accepted !== undefined; accepted = listener.accept()) {
      talkers.push(new Talker(accepted, { seed: 0, octets: 20_000, wire: CALM }, 2));
    }
    for (const talker of talkers) talker.act(pair.now);
  };
  expect(pair.run(600_000, () => talkers.length === 200 && talkers.every((talker) => talker.done))).toBe(true);
  expect(talkers.filter((talker) => talker.problem !== undefined)).toEqual([]);
});

test('memory runs short: writers wait, and hear when there is room again', () => {
  const pair = new Pair({ a: { tcp: { memory: 20 * 16384 } } });
  const listener = pair.b.listen({ port: 80 });
  const connections = Array.from({ length: 4 }, () => pair.a.connect({ ip: B4, port: 80 }, 0));
  const accepted: TcpConnection[] = [];
  const sent = connections.map(() => 0);
  const total = 600_000;
  let woken = 0;
  for (const connection of connections) {
    connection.onReady = (events) => {
      if ((events & Ready.WRITABLE) !== 0) woken++;
    };
  }
  const into = new Uint8Array(65536);
  let received = 0;
  pair.onStep = () => {
    for (let one = listener.accept(); one !== undefined; one = listener.accept()) accepted.push(one);
    for (const [i, connection] of connections.entries()) sent[i]! += connection.write(new Uint8Array(Math.min(65536, total - sent[i]!)));
    for (const connection of accepted) received += connection.read(into);
    expect(pair.a.bufferMemory).toBeLessThanOrEqual(20 * 16384);
  };
  expect(pair.run(120_000, () => received === 4 * total)).toBe(true);
  expect(woken).toBeGreaterThan(4);
});

test('both ends open at once, through one wire', () => {
  const pair = new Pair();
  const a = pair.a.connect({ ip: B6, port: 5000, localPort: 6000 }, 0);
  const b = pair.b.connect({ ip: A6, port: 6000, localPort: 5000 }, 0);
  a.write(Uint8Array.of(1));
  b.write(Uint8Array.of(2));
  expect(pair.run(10_000, () => a.readable === 1 && b.readable === 1)).toBe(true);
  expect([a.state, b.state, a.readChunk(), b.readChunk()]).toEqual(['ESTABLISHED', 'ESTABLISHED', Uint8Array.of(2), Uint8Array.of(1)]);
  expect(pair.a.addresses).toContain(A4);
});
