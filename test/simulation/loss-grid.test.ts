import { describe, expect, test } from 'vitest';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type LinkConditions,
} from '../../src/testing/index.ts';

/**
 * Everything an SA goes through, over paths that lose, double, delay and reorder. Hundreds of seeds: each must end with both ends of one
 * mind, and nothing left behind. A failing seed is in the test's name.
 */
const PATHS: readonly (readonly [name: string, link: Partial<LinkConditions>])[] = [
  ['fast and clean', {}],
  ['10 % loss', { delay: 10, loss: 0.1 }],
  ['30 % loss', { delay: 10, loss: 0.3 }],
  ['every packet twice', { delay: 10, duplicate: 1 }],
  ['disorder', { delay: 5, jitter: 400 }],
  ['slower than the first retransmission', { delay: 1200, jitter: 300 }],
  ['everything at once', { delay: 80, jitter: 500, loss: 0.2, duplicate: 0.3 }],
  ['a thin pipe', { delay: 40, bandwidth: 64_000, queue: 4000 }],
];
const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);

describe.each(PATHS)('%s', (_name, link) => {
  test.each(SEEDS)('a whole life, seed %i', (seed) => {
    const { net, a, b } = establishedPair({ seed, link, simulatedCrypto: true, b: { limits: { halfOpenLife: 60_000 } } });
    const initiator = seed % 2 === 0 ? a : b;
    const other = initiator === a ? b : a;
    initiator.rekeyChild();
    net.settle();
    expectOneChild(a, b);
    other.rekeyIke();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expect([a.established.length, b.established.length], net.describe()).toEqual([1, 1]);
    // That traffic passes is asked on a clean path: ESP repeats nothing.
    const rough = { ...a.host.up };
    a.host.setLink({ loss: 0, delay: 5, jitter: 0, duplicate: 0, bandwidth: 0 });
    expectTrafficBothWays(net, a, b, { packets: 1 });
    a.host.setLink(rough);
    initiator.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expectInvariants(net);
  });
});
