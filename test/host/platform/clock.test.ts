import { expect, test } from 'vitest';
import { systemClock } from '../../../src/host/platform/clock.ts';

test('a timer runs once and not before its time', async () => {
  const began = systemClock.now();
  await new Promise<void>((resolve) => systemClock.after(20, resolve));
  expect(systemClock.now() - began).toBeGreaterThanOrEqual(19);
});

test('a cancelled timer does not run', async () => {
  let ran = false;
  const timer = systemClock.after(5, () => (ran = true));
  timer.cancel();
  timer.cancel();
  await new Promise<void>((resolve) => systemClock.after(20, resolve));
  expect(ran).toBe(false);
});

test('a delay beyond what the platform’s timers hold does not fire at once', async () => {
  let ran = false;
  const timer = systemClock.after(90 * 24 * 3_600_000, () => (ran = true));
  await new Promise<void>((resolve) => systemClock.after(20, resolve));
  timer.cancel();
  expect(ran).toBe(false);
});

test('soon comes behind microtasks', async () => {
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    systemClock.soon(() => resolve(void order.push('soon')));
    queueMicrotask(() => order.push('microtask'));
  });
  expect(order).toEqual(['microtask', 'soon']);
});
