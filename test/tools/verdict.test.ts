import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'tunnelwright-verdict-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the verdict over several test runs', () => {
  test('adds up what passed, on a last line of its own', () => {
    expect(verdict([report('passed', 'passed'), report('passed')])).toMatchObject({ status: 0, last: '3 passed, 0 failed, 0 skipped' });
  });

  test('names a failure with its message', () => {
    const { status, last, text } = verdict([report('passed', 'failed')], { ended: 1 });
    expect({ status, last }).toEqual({ status: 1, last: '1 passed, 1 failed, 0 skipped' });
    expect(text).toContain('✗ run0: suite test 1\n    boom');
  });

  test('makes a failure of a skip that nobody listed, where strictness is asked for', () => {
    expect(verdict([report('passed', 'skipped')])).toMatchObject({ status: 1, last: '1 passed, 1 failed, 0 skipped' });
    expect(verdict([report('passed', 'skipped')], { require: '' })).toMatchObject({ status: 0, last: '1 passed, 0 failed, 1 skipped' });
  });

  test('accepts a listed skip, and a conditional one only while its path is absent', () => {
    const runs = [report('passed', 'skipped')];
    expect(verdict(runs, { skips: '# why\n\nsuite * | always | known' })).toMatchObject({
      status: 0,
      last: '1 passed, 0 failed, 1 skipped',
    });
    expect(verdict(runs, { skips: 'suite * | unless package.json | needs it' }).status).toBe(1);
    expect(verdict(runs, { skips: 'suite * | unless no/such/path | needs it' }).status).toBe(0);
  });

  test('is bad when a run gave no report, ended badly without a failing test, or ran nothing', () => {
    expect(verdict([undefined], { ended: 124 })).toMatchObject({ status: 1, last: '0 passed, 1 failed, 0 skipped' });
    expect(verdict([report('passed')], { ended: 1 })).toMatchObject({ status: 1, last: '1 passed, 1 failed, 0 skipped' });
    expect(verdict([{ testResults: [] }])).toMatchObject({ status: 1, last: '0 passed, 1 failed, 0 skipped' });
  });

  test('counts a file that failed outside of its tests', () => {
    const broken = { testResults: [{ name: 'b.test.ts', status: 'failed', message: 'cannot import', assertionResults: [] }] };
    const { last, text } = verdict([broken], { ended: 1 });
    expect(last).toBe('0 passed, 1 failed, 0 skipped');
    expect(text).toContain('✗ run0: b.test.ts\n    cannot import');
  });

  test('takes the second answer of a file that failed, and says so', () => {
    const { status, last, text } = verdict([report('passed', 'failed')], { ended: 1, again: report('passed', 'passed') });
    expect({ status, last }).toEqual({ status: 0, last: '2 passed, 0 failed, 0 skipped' });
    expect(text).toContain('! failed at first, and held when it was asked again: run0: suite test 1\n    boom');
    expect(verdict([report('failed')], { ended: 1, again: report('failed') })).toMatchObject({
      status: 1,
      last: '0 passed, 1 failed, 0 skipped',
    });
    expect(verdict([report('failed')], { ended: 1, again: { testResults: [] } }).status).toBe(1);
  });

  test('prints the files that failed, unless they are many', () => {
    const failed = (count: number) => {
      const one = report('failed').testResults[0];
      const testResults = Array.from({ length: count }, (_, i) => ({ ...one, name: `${i}.test.ts` }));
      writeFileSync(join(folder, 'many.json'), JSON.stringify({ testResults }));
      return spawnSync(process.execPath, ['tools/verdict.mjs', '--failed', folder, 'many'], { encoding: 'utf8' }).stdout;
    };
    expect(failed(2)).toBe('0.test.ts\n1.test.ts\n');
    expect(failed(4)).toBe('');
  });

  test('refuses a skip without its reason', () => {
    expect(verdict([report('passed')], { skips: 'suite * | always |' }).text).toContain('not a skip with its reason');
  });
});

function verdict(reports: readonly unknown[], options: { ended?: number; require?: string; skips?: string; again?: unknown } = {}) {
  const names = reports.map((content, i) => {
    const name = `run${i}`;
    rmSync(join(folder, `${name}.json`), { force: true });
    if (content) writeFileSync(join(folder, `${name}.json`), JSON.stringify(content));
    writeFileSync(join(folder, `${name}.status`), String(options.ended ?? 0));
    return name;
  });
  rmSync(join(folder, 'run0.again.json'), { force: true });
  if (options.again) {
    writeFileSync(join(folder, 'run0.again.json'), JSON.stringify(options.again));
    writeFileSync(join(folder, 'run0.again.status'), '0');
  }
  const skips = join(folder, 'skips.txt');
  writeFileSync(skips, options.skips ?? '');
  const env = { ...process.env, SKIPS: skips, TUNNELWRIGHT_REQUIRE: options.require ?? 'strongswan' };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/verdict.mjs', folder, ...names], { env, encoding: 'utf8' });
  return { status, last: stdout.trimEnd().split('\n').at(-1), text: stdout + stderr };
}

function report(...statuses: string[]) {
  const assertionResults = statuses.map((status, i) => ({
    fullName: `suite test ${i}`,
    status,
    failureMessages: status === 'failed' ? ['boom'] : [],
  }));
  return { testResults: [{ name: 'a.test.ts', status: statuses.includes('failed') ? 'failed' : 'passed', assertionResults }] };
}
