import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Parsed, parseSource, ROOT, readSource } from './sources.ts';

/**
 * Every name that a subpath of the package exports. A change of the public surface shows as a change of the report, which
 * `npm run docs` writes anew.
 */
test('the public surface is the one in the report', async () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string } | string>;
  };
  const report = Object.entries(exports).flatMap(([subpath, target]) =>
    typeof target === 'string'
      ? []
      : [subpath, ...surface(target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')).map((line) => `  ${line}`), ''],
  );
  await expect(report.join('\n')).toMatchFileSnapshot('../snapshots/public-api.txt');
});

const parsed = new Map<string, Parsed>();

function parse(path: string): Parsed {
  let known = parsed.get(path);
  if (known === undefined) {
    known = parseSource(readSource(path));
    parsed.set(path, known);
  }
  return known;
}

/** `class Endpoint`, `function connect`, sorted by name. */
function surface(path: string): string[] {
  return [...namesOf(path, [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, what]) => `${what} ${name}`);
}

function namesOf(path: string, above: readonly string[]): Map<string, string> {
  const names = new Map<string, string>();
  if (above.includes(path)) return names;
  for (const entry of parse(path).exports) {
    if (entry.kind === 'own') names.set(entry.name, entry.what);
    else if (entry.kind === 'from') names.set(entry.name, whatIs(entry.target, entry.imported) ?? (entry.typeOnly ? 'type' : 'name'));
    else for (const [name, what] of namesOf(entry.target, [...above, path])) if (name !== 'default') names.set(name, what);
  }
  return names;
}

const whatIs = (target: string, name: string): string | undefined =>
  target.startsWith('src/') ? namesOf(target, []).get(name) : undefined;
