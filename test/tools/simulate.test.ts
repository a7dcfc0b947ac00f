import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'tunnelwright-simulate-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** In place of the real walks: every seventh seed fails, 99 kills its process. */
const WALKS = `
export function runWalk({ seed, steps = 200, temper }) {
  if (seed === 99) process.exit(5);
  const broken = seed % 7 === 0 ? { invariant: 'usable', what: temper === undefined ? 'no way through' : 'no way through a ' + temper + ' one', step: 3, action: 'roam' } : undefined;
  return { steps: Array.from({ length: steps }), broken };
}
export const explainWalk = ({ seed, steps }) => \`walk \${seed} of \${steps} steps explained\`;
`;
const walks = join(folder, 'walks.mjs');
writeFileSync(walks, WALKS);

function simulate(...argv: string[]): { readonly status: number | null; readonly out: string; readonly err: string } {
  const env = { ...process.env, TUNNELWRIGHT_WALKS: pathToFileURL(walks).href };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/simulate.mjs', ...argv], { env, encoding: 'utf8' });
  return { status, out: stdout, err: stderr };
}

describe('npm run simulate', () => {
  test('takes every seed of a range once, and says so in one line', () => {
    const { status, out } = simulate('--seeds', '1..6');
    expect(out).toMatch(/^✓ seeds 1\.\.6: 6 of 6 walks in [\d.]+ s \(\d+ per second\), none failed\n$/);
    expect(status).toBe(0);
  });

  test('names each seed that fails, how to replay it, and fails', () => {
    const { status, out } = simulate('--seeds=1..23', '--steps', '50');
    expect(status).toBe(1);
    expect(out).toContain(
      '✗ seed 14 broke "usable" at step 3 (roam): no way through\n  replay: npm run simulate -- --seeds 14 --steps 50\n',
    );
    expect(out).toMatch(/✗ seeds 1\.\.23: 23 of 23 walks in .*, 3 failed: 7, 14, 21\n$/);
  });

  test('takes walks of one temper', () => {
    expect(simulate('--seeds', '6..7', '--temper=full').out).toContain(
      'no way through a full one\n  replay: npm run simulate -- --seeds 7 --temper full\n',
    );
  });

  test('explains one seed', () => {
    expect(simulate('--seeds', '7', '--steps', '9')).toMatchObject({ status: 1, out: 'walk 7 of 9 steps explained\n' });
    expect(simulate('--seeds', '8', '--steps', '9')).toMatchObject({ status: 0, out: '✓ walk 8: 9 steps, nothing broke\n' });
  });

  test('does not pass where a worker died', () => {
    const { status, err } = simulate('--seeds', '98..100');
    expect(status).toBe(1);
    expect(err).toContain('a worker ended with 5');
  });

  test.each([
    [['--seeds', '9..2'], 'an empty range'],
    [['--seeds', 'all'], 'a number, or a range'],
    [['--seeds'], 'needs a value'],
    [['--seeds', '1..2', '--steps', '0'], 'from 1 on'],
    [['--seeds', '1..2', '--speed', '3'], '--speed is no option'],
    [['--seeds', '1..2', '--temper', 'mild'], '--temper is one of light, brisk, full'],
    [['--steps', '3'], 'a number, or a range'],
  ])('refuses %j', (argv, why) => {
    const { status, err } = simulate(...argv);
    expect(status).toBe(2);
    expect(err).toContain(why);
    expect(err).toContain('npm run simulate -- --seeds FROM..TO');
  });
});
