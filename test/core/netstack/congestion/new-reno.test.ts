import { describe, expect, test } from 'vitest';
import { NewReno } from '../../../../src/core/netstack/index.ts';
import { news } from '../support/news.ts';

describe('NewReno (RFC 5681)', () => {
  test('slow start, congestion avoidance, halving', () => {
    const cc = new NewReno(1000, 10_000);
    cc.acknowledged(news({ acked: 2000, flight: 10_000 }));
    expect(cc.window).toBe(12_000);
    cc.acknowledged(news({ acked: 20_000, flight: 12_000 }));
    // RFC 9406 §4.2: eight segments an acknowledgment at most.
    expect(cc.window).toBe(20_000);
    cc.lost(20_000);
    expect([cc.window, cc.threshold]).toEqual([10_000, 10_000]);
    cc.recovered(10_000);
    for (let acked = 0; acked < 10_000; acked += 1000) cc.acknowledged(news({ acked: 1000, flight: 10_000 }));
    expect(cc.window).toBe(11_000);
    cc.timedOut(11_000, false);
    expect([cc.window, cc.threshold]).toEqual([1000, 5500]);
    cc.timedOut(1000, true);
    expect(cc.threshold).toBe(5500);
    cc.timedOut(1000, false);
    expect(cc.threshold).toBe(2000);
  });

  test('RFC 7661: a window that is not used does not grow', () => {
    const cc = new NewReno(1000, 10_000);
    for (let i = 0; i < 100; i++) cc.acknowledged(news({ acked: 1000, flight: 2000 }));
    expect(cc.window).toBe(10_000);
  });

  test('RFC 6582 §3.2 step 3: no burst at the end of recovery', () => {
    const cc = new NewReno(1000, 40_000);
    cc.lost(40_000);
    cc.recovered(3000);
    expect(cc.window).toBe(4000);
    expect(cc.threshold).toBe(20_000);
  });

  test('RFC 5681 §4.1: silence ends with the initial window', () => {
    const cc = new NewReno(1000, 10_000);
    for (let i = 0; i < 10; i++) cc.acknowledged(news({ acked: 8000, flight: cc.window }));
    cc.idle();
    expect(cc.window).toBe(10_000);
  });
});
