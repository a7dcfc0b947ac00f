import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import type { Plugin } from 'vitest/config';

const ROOT = join(import.meta.dirname, '..', '..');
const SOURCE = join(ROOT, 'src');
export const BUILD = join(ROOT, 'dist');

/** Undefined when the build is that of the sources as they are. */
export function whyNotBuilt(): string | undefined {
  const stamp = join(BUILD, '.built');
  if (!existsSync(stamp)) return 'there is no build in dist';
  const changed = newest(SOURCE);
  return statSync(stamp).mtimeMs < changed.at ? `dist is older than ${changed.path}` : undefined;
}

/**
 * Gives the tests the build, as users get it, in the place of its sources: Node loads it as it is, where every source would be translated
 * once more for each project. Without a build of the sources as they are the tests have the sources.
 */
export function buildOfSources(): Plugin {
  const usable = whyNotBuilt() === undefined;
  return {
    name: 'build-of-sources',
    enforce: 'pre',
    resolveId(imported, importer) {
      if (!usable || importer === undefined || !imported.startsWith('.') || !imported.endsWith('.ts')) return undefined;
      const source = join(dirname(importer), imported);
      if (!source.startsWith(SOURCE + sep) || !existsSync(source)) return undefined;
      return join(BUILD, relative(SOURCE, source).replace(/ts$/, 'js'));
    },
  };
}

function newest(folder: string): { readonly path: string; readonly at: number } {
  let latest = { path: folder, at: 0 };
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const at = statSync(path).mtimeMs;
    if (at > latest.at) latest = { path, at };
  }
  return latest;
}
