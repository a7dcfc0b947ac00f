import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { buildOfSources } from './test/support/build.ts';

/**
 * No test is asked a second time: one that fails now and then is wrong, or has found something. (`.ci/run` asks a file with foreign peers
 * again, and names it.) Times are generous, since they are for
 * what never ends; a machine that is busy with something else is no failure.
 */
const NODE = {
  environment: 'node' as const,
  globals: false,
  retry: 0,
  testTimeout: 180_000,
  hookTimeout: 180_000,
  setupFiles: ['test/support/octets-equal.ts'],
};

const BUILT = { plugins: [buildOfSources()] };
/** What a test calls it calls some hundred times: V8 compiles less of it for nothing if it waits four times as long as it does by itself. */
const LATE_COMPILER = ['--interrupt-budget=270336'];
const NODE_BUILT = { ...NODE, execArgv: LATE_COMPILER, server: { deps: { external: [/\/dist\//] } } };

/** These watch the whole process, its memory or what any module writes: each gets one of its own. The others share what they import. */
const ALONE = ['test/security/redaction.test.ts', 'test/security/soak.test.ts', 'test/security/fragments.test.ts'];

export default defineConfig({
  test: {
    // one worker fewer than cores is the default; some tests wait for other processes, and leave a core to a third
    maxWorkers: Math.max(3, availableParallelism() - 1),
    projects: [
      {
        ...BUILT,
        test: {
          ...NODE_BUILT,
          name: 'unit',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [...ALONE, 'test/simulation/**', 'test/e2e/**', 'test/interop/**', 'test/kernel/**', 'test/fuzz/**', 'test/bench/**'],
        },
      },
      { test: { ...NODE, name: 'alone', include: ALONE } },
      { ...BUILT, test: { ...NODE_BUILT, isolate: false, name: 'simulation', include: ['test/simulation/**/*.test.ts'] } },
      { ...BUILT, test: { ...NODE_BUILT, isolate: false, name: 'e2e', include: ['test/e2e/**/*.test.ts'] } },
      {
        test: {
          ...NODE,
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          ...NODE,
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      { test: { ...NODE, name: 'fuzz', include: ['test/fuzz/**/*.test.ts'], testTimeout: 3_600_000 } },
    ],
  },
});
