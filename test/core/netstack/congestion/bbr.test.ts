import { expect, test } from 'vitest';
import { Bbr } from '../../../../src/core/netstack/index.ts';
import { news } from '../support/news.ts';

test('BBRRestoreCwnd: a timeout leaves one segment, and the window as it was once what it held for lost has arrived', () => {
  const cc = new Bbr(1000, 10_000);
  for (let round = 1; round <= 8; round++) {
    const [delivered, deliveredBefore] = [20_000 * round, 20_000 * (round - 1)];
    cc.acknowledged(news({ acked: 20_000, sample: { rate: 200, delivered, deliveredBefore, rtt: 100 } }), 100 * round);
  }
  const { window } = cc;
  expect(window).toBeGreaterThan(20_000);
  cc.timedOut(window, false);
  cc.timedOut(1000, true);
  expect(cc.window).toBe(1000);
  cc.repaired();
  expect(cc.window).toBe(window);
});
