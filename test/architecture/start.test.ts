import { expect, test } from 'vitest';
import { parseSource, readSource } from './sources.ts';

/**
 * Everything that is loaded with a file before its first line runs: files by their path, packages by their name. What a command needs it
 * imports when it runs: a user waits for every file that all commands load at the start.
 */
function loadedWith(entry: string): ReadonlySet<string> {
  const loaded = new Set<string>();
  const visit = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    const { imports } = parseSource(readSource(path));
    for (const { target, relative, typeOnly, dynamic } of imports) {
      if (typeOnly || dynamic || target.startsWith('node:')) continue;
      if (relative) visit(target);
      else loaded.add(target);
    }
  };
  visit(entry);
  return loaded;
}

const packages = (loaded: ReadonlySet<string>): readonly string[] => [...loaded].filter((target) => !target.startsWith('src/')).sort();
const rooms = (loaded: ReadonlySet<string>): readonly string[] =>
  [...new Set([...loaded].filter((target) => target.startsWith('src/')).map((path) => path.split('/').slice(1, 3).join('/')))].sort();

test('the command line starts with little: no schemas, no parts of a running instance', () => {
  const loaded = loadedWith('src/cli/main.ts');
  expect(packages(loaded)).toEqual(['commander', 'picocolors']);
  expect(rooms(loaded).filter((room) => !room.startsWith('cli/'))).toEqual([
    'core/bytes',
    'core/wire',
    'host/platform',
    'product/config',
    'product/control',
  ]);
  expect(loaded.has('src/product/control/index.ts')).toBe(false);
  expect(loaded.has('src/product/config/index.ts')).toBe(false);
});

test('the demo has its gateway and client in processes of their own, and what these need is not in its own', () => {
  const loaded = loadedWith('src/cli/demo/demo.ts');
  for (const name of ['zod', 'yaml']) expect(packages(loaded)).not.toContain(name);
  for (const room of ['host/engine', 'host/dataplane', 'core/ike', 'core/netstack']) expect(rooms(loaded)).not.toContain(room);
});

test('the checker itself: it follows what is loaded at once, and neither types nor what is asked for later', () => {
  expect(packages(loadedWith('src/product/control/index.ts'))).toContain('zod');
  // the demo is imported when its command runs
  expect(loadedWith('src/cli/commands/demo.ts').has('src/cli/demo/demo.ts')).toBe(false);
});
