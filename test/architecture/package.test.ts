import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from './sources.ts';

interface Manifest {
  readonly type: string;
  readonly license: string;
  readonly sideEffects: boolean;
  readonly bin: Record<string, string>;
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>;
  readonly files: readonly string[];
  readonly scripts: Record<string, string>;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
const sourceOf = (built: string): string => built.replace(/^\.?\/?dist\//, 'src/').replace(/\.(d\.ts|js)$/, '.ts');

describe('exports and bin', () => {
  test.each(Object.entries(manifest.exports).filter(([subpath]) => subpath !== './package.json'))(
    '%s is built from a source that exists',
    (_subpath, target) => {
      expect(typeof target).toBe('object');
      if (typeof target === 'string') return;
      expect(Object.keys(target), 'types come first, or TypeScript does not see them').toEqual(['types', 'default']);
      expect(sourceOf(target.types)).toBe(sourceOf(target.default));
      expect(existsSync(join(ROOT, sourceOf(target.default))), sourceOf(target.default)).toBe(true);
    },
  );

  test.each(Object.entries(manifest.bin))('the command %s is built from a source that begins with a shebang', (_name, target) => {
    expect(readFileSync(join(ROOT, sourceOf(target)), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  test('is an ES module without side effects under Apache-2.0', () => {
    expect(manifest).toMatchObject({ type: 'module', sideEffects: false, license: 'Apache-2.0' });
    expect(readFileSync(join(ROOT, 'LICENSE'), 'utf8')).toMatch(/Apache License\s+Version 2\.0, January 2004/);
  });
});

describe('files', () => {
  test('only the build, the documents, the schema and completions are published', () => {
    const allowed = ['dist', '!dist/.*', 'docs', 'schema', 'completions', 'README.md', 'CHANGELOG.md', 'LICENSE'];
    expect(manifest.files.filter((entry) => !allowed.includes(entry))).toEqual([]);
  });

  test('what the compiler keeps for itself is not published', () => {
    expect(manifest.files).toContain('!dist/.*');
  });
});

describe('scripts', () => {
  test.each(['start', 'test', 'build', 'check', 'test:interop', 'test:full', 'bench', 'fuzz', 'docs', 'simulate'])(
    'npm run %s is there',
    (name) => {
      expect(manifest.scripts[name]).toBeTypeOf('string');
    },
  );

  test('an install runs nothing of ours: a tarball needs no compiler', () => {
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'];
    expect(Object.keys(manifest.scripts).filter((name) => hooks.includes(name))).toEqual([]);
  });

  test('start and test make a fresh clone ready first', () => {
    for (const name of ['start', 'test']) expect(manifest.scripts[name]).toMatch(/^node tools\/ready\.mjs && /);
  });

  test('what a script runs exists', () => {
    const missing = Object.entries(manifest.scripts).flatMap(([name, line]) =>
      [...line.matchAll(/\bnode (?:--\S+ )*(\S+\.m?js)\b/g)]
        .map((match) =>
          match[1]!.startsWith('dist/.tools/') ? match[1]!.slice('dist/.tools/'.length).replace(/\.js$/, '.ts') : sourceOf(match[1]!),
        )
        .filter((path) => !existsSync(join(ROOT, path)))
        .map((path) => `${name}: ${path}`),
    );
    const unknown = Object.values(manifest.scripts).flatMap((line) =>
      [...line.matchAll(/\bnpm run ([\w:]+)/g)].map((match) => match[1]!).filter((name) => manifest.scripts[name] === undefined),
    );
    expect([...missing, ...unknown]).toEqual([]);
  });
});

describe('dependencies', () => {
  const runtime = { ...manifest.dependencies, ...manifest.optionalDependencies };

  test('are pinned exactly', () => {
    const loose = Object.entries({ ...runtime, ...manifest.devDependencies }).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
    expect(loose).toEqual([]);
  });

  test('are at most twelve at run time, and each is argued for in docs/decisions', () => {
    expect(Object.keys(runtime).length).toBeLessThanOrEqual(12);
    const folder = join(ROOT, 'docs', 'decisions');
    const decisions = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n');
    expect(Object.keys(runtime).filter((name) => !decisions.includes(`\`${name}\``))).toEqual([]);
  });
});
