import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { SeededRandom, scriptedRandom } from '../../src/testing/seeded.ts';

describe('SeededRandom', () => {
  test('the same seed gives the same stream, today and on every machine', () => {
    const random = new SeededRandom(42);
    // Fixed on purpose: a seed printed by an old failure must replay it in a later version.
    expect([random.u32(), random.u32(), random.u32(), random.u32()]).toMatchInlineSnapshot(`
      [
        2555481380,
        4017000847,
        3045732264,
        1005275814,
      ]
    `);
    expect(toHex(new SeededRandom('a seed may be text', 'and has labels').bytes(7))).toMatchInlineSnapshot(`"0135a5f0b086f9"`);
  });

  test('seed and label cannot be confused with one another', () => {
    expect(new SeededRandom('ab', 'c').u32()).not.toBe(new SeededRandom('a', 'bc').u32());
  });

  test('asking for a stream draws nothing', () => {
    const a = new SeededRandom(1);
    const b = new SeededRandom(1);
    a.stream('x').u32();
    expect(a.u32()).toBe(b.u32());
  });

  test('fractions are uniform: every tenth gets its share', () => {
    const random = new SeededRandom(7);
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 20_000; i++) buckets[Math.floor(random.fraction() * 10)]!++;
    // Chi square with 9 degrees of freedom; 27.9 is passed by 99.9 % of good generators.
    const chiSquare = buckets.reduce((sum, n) => sum + (n - 2000) ** 2 / 2000, 0);
    expect(chiSquare).toBeLessThan(27.9);
  });

  test('every bit of the words is as often one as zero', () => {
    const random = new SeededRandom(8);
    const ones = new Array<number>(32).fill(0);
    for (let i = 0; i < 4000; i++) {
      const word = random.u32();
      for (let bit = 0; bit < 32; bit++) ones[bit]! += (word >>> bit) & 1;
    }
    for (const n of ones) expect(Math.abs(n - 2000)).toBeLessThan(4.5 * Math.sqrt(1000));
  });

  test('between includes both ends', () => {
    const random = new SeededRandom(9);
    const seen = new Set(Array.from({ length: 200 }, () => random.between(3, 5)));
    expect([...seen].sort()).toEqual([3, 4, 5]);
  });

  test('shuffle keeps the items and reaches every order', () => {
    const random = new SeededRandom(10);
    const orders = new Set(Array.from({ length: 300 }, () => random.shuffle(['a', 'b', 'c']).join('')));
    expect([...orders].sort()).toEqual(['abc', 'acb', 'bac', 'bca', 'cab', 'cba']);
  });
});

describe('scriptedRandom', () => {
  const drawAll = (source: ReturnType<typeof scriptedRandom>): string[] => [
    toHex(source.nonce(32)),
    toHex(source.ikeSpi()),
    String(source.childSpi()),
    toHex(source.cbcIv(16)),
    toHex(source.keySeed(31, 32)!),
    String(source.jitter()),
    toHex(source.secret(16)),
    toHex(source.nonce(32)),
  ];

  test('replays', () => {
    expect(drawAll(scriptedRandom(5))).toEqual(drawAll(scriptedRandom(5)));
    expect(drawAll(scriptedRandom(5))).not.toEqual(drawAll(scriptedRandom(6)));
  });

  test('scripting one nonce changes that nonce and nothing else', () => {
    const plain = drawAll(scriptedRandom(5));
    const ones = new Uint8Array(32).fill(1);
    const scripted = drawAll(scriptedRandom(5, { nonces: [ones] }));
    expect(scripted[0]).toBe(toHex(ones));
    expect(scripted.slice(1)).toEqual(plain.slice(1));
  });

  test('a hole in a queue leaves the seeded draw; a function may do so as well', () => {
    const plain = scriptedRandom(5);
    const seeded = [plain.jitter(), plain.jitter(), plain.jitter()];
    const queue = scriptedRandom(5, { jitters: [undefined, 0.5] });
    expect([queue.jitter(), queue.jitter(), queue.jitter()]).toEqual([seeded[0], 0.5, seeded[2]]);
    let n = 0;
    const fn = scriptedRandom(5, { jitters: () => (n++ === 2 ? 0.25 : undefined) });
    expect([fn.jitter(), fn.jitter(), fn.jitter()]).toEqual([seeded[0], seeded[1], 0.25]);
  });

  test('drawing more of one kind does not shift another', () => {
    const a = scriptedRandom(5);
    const b = scriptedRandom(5);
    for (let i = 0; i < 10; i++) a.nonce(16);
    expect(a.childSpi()).toBe(b.childSpi());
  });

  test('child SPIs stay clear of the reserved ones', () => {
    const source = scriptedRandom(11);
    for (let i = 0; i < 2000; i++) expect(source.childSpi()).toBeGreaterThan(255);
  });
});
