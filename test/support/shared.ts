import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'vitest';

/** The material that others made lies beside the project; a test that needs it skips by name where it is absent. */
const ROOT = join(import.meta.dirname, '..', '..', '..', 'shared');

export const sharedPath = (relative: string): string => join(ROOT, relative);
export const hasShared = (relative: string): boolean => existsSync(sharedPath(relative));
export const readShared = (relative: string): Uint8Array => new Uint8Array(readFileSync(sharedPath(relative)));
export const readSharedJson = (relative: string): unknown => JSON.parse(readFileSync(sharedPath(relative), 'utf8'));

/** Files below a shared folder whose name ends so, sorted, as paths relative to the shared root. */
export function listShared(relative: string, ending = ''): string[] {
  if (!hasShared(relative)) return [];
  return readdirSync(sharedPath(relative), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(relative, name))
    .sort();
}

/** `describe` that is skipped, with the reason in its name, where `../shared/<relative>` is absent. */
export function describeWithShared(name: string, relative: string, body: () => void): void {
  if (hasShared(relative)) describe(name, body);
  else describe.skip(`${name} (needs ../shared/${relative})`, body);
}
