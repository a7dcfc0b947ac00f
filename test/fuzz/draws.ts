import type { SampleSource } from '../../src/core/wire/index.ts';

/** Seeded draws: the seed alone repeats a run. Its other half is what payload definitions draw their samples from. */
export interface Draws extends SampleSource {
  /** 0 ≤ n < bound. */
  below(bound: number): number;
  octets(length: number): Uint8Array;
}

export function seededDraws(seed: number): Draws {
  let state = seed >>> 0 || 0x9e3779b9;
  // xorshift32: short, fast, good enough to wander; nothing secret depends on it.
  const u32 = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  const below = (bound: number): number => (bound <= 1 ? 0 : u32() % bound);
  const octets = (length: number): Uint8Array => Uint8Array.from({ length }, () => u32() & 0xff);
  return {
    below,
    octets,
    u8: () => u32() & 0xff,
    u16: () => u32() & 0xffff,
    u32,
    int: (min, max) => min + below(max - min + 1),
    oneIn: (n) => below(n) === 0,
    bytes: (min, max = min) => octets(min + below(max - min + 1)),
    pick: (items) => items[below(items.length)]!,
    many: (min, max, make) => Array.from({ length: min + below(max - min + 1) }, make),
  };
}
