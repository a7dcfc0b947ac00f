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
