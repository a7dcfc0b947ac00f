import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { slowness } from '../../support/processor-time.ts';
import { type Finished, must, run } from '../support/process.ts';
import { describeWith, FRESH_COPY } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/**
 * The README's first minute as a stranger has it: a fresh copy of what is committed, an ordinary user without any right, an empty home,
 * nothing run before.
 */
describeWith(FRESH_COPY, 'a fresh copy, as an ordinary user', () => {
  const scope = new Scope();
  const letter = randomBytes(3_000_000);
  let folder = '';
  const path = (...names: string[]): string => join(folder, ...names);

  /** In the copy, as nobody, with nothing of our environment but the way to Node and to the registry. */
  function asUser(command: readonly string[], timeout = 500_000): Promise<Finished> {
    const environment = { ...reachRegistry(), PATH: process.env.PATH ?? '', HOME: path('home'), TMPDIR: path('tmp') };
    const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const [first, ...rest] = [...GIVE_UP_RIGHTS, 'env', '-i', '-C', path('copy'), ...assignments, ...command];
    return run(first!, rest, { timeout });
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-user-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    await chmod(folder, 0o755);
    for (const name of ['home', 'tmp', 'copy']) await mkdir(path(name));
    await writeFile(path('letter.bin'), letter);
    // whoever runs this need not be the one whom the folder belongs to
    await must('git', ['-c', 'safe.directory=*', 'archive', '--output', path('copy.tar'), 'HEAD']);
    await must('tar', ['-x', '-f', path('copy.tar'), '-C', path('copy')]);
    if (AS_ROOT) await must('chown', ['-R', `${NOBODY}:${NOBODY}`, folder]);
  });
  afterAll(() => scope.close());

  test('is nobody, and may nothing', async () => {
    expect((await asUser(['id', '-u'])).stdout.trim()).not.toBe('0');
    expect((await asUser(['grep', 'CapEff', '/proc/self/status'])).stdout).toMatch(/:\s+0+$/m);
  });

  test('npm start makes itself ready, and takes a file of the user', async () => {
    const { status, stdout, stderr } = await asUser(['npm', 'start', '--', '--file', path('letter.bin')]);
    expect(status, stdout + stderr).toBe(0);
    expect(stderr).toContain('tunnelwright: installing dependencies …');
    expect(stderr).toContain('tunnelwright: building …');
    const digest = createHash('sha256').update(letter).digest('hex');
    expect(stdout).toMatch(new RegExp(`SHA-256 at the gateway +${digest}`));
  });

  test('npm start again: nothing to make ready, 64 MiB in less than 30 s', async () => {
    const before = slowness();
    const since = performance.now();
    const { status, stdout, stderr } = await asUser(['npm', 'start']);
    const took = performance.now() - since;
    expect(took / Math.max(before, slowness()), 'as if nothing else wanted the processor').toBeLessThan(30_000);
    expect(status, stdout + stderr).toBe(0);
    expect(stderr).not.toContain('tunnelwright:');
    const digests = [...stdout.matchAll(/SHA-256 at the (?:client|gateway) +([0-9a-f]{64})/g)].map(([, digest]) => digest);
    expect(digests.length).toBe(2);
    expect(new Set(digests).size).toBe(1);
    expect(stdout).toContain('64.0 MiB');
    expect(stdout.match(/✓ (?:the|every) /g)?.length).toBe(5);
    expect(stdout).not.toContain('✗');
  });

  test('leaves nothing behind but the cache of npm', async () => {
    expect(await readdir(path('tmp'))).toEqual([]);
    expect((await readdir(path('home'))).filter((name) => name !== '.npm')).toEqual([]);
  });
});

/** Of our environment, what a machine behind a proxy needs. */
function reachRegistry(): Record<string, string> {
  const names = [
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'NO_PROXY',
    'http_proxy',
    'https_proxy',
    'no_proxy',
    'NODE_EXTRA_CA_CERTS',
    'npm_config_registry',
  ];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}

const AS_ROOT = process.getuid?.() === 0;
/** The user that owns nothing, by custom. */
const NOBODY = 65534;
const GIVE_UP_RIGHTS = AS_ROOT
  ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all']
  : [];
