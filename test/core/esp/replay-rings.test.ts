import { expect, test } from 'vitest';
import { ReplayRings, ReplayWindow } from '../../../src/core/esp/index.ts';

test('windows side by side know nothing of each other, whatever their size and whoever had their memory before', () => {
  const rings = new ReplayRings();
  let state = 7;
  const chance = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const sizes = [64, 64, 64, 1024, 1024, 200_000];
  const pairs = Array.from({ length: 60 }, (_, i) => pairOf(sizes[i % sizes.length]!, rings));
  for (let step = 0; step < 20_000; step++) {
    const place = chance(pairs.length);
    const { shared, own } = pairs[place]!;
    const low = Math.max(1, own.topLow + chance(100) - 60);
    expect(shared.check(0, low)).toBe(own.check(0, low));
    if (own.check(0, low)) for (const window of [shared, own]) window.update(0, low);
    if (step % 50 > 0) continue;
    shared.release();
    pairs[place] = pairOf(shared.size, rings);
    if (step % 100 === 0) for (const window of Object.values(pairs[place]!)) window.restore(0, 1000);
  }
});

test('memory that was given back is used again, and zeroed', () => {
  const rings = new ReplayRings();
  const first = rings.take(64);
  first.words.fill(0xffffffff, first.at, first.at + 64);
  rings.giveBack(first, 64);
  const again = rings.take(64);
  expect([again.words, again.at]).toEqual([first.words, first.at]);
  expect(again.words.every((word) => word === 0)).toBe(true);
});

function pairOf(size: number, rings: ReplayRings): { readonly shared: ReplayWindow; readonly own: ReplayWindow } {
  return { shared: new ReplayWindow(size, rings), own: new ReplayWindow(size) };
}
