import { describe, expect, test } from 'vitest';
import { Cubic } from '../../../../src/core/netstack/index.ts';
import { news } from '../support/news.ts';

/** In congestion avoidance after one loss at a window of 100 segments of 1000 octets. */
function afterLoss(): Cubic {
  const cc = new Cubic(1000, 100_000);
  cc.lost(100_000);
  return cc;
}

/** Round trips of so many milliseconds, each acknowledged whole. @returns the window after each */
function rounds(cc: Cubic, count: number, rtt: number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => {
    const window = cc.window;
    cc.pacingRate(rtt);
    for (let acked = 0; acked < window; acked += 1000) cc.acknowledged(news({ acked: 1000, flight: cc.window }), from + i * rtt);
    return cc.window;
  });
}

describe('CUBIC (RFC 9438)', () => {
  test('§4.6: a loss leaves seven tenths', () => {
    const cc = afterLoss();
    expect([cc.window, cc.threshold]).toEqual([70_000, 70_000]);
    cc.lost(2000);
    expect(cc.threshold).toBe(2000);
  });

  test('§4.2: back at W_max after K, flat before it and steep behind', () => {
    const cc = afterLoss();
    // K = cbrt(0.3 * 100 / 0.4) = 4.217 s
    const windows = rounds(cc, 80, 100);
    expect(windows[41]! / 100_000).toBeCloseTo(1, 1);
    const growth = (round: number): number => windows[round + 1]! - windows[round]!;
    expect(growth(2)).toBeGreaterThan(4 * growth(38));
    expect(growth(76)).toBeGreaterThan(4 * growth(44));
  });

  test('§4.3: no slower than Reno on a short path', () => {
    const cc = afterLoss();
    const windows = rounds(cc, 60, 2);
    // alpha = 0.53 segments a round trip; the curve alone would have moved by less than a segment in 120 ms.
    expect(windows[59]!).toBeGreaterThan(70_000 + 0.5 * 60 * 1000);
  });

  test('§4.7, fast convergence: who loses again below W_max leaves room to others', () => {
    const cc = afterLoss();
    cc.lost(70_000);
    expect(cc.window).toBe(49_000);
    const windows = rounds(cc, 20, 300);
    // W_max = 70 * 1.7 / 2 = 59.5 segments: the plateau is there, after K = 2.97 s.
    expect(windows[9]! / 59_500).toBeCloseTo(1, 1);
  });

  test('§4.8: a timeout leaves one segment, once', () => {
    const cc = new Cubic(1000, 100_000);
    cc.timedOut(100_000, false);
    expect([cc.window, cc.threshold]).toEqual([1000, 70_000]);
    cc.timedOut(1000, true);
    expect(cc.threshold).toBe(70_000);
  });

  test('§4.9: what was no loss is undone', () => {
    const cc = new Cubic(1000, 100_000);
    cc.lost(100_000);
    cc.undo();
    expect([cc.window, cc.threshold]).toEqual([100_000, Number.MAX_SAFE_INTEGER]);
  });

  test('§5.8: time does not count while the application has nothing to send', () => {
    const cc = afterLoss();
    cc.acknowledged(news({ acked: 1000, flight: 70_000 }), 0);
    cc.acknowledged(news({ acked: 1000, flight: 10_000 }), 100);
    const before = cc.window;
    cc.acknowledged(news({ acked: 1000, flight: 70_000 }), 60_000);
    expect(cc.window).toBeLessThan(before * 1.02);
  });

  test('RFC 5681 §4.1: silence ends with the initial window', () => {
    const cc = new Cubic(1000, 10_000);
    rounds(cc, 4, 10);
    expect(cc.window).toBeGreaterThan(100_000);
    cc.idle();
    expect(cc.window).toBe(10_000);
  });
});

describe('HyStart++ (RFC 9406)', () => {
  /** Slow start, a round trip each. @returns the window after each */
  const slowStart = (rtts: readonly number[]): number[] => {
    const cc = new Cubic(1000, 10_000);
    let delivered = 0;
    return rtts.map((rtt) => {
      const before = delivered;
      for (let window = cc.window; window > 0; window -= 1000) {
        delivered += 1000;
        cc.acknowledged(news({ acked: 1000, flight: cc.window, sample: { delivered, deliveredBefore: before, rtt } }), 0);
      }
      return cc.window;
    });
  };

  test('doubles while the round trip stays', () => {
    expect(slowStart([40, 40, 40])).toEqual([20_000, 40_000, 80_000]);
  });

  test('§4.2: grows by a quarter of that once it is an eighth longer, and stops after five rounds', () => {
    const windows = slowStart([40, 40, 46, 46, 46, 46, 46, 46, 46]);
    expect(windows[2]! / windows[1]!).toBeLessThan(1.7);
    expect(windows[3]! / windows[2]!).toBeCloseTo(1.25, 1);
    expect(windows[8]! / windows[7]!).toBeLessThan(1.05);
  });

  test('§4.2: goes on as before when it was a passing thing', () => {
    const windows = slowStart([40, 40, 46, 40, 40]);
    expect(windows[4]! / windows[3]!).toBeCloseTo(2, 1);
  });
});
