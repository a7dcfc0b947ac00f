import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

describe('VirtualClock', () => {
  test('events happen in order of time, and of scheduling within an instant', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.at(20, () => seen.push('c'));
    clock.at(10, () => seen.push('a'));
    clock.at(10, () => seen.push('b'));
    clock.run(100);
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(clock.now).toBe(100);
  });

  test('agrees with a sorted list over thousands of random events, cancellations among them', () => {
    const random = new SeededRandom(3);
    const clock = new VirtualClock();
    const expected: { at: number; n: number }[] = [];
    const seen: number[] = [];
    for (let n = 0; n < 3000; n++) {
      const at = random.between(0, 500);
      const timer = clock.at(at, () => seen.push(n));
      if (random.chance(0.2)) timer.cancel();
      else expected.push({ at, n });
    }
    clock.run(1000);
    expect(seen).toEqual(expected.sort((a, b) => a.at - b.at || a.n - b.n).map((e) => e.n));
  });

  test('an instant in the past means now', () => {
    const clock = new VirtualClock();
    clock.run(50);
    let at = -1;
    clock.at(10, () => (at = clock.now));
    clock.step();
    expect(at).toBe(50);
  });

  test('run stops before what is due later', () => {
    const clock = new VirtualClock();
    let fired = false;
    clock.at(11, () => (fired = true));
    clock.run(10);
    expect([fired, clock.next]).toEqual([false, 11]);
  });

  test('settle follows chains of events and stops at the first quiet gap', () => {
    const clock = new VirtualClock();
    let hops = 0;
    const hop = (): void => {
      if (++hops < 5) clock.after(100, hop);
    };
    clock.after(0, hop);
    clock.at(10_000, () => (hops = 1000));
    expect(clock.settle({ quiet: 200 })).toEqual({ settled: true, steps: 5, took: 400 });
    expect([hops, clock.now]).toEqual([5, 400]);
  });

  test('settle ends by virtual time or by steps when the world never rests', () => {
    const forever = (): VirtualClock => {
      const clock = new VirtualClock();
      const tick = (): void => void clock.after(1, tick);
      tick();
      return clock;
    };
    expect(forever().settle({ quiet: 5, within: 1000 })).toEqual({ settled: false, steps: 1000, took: 1000 });
    expect(forever().settle({ quiet: 5, steps: 10 })).toMatchObject({ settled: false, steps: 10 });
  });

  test('run refuses to spin at one instant forever', () => {
    const clock = new VirtualClock();
    const spin = (): void => void clock.after(0, spin);
    spin();
    expect(() => clock.run(1, 1000)).toThrow(/more than 1000 events/);
  });
});
