import { expect, test } from 'vitest';
import type { CongestionControlFactory } from '../../../../src/core/netstack/index.ts';
import { B4, Pair } from '../support/pair.ts';

/** 100 octets a millisecond, however much the window allows. */
const steady: CongestionControlFactory = () => ({
  name: 'steady',
  window: 1e9,
  threshold: 1e9,
  pacingRate: () => 100,
  acknowledged: () => {},
  lost: () => {},
  recovered: () => {},
  timedOut: () => {},
  undo: () => {},
  idle: () => {},
  resized: () => {},
});

/** When each octet of 100 kB left, in milliseconds since it was written. */
function departures(pacing: boolean): number[] {
  const sent: number[] = [];
  let began = 0;
  const pair = new Pair({
    a: { tcp: { congestion: steady, pacing } },
    fate: (packet, from, now) => {
      if (from === 'a' && packet.length > 100) sent.push(...new Array(packet.length - 52).fill(now - began));
      return [20];
    },
  });
  pair.b.listen({ port: 80 });
  const client = pair.a.connect({ ip: B4, port: 80 }, 0);
  client.setNoDelay(true);
  pair.run(100);
  began = pair.now;
  client.write(new Uint8Array(100_000));
  pair.run(5000);
  expect(sent).toHaveLength(100_000);
  return sent;
}

test('segments leave at the sending rate, beyond what an initial window holds', () => {
  const sent = departures(true);
  expect(sent.filter((at) => at < 1).length).toBeLessThanOrEqual(11 * 1448);
  // The rest takes its time, and no more: (100000 - 14480) / 100.
  expect(sent.at(-1)).toBeGreaterThan(800);
  expect(sent.at(-1)).toBeLessThan(900);
  for (let octet = 20_000; octet < 100_000; octet += 10_000) expect(Math.abs(sent[octet]! - (octet - 14_480) / 100)).toBeLessThan(40);
});

test('without pacing the window rules', () => {
  expect(departures(false).at(-1)).toBeLessThan(100);
});
