import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './sources.ts';

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}

const text = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
const lock = JSON.parse(text) as { lockfileVersion: number; packages: Record<string, LockedPackage & Record<string, unknown>> };
const installed = Object.entries(lock.packages).filter(([path]) => path !== '');

test('the lock names no host: it installs from whatever registry npm is told to use', () => {
  expect(installed.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path)).toEqual([]);
  const withoutFunding = JSON.stringify(lock, (key, value: unknown) => (key === 'funding' ? undefined : value));
  expect(withoutFunding.match(/\w+:\/\/[^"]*/g) ?? []).toEqual([]);
});

test('every package is pinned by a strong hash', () => {
  const weak = installed.filter(([, entry]) => !entry.integrity?.startsWith('sha512-')).map(([path]) => path);
  expect(weak).toEqual([]);
});

test('the lock says what package.json says', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>;
  const root = lock.packages['']!;
  for (const field of ['name', 'version', 'license', 'engines', 'bin', 'dependencies', 'devDependencies', 'optionalDependencies']) {
    expect(root[field], field).toEqual(manifest[field]);
  }
});
