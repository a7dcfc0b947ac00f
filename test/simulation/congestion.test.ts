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
  /** The rate where it changes. */
  readonly rateAt?: (now: number) => number;
}

interface Flow {
  /** Octets a millisecond that reached the application in the second half. */
  readonly rate: number;
  readonly retransmits: number;
  readonly segments: number;
  /** Mean wait in the queue, milliseconds. */
  readonly wait: number;
}

/** One connection that is never idle, through a bottleneck with a queue that drops what does not fit, for so many milliseconds. */
function flow(path: Bottleneck, congestion: CongestionControlFactory, duration: number): Flow {
  const random = new SeededRandom('path');
  let free = 0;
  let waited = 0;
  let packets = 0;
  const pair = new Pair({
    a: { tcp: { congestion } },
    fate: (packet, from, now) => {
      if (random.chance(path.loss)) return [];
      if (from === 'b') return [path.rtt / 2];
      const rate = path.rateAt?.(now) ?? path.rate;
      const start = Math.max(now, free);
      if ((start - now) * rate > path.queue) return [];
      free = start + packet.length / rate;
      waited += start - now;
      packets++;
      return [free - now + path.rtt / 2];
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
  pair.run(duration / 2);
  const half = received;
  pair.run(duration);
  const { tcpRetransmits, tcpSegmentsOut } = pair.a.counters;
  return {
    rate: (received - half) / (duration / 2),
    retransmits: tcpRetransmits,
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

  test('BBR keeps the queue short', () => {
    const path = { ...LONG, rtt: 40, queue: 200_000 };
    expect(flow(path, bbr, 4000).wait).toBeLessThan(flow(path, cubic, 4000).wait / 2);
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
