import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Memory and time are measured here and there: on a busy machine of the continuous run a test may ask once more before it fails. */
const NODE = { environment: 'node' as const, globals: false, retry: process.env.CI ? 1 : 0 };

export default defineConfig({
  test: {
    // one worker fewer than cores is the default: on two cores that leaves one idle
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        test: {
          ...NODE,
          name: 'unit',
          // generous: a machine that is busy with something else is no failure
          testTimeout: 30_000,
          include: ['test/**/*.test.ts'],
          exclude: ['test/simulation/**', 'test/e2e/**', 'test/interop/**', 'test/fuzz/**', 'test/bench/**'],
        },
      },
      { test: { ...NODE, name: 'simulation', include: ['test/simulation/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { ...NODE, name: 'e2e', include: ['test/e2e/**/*.test.ts'], testTimeout: 60_000, fileParallelism: false } },
      {
        test: {
          ...NODE,
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // two programs, their timers and one busy machine: once more before it counts
          retry: 1,
          fileParallelism: false,
        },
      },
      { test: { ...NODE, name: 'fuzz', include: ['test/fuzz/**/*.test.ts'], testTimeout: 3_600_000 } },
    ],
  },
});
