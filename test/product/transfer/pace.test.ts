import { expect, test } from 'vitest';
import { parseOctetRate } from '../../../src/product/config/values.ts';
import { get, getTree, Pace, send, sendTree, type Timing } from '../../../src/product/transfer/index.ts';
import { SLOWEST } from '../../../src/product/transfer/pace.ts';
import { QUICK, Scene, sha256 } from './scene.ts';

/** Time that goes by in waits alone. */
function waits(): Timing & { readonly longest: number } {
  let now = 0;
  let longest = 0;
  return {
    now: () => now,
    after: (milliseconds, action) => {
      const at = now + milliseconds;
      longest = Math.max(longest, milliseconds);
      const timer = setImmediate(() => {
        now = Math.max(now, at);
        action();
      });
      return () => clearImmediate(timer);
    },
    get longest() {
      return longest;
    },
  };
}

async function pass(pace: Pace, chunk: Uint8Array): Promise<Uint8Array> {
  const passed: Uint8Array[] = [];
  for await (const piece of pace.pieces(chunk)) passed.push(piece);
  return Buffer.concat(passed);
}

test('octets pass whole, in order, at their rate, and never after a long silence', async () => {
  const timing = waits();
  const pace = new Pace(100_000, timing);
  const chunk = Uint8Array.from({ length: 64 * 1024 }, (_, i) => i % 251);
  for (let i = 0; i < 10; i++) expect(sha256(await pass(pace, chunk))).toBe(sha256(chunk));
  expect(timing.now()).toBeGreaterThan(6300);
  expect(timing.now()).toBeLessThan(6600);
  expect(timing.longest).toBeLessThanOrEqual(60);
});

test('connections share it', async () => {
  const timing = waits();
  const pace = new Pace(100_000, timing);
  await Promise.all([1, 2, 3, 4].map(() => pass(pace, new Uint8Array(50_000))));
  expect(timing.now()).toBeGreaterThan(1800);
  expect(timing.now()).toBeLessThan(2100);
});

test('there are only as many of them as it keeps alive', () => {
  const pace = (rate: number) => new Pace(rate, waits());
  expect([SLOWEST, 4 * SLOWEST, 100 * SLOWEST].map((rate) => pace(rate).connections(16))).toEqual([1, 4, 16]);
});

test.each(['send', 'sendTree', 'get', 'get over several connections', 'getTree'])('%s keeps to it', async (how) => {
  const scene = await Scene.open();
  const timing = waits();
  const rate = 250_000;
  const options = { connect: scene.wire().connect, pace: new Pace(rate, timing), ...QUICK };
  const size = 300_000;
  const large = how.endsWith('connections') ? 3_000_000 : size;
  const { path } = scene.file('file', size);
  scene.share('folder/file', large);
  if (how === 'send') await send({ ...options, file: path });
  else if (how === 'sendTree') await sendTree({ ...options, files: [path, scene.file('small', 1000).path] });
  else if (how === 'getTree') await getTree({ ...options, from: 'folder', to: scene.here });
  else await get({ ...options, from: { path: 'folder/file' }, to: `${scene.here}/`, parallel: 4 });
  const seconds = large / rate;
  expect(timing.now()).toBeGreaterThan(seconds * 1000 - 200);
  expect(timing.now()).toBeLessThan(seconds * 1100);
});

test('the slowest rate that can be configured is the slowest that a connection has', () => {
  expect(parseOctetRate(String(SLOWEST))).toEqual({ ok: true, value: SLOWEST });
  expect(parseOctetRate(String(SLOWEST - 1)).ok).toBe(false);
});
