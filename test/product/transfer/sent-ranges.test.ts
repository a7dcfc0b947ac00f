import { expect, test } from 'vitest';
import { SentRanges } from '../../../src/product/transfer/server/sent-ranges.ts';

/** Begins a range of a file of 100 octets. */
const beginning =
  (ranges: SentRanges) =>
  (from: number, to: number, peer = 'alice') => {
    const left = ranges.begin(peer, { name: 'file', from, total: 100 }, `bytes=${from}-${to - 1}`);
    return (bytes = to - from) => left(bytes);
  };

test.each([
  [0, 1, 2],
  [2, 1, 0],
  [1, 2, 0],
  [2, 0, 1],
])('ranges that end in the order %i, %i, %i are told of once, as one', (...order) => {
  const begin = beginning(new SentRanges());
  const ends = [begin(0, 40), begin(40, 80), begin(80, 100)];
  const told = order.map((i) => ends[i]!());
  expect(told).toEqual([undefined, undefined, { name: 'file', from: 0, bytes: 100, total: 100 }]);
});

test('the last one may come and go before the others begin', () => {
  const begin = beginning(new SentRanges());
  expect(begin(80, 100)()).toBeUndefined();
  const ends = [begin(0, 40), begin(40, 80)];
  expect(ends.map((end) => end())).toEqual([undefined, { name: 'file', from: 0, bytes: 100, total: 100 }]);
});

test('what goes on in the middle is told of from there, and the next time from the beginning', () => {
  const ranges = new SentRanges();
  const begin = beginning(ranges);
  const rest = [begin(60, 90), begin(90, 100)];
  expect(rest.map((end) => end())).toEqual([undefined, { name: 'file', from: 60, bytes: 40, total: 100 }]);
  const again = [begin(0, 50), begin(50, 100)];
  expect(again.map((end) => end())).toEqual([undefined, { name: 'file', from: 0, bytes: 100, total: 100 }]);
});

test('a range that broke is made up for by another', () => {
  const begin = beginning(new SentRanges());
  const ends = [begin(0, 50), begin(50, 100)];
  expect([ends[0]!(10), ends[1]!()]).toEqual([undefined, undefined]);
  expect(begin(10, 50)()).toEqual({ name: 'file', from: 0, bytes: 100, total: 100 });
});

test('what is asked for whole, or to its end, is told of by itself; peers are told apart', () => {
  const ranges = new SentRanges();
  expect(ranges.begin('alice', { name: 'file', from: 30, total: 100 }, 'bytes=30-')(5)).toMatchObject({ from: 30, bytes: 5 });
  expect(ranges.begin('alice', { name: 'file', from: 0, total: 100 }, undefined)(100)).toMatchObject({ bytes: 100 });
  const begin = beginning(ranges);
  const [ours, theirs] = [begin(0, 50), begin(50, 100, 'bob')];
  expect([ours(), theirs()]).toEqual([undefined, undefined]);
});
