import { describe, expect, test } from 'vitest';
import type { Address } from '../../src/core/bytes/index.ts';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  lowestIs,
  type Packet,
  type Pair,
  type PairOptions,
  SeededRandom,
} from '../../src/testing/index.ts';

/**
 * Two ends begin something at the same time (RFC 7296 §2.25). Every order in which their messages can arrive is tried, not a sample: what
 * is under way waits in a pool, and each path through the choices of what arrives next is walked once. No clock, no luck.
 */
const OPERATIONS = {
  'rekeys the child': (peer: Pair['a']) => peer.rekeyChild(),
  'rekeys the IKE SA': (peer: Pair['a']) => peer.rekeyIke(),
  'deletes the child': (peer: Pair['a']) => peer.deleteChild(),
  'deletes the IKE SA': (peer: Pair['a']) => peer.deleteIke(),
  'makes another child': (peer: Pair['a']) => peer.createChild('net'),
  'asks for a sign of life': (peer: Pair['a']) => peer.checkLiveness(),
} as const;
type Operation = keyof typeof OPERATIONS;
const NAMES = Object.keys(OPERATIONS) as Operation[];
const PAIRS = NAMES.flatMap((a) => NAMES.map((b) => [a, b] as const));

describe('every order of arrival', () => {
  test.each(PAIRS)('a %s while b %s', (ofA, ofB) => {
    const bothRekey = ofA.startsWith('rekeys') && ofA === ofB;
    const variants: PairOptions[] = bothRekey
      ? (['a.Ni', 'a.Nr', 'b.Ni', 'b.Nr'] as const).map((which) => ({ nonces: lowestIs(which) }))
      : [{}];
    for (const options of variants) {
      const paths = explore((choose) => {
        const pair = establishedPair({ ...options, simulatedCrypto: true });
        const undo = hold(pair, choose, { lost: 0, doubled: 0 }, () => {
          OPERATIONS[ofA](pair.a);
          OPERATIONS[ofB](pair.b);
        });
        undo();
        pair.net.settle({ quiet: 120_000 });
        expectAgreement(pair, ofA, ofB);
      });
      expect(paths).toBeGreaterThanOrEqual(2);
    }
  });
});

/** How many orders of each kind are tried beyond those that are walked completely; the trees with mishaps have up to 8000 leaves. */
const SAMPLES = Number(process.env.TUNNELWRIGHT_ORDERS ?? 6);

describe.each([
  ['one message lost', { lost: 1, doubled: 0 }],
  ['one message doubled', { lost: 0, doubled: 1 }],
  ['one lost and one doubled', { lost: 1, doubled: 1 }],
] as const)('%s, somewhere', (name, mishaps) => {
  test.each(PAIRS)('a %s while b %s', (ofA, ofB) => {
    for (let seed = 1; seed <= SAMPLES; seed++) {
      const random = new SeededRandom(seed, `${name} ${ofA} ${ofB}`);
      const pair = establishedPair({ seed, simulatedCrypto: true });
      const undo = hold(
        pair,
        (options) => random.between(0, options - 1),
        { ...mishaps },
        () => {
          OPERATIONS[ofA](pair.a);
          OPERATIONS[ofB](pair.b);
        },
      );
      undo();
      pair.net.settle({ quiet: 120_000 });
      expectAgreement(pair, ofA, ofB);
    }
  });
});

/** Whatever the order was, both ends are of one mind. */
function expectAgreement({ net, a, b }: Pair, ofA: Operation, ofB: Operation): void {
  expectInvariants(net);
  if ([ofA, ofB].includes('deletes the IKE SA')) {
    expectNothingLeft(a, b);
    return;
  }
  const counts = [a.ikeSas.length, b.ikeSas.length, a.plane.children.length - b.plane.children.length];
  if (counts.join() !== '1,1,0') throw net.failure(`the ends disagree: ${counts.join(', ')}`);
  const [one, other] = [a, b].map((peer) => peer.children.map((child) => [child.inboundSpi, child.outboundSpi]));
  const mirrored = other!.map(([inbound, outbound]) => [outbound, inbound]);
  const sorted = (spis: (number | undefined)[][]): string[] => spis.map((pair) => pair.join('/')).sort();
  const [ofOne, ofOther] = [sorted(one!).join(), sorted(mirrored).join()];
  if (ofOne !== ofOther) throw net.failure(`the SPIs of one end, ${ofOne}, are not those of the other, ${ofOther}`);
  if (a.plane.children.length > 0) expectTrafficBothWays(net, a, b, { packets: 1 });
  if (ofA === 'rekeys the child' && ofB === 'rekeys the child') expectOneChild(a, b);
}

/** What may happen to a message besides arriving, and how often in one run. */
interface Mishaps {
  lost: number;
  doubled: number;
}

/** Keeps what is sent, and lets it arrive, get lost or arrive twice as `choose` says, until nothing is under way. */
function hold({ net, a, b }: Pair, choose: (options: number) => number, mishaps: Mishaps, begin: () => void): () => void {
  const pool: Packet[] = [];
  const undo = net.internet.core.intercept((packet) => {
    pool.push(packet);
    return [];
  });
  begin();
  net.run(0);
  for (let steps = 0; pool.length > 0; steps++) {
    if (steps > 60) throw net.failure('more than 60 messages for two operations');
    const ways = 1 + (mishaps.lost > 0 ? 1 : 0) + (mishaps.doubled > 0 ? 1 : 0);
    const choice = choose(pool.length * ways);
    const packet = pool[choice % pool.length]!;
    const way = Math.floor(choice / pool.length);
    const lost = way === 1 && mishaps.lost > 0;
    const doubled = way > 0 && !lost;
    if (!doubled) pool.splice(choice % pool.length, 1);
    if (doubled) mishaps.doubled--;
    if (lost) mishaps.lost--;
    else {
      const from: Address = packet.source;
      (from.ip === a.host.addressFor() ? b : a).inject(packet.data.slice(), from);
    }
    net.run(0);
    // Nothing under way, but something was lost: the retransmission brings it back.
    if (pool.length === 0) net.run(1500);
  }
  return undo;
}

/** Walks the whole tree of choices, depth first. @returns the number of leaves. */
function explore(run: (choose: (options: number) => number) => void): number {
  const path: number[] = [];
  for (let leaves = 1; ; leaves++) {
    const widths: number[] = [];
    run((options) => {
      const depth = widths.length;
      widths.push(options);
      path[depth] ??= 0;
      return path[depth];
    });
    path.length = widths.length;
    while (path.length > 0 && path.at(-1)! + 1 >= widths[path.length - 1]!) path.pop();
    if (path.length === 0) return leaves;
    path[path.length - 1]!++;
    if (leaves > 20_000) throw new RangeError('more than 20000 orders');
  }
}
