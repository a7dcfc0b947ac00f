import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

const AsyncFunction = (async () => undefined).constructor as new (...lines: string[]) => (...values: unknown[]) => Promise<void>;

/** The code of the first example in a source file, without its one import, which must be from `specifier`. */
export async function exampleOf(path: string, specifier: string): Promise<string> {
  const source = await readFile(join(import.meta.dirname, '..', '..', path), 'utf8');
  const lines = /```ts\n([\s\S]*?)\n \* ```/
    .exec(source)![1]!
    .split('\n')
    .map((line) => line.replace(/^ \* ?/, ''));
  expect(lines[0]).toMatch(/^import \{ .* \} from '[^']+';$/);
  expect(lines[0]).toContain(`from '${specifier}';`);
  return lines.slice(1).join('\n');
}

/** Runs the code with these names in scope: what it imports, and what of the world a test puts in its place. */
export async function runExample(code: string, scope: Readonly<Record<string, unknown>>): Promise<void> {
  await new AsyncFunction(...Object.keys(scope), code)(...Object.values(scope));
}

/**
 * Runs an example file as it stands.
 * @param modules what it finds in the place of those that it imports by these names; the others are the platform's
 * @param scope names of the world that a test puts in its place
 */
export async function runExampleFile(
  path: string,
  modules: Readonly<Record<string, object>>,
  scope: Readonly<Record<string, unknown>>,
): Promise<void> {
  const source = await readFile(join(import.meta.dirname, '..', '..', path), 'utf8');
  const imported: Record<string, unknown> = {};
  for (const [, names, from] of source.matchAll(IMPORT)) {
    const module = (modules[from!] ?? (await import(from!))) as Readonly<Record<string, unknown>>;
    for (const name of names!.split(',').map((each) => each.trim())) imported[name] = module[name];
  }
  await runExample(source.replaceAll(IMPORT, ''), { ...imported, ...scope });
}

const IMPORT = /^import \{ (.*) \} from '([^']+)';$/gm;
