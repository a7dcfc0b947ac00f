import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { get, send } from '../../../src/product/transfer/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { QUICK, Scene, sha256, tree } from './scene.ts';
import { type CutKind, cutBetween } from './wire.ts';

const KINDS: readonly CutKind[] = ['reset', 'client only', 'silence'];
const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);
const SIZE = 600_000;

describe('connections cut at random places', () => {
  test.each(SEEDS)('a file is sent whole, seed %i', async (seed) => {
    const random = new SeededRandom(seed, 'cuts');
    const scene = await Scene.open();
    const { path, data } = scene.file('report.bin', SIZE, seed);
    // Most cuts are heard by both ends; the silent ones cost their timeout each.
    const kind = (): CutKind => (random.chance(0.8) ? 'reset' : random.pick(KINDS));
    const wire = scene.wire({ cutAfter: cutBetween(random, 200, 60_000), kind, refuse: () => random.chance(0.2) });
    const result = await send({ connect: wire.connect, file: path, ...QUICK, timing: scene.timing });
    expect(wire.cuts, 'the wire must have been cut often').toBeGreaterThan(8);
    expect(result.sha256).toBe(sha256(data));
    expect(sha256(scene.stored(result.storedAs))).toBe(sha256(data));
    expect(tree(scene.inbox).filter((name) => name.endsWith('.part'))).toEqual([]);
    expect(scene.events.filter((event) => event.kind === 'stored')).toHaveLength(1);
  });

  test.each(SEEDS)('a file is got whole, seed %i', async (seed) => {
    const random = new SeededRandom(seed, 'cuts of get');
    const scene = await Scene.open();
    const data = scene.share('big.bin', SIZE, seed);
    const kind = (): CutKind => (random.chance(0.8) ? 'reset' : random.pick(KINDS));
    const wire = scene.wire({ cutAfter: cutBetween(random, 200, 60_000), kind, refuse: () => random.chance(0.2) });
    const result = await get({ connect: wire.connect, from: { path: 'big.bin' }, to: scene.here, ...QUICK, timing: scene.timing });
    expect(wire.cuts).toBeGreaterThan(8);
    expect(result).toMatchObject({ verified: true, sha256: sha256(data), path: join(scene.here, 'big.bin') });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(tree(scene.here)).toEqual(['big.bin']);
  });

  test('the final name never shows anything but the whole file', async () => {
    const random = new SeededRandom(99);
    const scene = await Scene.open();
    const { path, data } = scene.file('report.bin', SIZE);
    const wire = scene.wire({ cutAfter: cutBetween(random, 1000, 30_000) });
    const wrong: number[] = [];
    let looks = 0;
    const watch = setInterval(() => {
      looks++;
      try {
        const found = scene.stored('report.bin');
        if (sha256(found) !== sha256(data)) wrong.push(found.length);
      } catch {
        // Not there yet: as it should be.
      }
    }, 0);
    await send({ connect: wire.connect, file: path, ...QUICK, timing: scene.timing });
    clearInterval(watch);
    expect(looks).toBeGreaterThan(20);
    expect(wrong).toEqual([]);
  });

  test('little is sent twice: what arrived before a cut stays', async () => {
    const random = new SeededRandom(5);
    const scene = await Scene.open();
    const { path } = scene.file('report.bin', SIZE);
    const wire = scene.wire({ cutAfter: cutBetween(random, 20_000, 40_000) });
    await send({ connect: wire.connect, file: path, ...QUICK, timing: scene.timing });
    // A cut loses what was in buffers, of 16 KiB each, and costs the heads of two or three messages.
    expect(wire.bytes).toBeLessThan(SIZE + wire.cuts * 70_000);
    expect(wire.cuts).toBeGreaterThan(10);
  });
});
