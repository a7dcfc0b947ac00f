import { describe, expect, test } from 'vitest';
import { ReplayWindow } from '../../../src/core/esp/index.ts';

/** The same rules as plainly as they can be said: a set of everything seen, and the newest. */
class NaiveWindow {
  readonly size: bigint;
  top = 0n;
  readonly seen = new Set<bigint>();
  /** Up to here everything counts as seen. */
  floor = 0n;

  constructor(size: number) {
    this.size = BigInt(size);
  }

  check(sequence: bigint): boolean {
    if (sequence === 0n) return false;
    if (this.size === 0n) return true;
    if (sequence > this.top) return true;
    return this.top - sequence < this.size && sequence > this.floor && !this.seen.has(sequence);
  }

  update(sequence: bigint): void {
    this.seen.add(sequence);
    if (sequence > this.top) this.top = sequence;
  }
}

const high = (sequence: bigint): number => Number(sequence >> 32n);
const low = (sequence: bigint): number => Number(sequence & 0xffffffffn);

/** xorshift32: a seed replays a failure. */
function generator(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

describe('replay window (RFC 6479) against a set of all numbers seen', () => {
  for (const size of [1, 2, 31, 32, 33, 64, 100, 1000, 1024, 4096]) {
    for (const start of [0n, 0xffffffffn - 5000n, 7n * 2n ** 32n - 3000n, 2n ** 55n - 77n]) {
      test(`${size} packets, from ${start}`, () => {
        const random = generator(size * 31 + Number(start % 1009n));
        const window = new ReplayWindow(size);
        const naive = new NaiveWindow(size);
        window.restore(high(start), low(start));
        naive.top = start;
        naive.floor = start;
        let accepted = 0;
        for (let i = 0; i < 4000; i++) {
          const kind = random(10);
          let sequence = naive.top;
          if (kind < 4) sequence += 1n;
          else if (kind < 7) sequence -= BigInt(random(size + 40));
          else if (kind < 9) sequence += BigInt(random(size + 40));
          else sequence += BigInt(random(3 * size + 200));
          if (sequence < 0n) continue;
          const verdict = window.check(high(sequence), low(sequence));
          if (verdict !== naive.check(sequence)) throw new Error(`number ${sequence}, the ${i}th: ${verdict ? 'accepted' : 'refused'}`);
          if (!verdict) continue;
          accepted++;
          window.update(high(sequence), low(sequence));
          naive.update(sequence);
          if (window.topHigh !== high(naive.top) || window.topLow !== low(naive.top))
            throw new Error(`after ${sequence}, the ${i}th, the newest is ${window.topHigh} ${window.topLow} instead of ${naive.top}`);
        }
        expect(accepted).toBeGreaterThan(1000);
      });
    }
  }

  test('far jumps forget everything before, and nothing after', () => {
    const window = new ReplayWindow(64);
    const naive = new NaiveWindow(64);
    const random = generator(99);
    let sequence = 1n;
    for (let i = 0; i < 500; i++) {
      sequence += BigInt(random(2 ** 31)) * BigInt(1 + random(5));
      for (const near of [sequence, sequence - 63n, sequence - 64n, sequence - 1n, sequence + 2n, sequence]) {
        if (near < 0n) continue;
        expect([near, window.check(high(near), low(near))]).toEqual([near, naive.check(near)]);
        if (!naive.check(near)) continue;
        window.update(high(near), low(near));
        naive.update(near);
      }
    }
  });

  test('zero is never a sequence number', () => {
    expect(new ReplayWindow(64).check(0, 0)).toBe(false);
    expect(new ReplayWindow(0).check(0, 0)).toBe(false);
    expect(new ReplayWindow(64).check(1, 0)).toBe(true);
  });

  test('size 0 turns the check off but still knows the newest', () => {
    const window = new ReplayWindow(0);
    window.update(0, 9);
    window.update(0, 4);
    expect(window.check(0, 9)).toBe(true);
    expect(window.topLow).toBe(9);
  });

  test('after a restart what came before is refused and what follows is not', () => {
    const window = new ReplayWindow(128);
    window.restore(0, 1000);
    for (const old of [1, 872, 873, 960, 999, 1000]) expect(window.check(0, old)).toBe(false);
    window.update(0, 1010);
    for (const fresh of [1001, 1009, 1011]) expect(window.check(0, fresh)).toBe(true);
    for (const old of [990, 1000, 1010]) expect(window.check(0, old)).toBe(false);
  });

  test('nothing is taken up to where the peer has skipped, and nothing is lost where it is beyond that already (RFC 6311 §5.2)', () => {
    const window = new ReplayWindow(128);
    window.update(0, 1000);
    window.closeUpTo(0, 5000);
    for (const old of [999, 1001, 4990, 5000]) expect(window.check(0, old)).toBe(false);
    expect(window.check(0, 5001)).toBe(true);
    window.update(1, 7);
    window.closeUpTo(1, 6);
    expect([window.check(1, 7), window.check(1, 5), window.check(1, 8)]).toEqual([false, true, true]);
  });
});
