import { describe, expect, test } from 'vitest';
import { CONGESTION_CONTROLS, type CongestionControlFactory } from '../../src/core/netstack/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { B4, Pair } from '../core/netstack/support/pair.ts';

interface Bottleneck {
  /** Octets a millisecond. */
  readonly rate: number;
  /** Octets that wait in front of it. */
  readonly queue: number;
  /** Round trip when nothing waits, milliseconds. */
  readonly rtt: number;
  readonly loss: number;
  /** What either end sends arrives with what else came in as many milliseconds: nobody looks more often. */
  readonly bunches?: number;
  /** The rate where it changes. */
  readonly rateAt?: (now: number) => number;
}

interface Flow {
  /** Octets a millisecond that reached the application, in the second half unless told otherwise. */
  readonly rate: number;
  readonly retransmits: number;
  readonly timeouts: number;
  readonly segments: number;
  /** Mean wait in the queue, milliseconds. */
  readonly wait: number;
}

/**
 * One connection that is never idle, through a bottleneck with a queue that drops what does not fit, for so many milliseconds.
 * @param from when counting begins
 */
function flow(path: Bottleneck, congestion: CongestionControlFactory, duration: number, from = duration / 2): Flow {
  const random = new SeededRandom('path');
  const bunched = (at: number): number => (path.bunches === undefined ? at : Math.ceil(at / path.bunches) * path.bunches);
  let free = 0;
  let waited = 0;
  let packets = 0;
  const pair = new Pair({
    a: { tcp: { congestion } },
    joins: path.bunches !== undefined,
    fate: (packet, from, now) => {
      if (random.chance(path.loss)) return [];
      if (from === 'b') return [bunched(now + path.rtt / 2) - now];
      const rate = path.rateAt?.(now) ?? path.rate;
      const start = Math.max(now, free);
      if ((start - now) * rate > path.queue) return [];
      free = start + packet.length / rate;
      waited += start - now;
      packets++;
      return [bunched(free + path.rtt / 2) - now];
    },
  });
  const listener = pair.b.listen({ port: 80 });
  const client = pair.a.connect({ ip: B4, port: 80 }, 0);
  const block = new Uint8Array(65_536);
  let server = listener.accept();
  let received = 0;
  pair.onStep = () => {
    while (client.write(block) === block.length);
    server ??= listener.accept();
    for (let octets = server?.read(block) ?? 0; octets > 0; octets = server!.read(block)) received += octets;
  };
  pair.run(from);
  const before = received;
  pair.run(duration);
  const { tcpRetransmits, tcpTimeouts, tcpSegmentsOut } = pair.a.counters;
  return {
    rate: (received - before) / (duration - from),
    retransmits: tcpRetransmits,
    timeouts: tcpTimeouts,
    segments: tcpSegmentsOut,
    wait: waited / packets,
  };
}

const { newreno, cubic, bbr } = CONGESTION_CONTROLS;

/** 1 MB/s, 100 ms: 100 kB under way fill it, and as much may wait. */
const LONG: Bottleneck = { rate: 1000, queue: 100_000, rtt: 100, loss: 0 };
/** What headers leave of it for text. */
const TEXT = 1448 / 1500;

describe('one connection through a bottleneck', () => {
  test.each([
    ['NewReno', newreno],
    ['CUBIC', cubic],
    ['BBR', bbr],
  ])('%s fills a path that loses nothing', (_, control) => {
    expect(flow(LONG, control, 6000).rate).toBeGreaterThan(0.9 * LONG.rate * TEXT);
  });

  test('RFC 9406: slow start ends before the queue overflows by much', () => {
    const path = { ...LONG, queue: 300_000 };
    expect(flow(path, cubic, 2000).retransmits).toBeLessThan(flow(path, newreno, 2000).retransmits / 2);
  });

  test.each([0.005, 0.03])('BBR fills a path that loses %d by chance, where a window that losses halve cannot', (loss) => {
    const path = { ...LONG, loss };
    expect(flow(path, bbr, 6000).rate).toBeGreaterThan(0.85 * LONG.rate * TEXT);
    expect(flow(path, newreno, 6000).rate).toBeLessThan(0.6 * LONG.rate);
  });

  test('BBR on a long path that loses a little, between ends that look every few milliseconds: each hole is found, and filled once', () => {
    const path = { rate: 20_000, queue: 4_000_000, rtt: 100, loss: 0.005, bunches: 4 };
    const { rate, retransmits, segments, timeouts } = flow(path, bbr, 4000, 2000);
    expect(rate).toBeGreaterThan(0.9 * path.rate * TEXT);
    expect(retransmits / segments).toBeLessThan(1.5 * path.loss);
    expect(timeouts).toBe(0);
  });

  test('BBR keeps the queue short', () => {
    const path = { ...LONG, rtt: 40, queue: 200_000 };
    expect(flow(path, bbr, 4000).wait).toBeLessThan(flow(path, cubic, 4000).wait / 2);
  });

  test('BBR: a queue that start-up has left goes with the probings', () => {
    const path = { rate: 10_000, queue: 400_000, rtt: 40, loss: 0 };
    expect(flow(path, bbr, 4000).wait).toBeLessThan(0.25 * path.rtt);
  });

  test('BBR: a bound that losses have set ends with the probing after the next', () => {
    const path = { rate: 10_000, queue: 40_000, rtt: 40, loss: 0 };
    expect(flow(path, bbr, 4000).rate).toBeGreaterThan(0.9 * path.rate * TEXT);
  });

  test('BBR, where the queue holds a tenth of what is under way: little is lost', () => {
    const { rate, retransmits, segments } = flow({ ...LONG, queue: 10_000 }, bbr, 6000);
    expect(rate).toBeGreaterThan(0.8 * LONG.rate * TEXT);
    expect(retransmits / segments).toBeLessThan(0.1);
  });

  test('BBR finds out when the path becomes slower, and faster again', () => {
    const slow = 0.25;
    const { rate, retransmits, segments } = flow(
      { ...LONG, queue: 50_000, rateAt: (now) => (now < 3000 ? 1 : slow) * LONG.rate },
      bbr,
      12_000,
    );
    expect(rate).toBeGreaterThan(0.85 * slow * LONG.rate * TEXT);
    expect(retransmits / segments).toBeLessThan(0.15);
    const faster = flow({ ...LONG, rateAt: (now) => (now < 2000 ? slow : 1) * LONG.rate }, bbr, 12_000);
    expect(faster.rate).toBeGreaterThan(0.85 * LONG.rate * TEXT);
  });

  test('BBR measures the round trip again every ten seconds, and does not take the little it sends meanwhile for the rate of the path', () => {
    const { rate } = flow({ ...LONG, rate: 500, queue: 50_000 }, bbr, 24_000);
    expect(rate).toBeGreaterThan(0.9 * 500 * TEXT);
  });
});
