import type { SampleSource } from '../../src/core/wire/payload.ts';

/** Arbitrary values from a seed: the same seed gives the same values, on every machine. */
export interface Gen extends SampleSource {
  readonly seed: number;
}

export function gen(seed: number): Gen {
  let state = seed >>> 0;
  // splitmix32: every seed is as good as another, zero too.
  const u32 = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  const int = (min: number, max: number): number => min + (u32() % (max - min + 1));
  return {
    seed,
    u8: () => u32() & 0xff,
    u16: () => u32() & 0xffff,
    u32,
    int,
    oneIn: (n) => u32() % n === 0,
    bytes: (min, max = min) => Uint8Array.from({ length: int(min, max) }, () => u32() & 0xff),
    pick: (items) => items[u32() % items.length]!,
    many: (min, max, make) => Array.from({ length: int(min, max) }, make),
  };
}

/** Runs `body` for so many seeds; a failure names the seed that repeats it. */
export function forSeeds(count: number, body: (gen: Gen) => void): void {
  for (let seed = 1; seed <= count; seed++) {
    try {
      body(gen(seed));
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}
