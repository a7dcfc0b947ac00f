import { describe, expect, test } from 'vitest';
import { CONGESTION_CONTROLS, type CongestionName, type TcpConnection } from '../../../src/core/netstack/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { B4, B6, Pair } from './support/pair.ts';

const CONTROLS = Object.keys(CONGESTION_CONTROLS) as CongestionName[];

/** The path carries nothing for so long, and everything again. */
function setOff(hole: Hole, milliseconds: number): void {
  hole.client.write(new Uint8Array(60_000));
  hole.pair.run(hole.pair.now + milliseconds);
  hole.passes = 1500;
}

/** A sender, and a path of 40 ms that says nothing about what it does not carry. */
class Hole {
  readonly pair: Pair;
  readonly client: TcpConnection;
  received = 0;
  /** When the first octet came. */
  first = Number.POSITIVE_INFINITY;
  passes: number;
  dropped = 0;

  constructor(passes: number, { to = B4, loss = 0, congestion = 'newreno' as CongestionName } = {}) {
    this.passes = passes;
    const random = new SeededRandom('hole');
    this.pair = new Pair({
      a: { tcp: { congestion: CONGESTION_CONTROLS[congestion] } },
      fate: (packet) => {
        if (packet.length > this.passes) {
          this.dropped++;
          return [];
        }
        return random.chance(loss) ? [] : [20];
      },
    });
    const listener = this.pair.b.listen({ port: 80 });
    this.client = this.pair.a.connect({ ip: to, port: 80 }, 0);
    const into = new Uint8Array(65_536);
    let server: TcpConnection | undefined;
    this.pair.onStep = () => {
      server ??= listener.accept();
      for (let octets = server?.read(into) ?? 0; octets > 0; octets = server!.read(into)) {
        this.first = Math.min(this.first, this.pair.now);
        this.received += octets;
      }
    };
    this.pair.run(50);
  }

  /** @returns milliseconds until all of it arrived */
  carry(octets: number): number {
    const began = this.pair.now;
    const until = this.received + octets;
    for (let left = octets; left > 0; ) {
      left -= this.client.write(new Uint8Array(Math.min(left, 65_536)));
      this.pair.run(this.pair.now + 5);
    }
    expect(this.pair.run(began + 60_000, () => this.received >= until)).toBe(true);
    return this.pair.now - began;
  }

  /** Octets of the largest packet that it sends. */
  get size(): number {
    return this.client.info.mss + 12 + 20 + (this.client.remote.ip === B4 ? 20 : 40);
  }
}

describe('a path that swallows large packets in silence (RFC 8899)', () => {
  test.each([
    { to: B4, passes: 1400 },
    { to: B4, passes: 1300 },
    { to: B4, passes: 1000 },
    { to: B6, passes: 1300 },
  ])('$passes octets to $to: the first text is there within three round trips and a timeout', ({ to, passes }) => {
    const hole = new Hole(passes, { to });
    const began = hole.pair.now;
    hole.carry(50_000);
    expect(hole.first - began).toBeLessThan(passes > 1280 ? 200 : 1000);
    expect(hole.pair.a.counters.tcpBlackHoles).toBeGreaterThan(0);
  });

  test.each([1290, 1357, 1400, 1480, 1496])('§5.3: what passes is found, to within eight octets: %d', (passes) => {
    const hole = new Hole(passes);
    hole.carry(1_000_000);
    expect(hole.size).toBeLessThanOrEqual(passes);
    expect(hole.size).toBeGreaterThan(passes - 9);
    // Ten segments that nobody had tried yet, and three for each size that does not pass.
    expect(hole.dropped).toBeLessThan(10 + 3 * 8 + 2);
  });

  test('§3 (7): a probe that is lost is no congestion', () => {
    const hole = new Hole(1300);
    hole.carry(1_000_000);
    expect(hole.pair.a.counters.tcpTimeouts).toBe(0);
    expect(hole.client.info.cwnd).toBeGreaterThan(30_000);
  });

  test.each(CONTROLS)('§4.3: a path that becomes narrower later costs a tail loss probe and its answer: %s', (congestion) => {
    const hole = new Hole(1500, { congestion });
    hole.carry(200_000);
    hole.passes = 1400;
    expect(hole.carry(50_000)).toBeLessThan(700);
    expect(hole.pair.a.counters).toMatchObject({ tcpTimeouts: 0, tcpBlackHoles: 1 });
    for (let i = 0; i < 20; i++) hole.carry(100_000);
    expect(hole.size).toBeGreaterThan(1391);
    expect(hole.size).toBeLessThanOrEqual(1400);
  });

  test('§4.3: where the probe is swallowed too, or nothing is left to probe with, it costs two timeouts', () => {
    const hole = new Hole(1500);
    hole.carry(200_000);
    hole.passes = 1200;
    expect(hole.carry(50_000)).toBeLessThan(2000);
    expect(hole.pair.a.counters.tcpTimeouts).toBe(2);
  });

  test('an outage that a tail loss probe outlives leaves the size as it was, after a search', () => {
    const hole = new Hole(1500);
    hole.carry(200_000);
    hole.passes = 0;
    setOff(hole, 60);
    hole.carry(3_000_000);
    expect(hole.pair.a.counters.tcpTimeouts).toBe(0);
    expect(hole.size).toBeGreaterThan(1491);
  });

  test('§5.1.1: after ten minutes something larger is tried again', () => {
    const hole = new Hole(1300);
    hole.carry(500_000);
    hole.passes = 1500;
    hole.carry(100_000);
    expect(hole.size).toBeLessThanOrEqual(1300);
    hole.pair.run(hole.pair.now + 600_000);
    hole.carry(500_000);
    expect(hole.size).toBeGreaterThan(1491);
  });

  test('losses by chance do not hide what passes', () => {
    const hole = new Hole(1400, { loss: 0.01 });
    hole.carry(1_000_000);
    expect(hole.size).toBeLessThanOrEqual(1400);
    expect(hole.size).toBeGreaterThan(1391);
  });
});

test('a path that loses by chance is not taken for one that swallows large packets', () => {
  const hole = new Hole(1500, { loss: 0.03 });
  hole.carry(500_000);
  expect(hole.pair.a.counters.tcpBlackHoles).toBe(0);
});
