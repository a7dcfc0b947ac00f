import { expect, test } from 'vitest';
import { B4, Pair, steady } from '../support/pair.ts';

/** When each octet of 100 kB left, in milliseconds since it was written. */
function departures(pacing: boolean): number[] {
  const sent: number[] = [];
  let began = 0;
  const pair = new Pair({
    a: { tcp: { congestion: steady(100), pacing } },
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

test('on a long path what a timer missed that came 20 ms late is made up for', () => {
  const pair = new Pair({
    a: { tcp: { congestion: steady(5000), maxSendBuffer: 4e6, sendBuffer: 4e6 } },
    b: { tcp: { receiveBuffer: 4e6 } },
    fate: () => [50],
  });
  pair.b.listen({ port: 80 });
  const client = pair.a.connect({ ip: B4, port: 80 }, 0);
  // the window of a SYN is not scaled
  client.write(new Uint8Array(1000));
  pair.run(1000);
  client.write(new Uint8Array(2e6));
  let sent = 0;
  for (let now = pair.now; now <= pair.now + 200; now += 20) {
    pair.a.expire(now);
    for (let packet = pair.a.poll(now); packet !== undefined; packet = pair.a.poll(now)) sent += packet.length;
  }
  expect(sent).toBeGreaterThan(0.9 * 200 * 5000);
});
