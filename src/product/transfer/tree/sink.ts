import { constants, type Stats } from 'node:fs';
import { lstat, open, readlink, rename, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../errors.ts';
import { inParallel } from '../parallel.ts';
import { type IfExists, MAX_NAMES, moveToNew, nameTaken, numbered, writeAt } from '../part-file.ts';
import { modifiedOf, type TreeEntry, type TreeFile, type TreeFolder, type TreeLink } from './entry.ts';
import { AT_ONCE, type Packed } from './pack.ts';
import { PinnedFolders } from './pinned-folders.ts';

export interface TreeSinkOptions {
  /** Absolute, links resolved: nothing is written outside of it. */
  readonly root: string;
  /** A folder of ours on the same file system, for what has no final name yet. */
  readonly scratch: string;
  readonly ifExists: IfExists;
  /** A name that is not taken there. */
  readonly scratchName: () => string;
}

/** A folder into which a tree goes. A file gets its name when all of it is there; what a name held before is lost only where that is wished. */
export class TreeSink {
  readonly #options: TreeSinkOptions;
  readonly #folders: PinnedFolders;

  constructor(options: TreeSinkOptions) {
    this.#options = options;
    this.#folders = new PinnedFolders(options.root);
  }

  /** The numbers of those entries that are not here already: a file is by size and time, a link by its target. */
  async missing(entries: readonly TreeEntry[]): Promise<number[]> {
    const byFolder = new Map<string, number[]>();
    for (const [index, { path }] of entries.entries()) {
      const folder = path.slice(0, -1).join('/');
      const there = byFolder.get(folder);
      if (there === undefined) byFolder.set(folder, [index]);
      else there.push(index);
    }
    const missing: number[] = [];
    for (const indexes of byFolder.values()) {
      const folder = entries[indexes[0]!]!.path.slice(0, -1);
      const look = (path: string): Promise<void> =>
        inParallel(indexes, AT_ONCE, async (index) => {
          if (!(await this.#has(entries[index]!, path))) missing.push(index);
        });
      // Whatever keeps us out of the folder, to put something there will say it better.
      await this.#folders.within(folder, undefined, look).catch(() => missing.push(...indexes));
    }
    return missing;
  }

  /** @returns the name it got, below the root. @throws TransferError */
  async put({ entry, content }: Packed): Promise<readonly string[]> {
    try {
      if (entry.kind === 'folder') return await this.#putFolder(entry);
      const { path } = entry;
      const above = path.slice(0, -1);
      const name = await this.#folders.within(above, FOLDER_MODE, (folder) => this.#putNamed(entry, content, folder));
      return [...above, name];
    } catch (cause) {
      throw fileError(cause, entry.path.join('/'));
    }
  }

  close(): Promise<void> {
    return this.#folders.close();
  }

  async #putFolder({ path, mode, modified }: TreeFolder): Promise<readonly string[]> {
    await this.#folders.within(path, mode, (_path, handle) => handle.utimes(modified / 1000, modified / 1000));
    return path;
  }

  async #putNamed(entry: TreeFile | TreeLink, content: Uint8Array | undefined, folder: string): Promise<string> {
    const scratch = join(this.#options.scratch, this.#options.scratchName());
    try {
      if (entry.kind === 'link') await symlink(entry.target, scratch);
      else await writeNew(scratch, entry, content ?? NOTHING);
      return await this.#name(entry, scratch, folder);
    } catch (cause) {
      await unlink(scratch).catch(() => undefined);
      throw cause;
    }
  }

  /** Gives what is complete its final name, in one step. */
  async #name(entry: TreeEntry, scratch: string, folder: string): Promise<string> {
    const wished = entry.path.at(-1)!;
    if (this.#options.ifExists === 'replace') {
      await rename(scratch, join(folder, wished));
      return wished;
    }
    for (const name of this.#namesFor(wished)) {
      const path = join(folder, name);
      if (await moveToNew(scratch, path)) return name;
      // A pack whose connection broke may still be at work here while it is sent again.
      if (!(await isSame(entry, path, await lstat(path)))) continue;
      await unlink(scratch);
      return name;
    }
    throw nameTaken(wished);
  }

  *#namesFor(wished: string): Generator<string> {
    yield wished;
    if (this.#options.ifExists === 'both') for (let n = 1; n < MAX_NAMES; n++) yield numbered(wished, n);
  }

  async #has(entry: TreeEntry, folder: string): Promise<boolean> {
    for (const name of this.#namesFor(entry.path.at(-1)!)) {
      const at = join(folder, name);
      const stat = await lstat(at).catch(() => undefined);
      if (stat === undefined) return false;
      if (await isSame(entry, at, stat)) return true;
    }
    return false;
  }
}

async function writeNew(path: string, { mode, modified }: TreeFile, content: Uint8Array): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    if (content.length > 0) await writeAt(handle, content, 0);
    await handle.utimes(modified / 1000, modified / 1000);
  } finally {
    await handle.close();
  }
}

async function isSame(entry: TreeEntry, at: string, stat: Stats): Promise<boolean> {
  if (entry.kind === 'folder') return stat.isDirectory() && modifiedOf(stat) === entry.modified;
  if (entry.kind === 'file') return stat.isFile() && stat.size === entry.size && modifiedOf(stat) === entry.modified;
  return stat.isSymbolicLink() && (await readlink(at)) === entry.target;
}

/** Of a folder that nobody has described yet. */
const FOLDER_MODE = 0o700;
const NOTHING = new Uint8Array(0);
