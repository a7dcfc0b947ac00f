import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  futimesSync,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  renameSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../../../core/bytes/index.ts';
import { errnoOf, fileError, tooLarge } from '../errors.ts';
import { type IfExists, MAX_NAMES, NO_HARD_LINKS, nameTaken, numbered } from '../part-file.ts';
import { Room } from '../room.ts';
import { modifiedOf, type TreeEntry, type TreeFile, type TreeFolder, type TreeLink } from './entry.ts';
import type { Refused } from './pack.ts';
import { PinnedFolders } from './pinned-folders.ts';

export interface TreeSinkOptions {
  /** Absolute, links resolved: nothing is written outside of it. */
  readonly root: string;
  /** A folder of ours on the same file system, for what has no final name yet. */
  readonly scratch: string;
  readonly ifExists: IfExists;
  /** Octets of the largest file; absent: any. */
  readonly largest?: number;
  /** Octets of the disk that stay free; absent: none. */
  readonly keepFree?: number;
}

/** A folder into which a tree goes. A file gets its name when all of it is there; what a name held before is lost only where that is wished. */
export class TreeSink {
  readonly #options: TreeSinkOptions;
  readonly #folders: PinnedFolders;
  /** Nobody else has it in the folder of what has no name yet. */
  readonly #own: string;
  readonly #room: Room | undefined;
  #made = 0;

  constructor(options: TreeSinkOptions) {
    this.#options = options;
    this.#folders = new PinnedFolders(options.root);
    this.#own = join(options.scratch, toHex(randomBytes(16)));
    this.#room = options.keepFree === undefined ? undefined : new Room(options.scratch, options.keepFree);
  }

  /** The numbers of those entries that are not here already: a file is by size and time, a link by its target. */
  missing(entries: readonly TreeEntry[]): number[] {
    const byFolder = new Map<string, number[]>();
    for (const [index, { path }] of entries.entries()) {
      const folder = path.slice(0, -1).join('/');
      const there = byFolder.get(folder);
      if (there === undefined) byFolder.set(folder, [index]);
      else there.push(index);
    }
    return [...byFolder.values()].flatMap((indexes) => {
      const folder = entries[indexes[0]!]!.path.slice(0, -1);
      try {
        return this.#folders.within(folder, undefined, (path) => indexes.filter((index) => !this.#has(entries[index]!, path)));
      } catch {
        // Whatever keeps us out of the folder, to put something there will say it better.
        return indexes;
      }
    });
  }

  /** @param content of a file @returns the name it got, below the root. @throws TransferError */
  put(entry: TreeEntry, content: Uint8Array = NOTHING): readonly string[] {
    try {
      if (content.length > (this.#options.largest ?? Number.POSITIVE_INFINITY)) throw tooLarge(content.length, this.#options.largest!);
      this.#room?.take(content.length + ENTRY);
      if (entry.kind === 'folder') return this.#putFolder(entry);
      const above = entry.path.slice(0, -1);
      return [...above, this.#folders.within(above, FOLDER_MODE, (folder) => this.#putNamed(entry, content, folder))];
    } catch (cause) {
      throw fileError(cause, entry.path.join('/'));
    }
  }

  /** Several that have no content. @returns those that could not be put there, and why @throws TransferError for what concerns all of them */
  putAll(entries: readonly (TreeFolder | TreeLink)[]): Refused[] {
    return entries.flatMap((entry, index) => {
      try {
        this.put(entry);
        return [];
      } catch (cause) {
        return [refusedAlone(index, entry, cause)];
      }
    });
  }

  close(): void {
    this.#folders.close();
  }

  #putFolder({ path, mode, modified }: TreeFolder): readonly string[] {
    this.#folders.within(path, mode, (_path, descriptor) => futimesSync(descriptor, modified / 1000, modified / 1000));
    return path;
  }

  #putNamed(entry: TreeFile | TreeLink, content: Uint8Array, folder: string): string {
    const scratch = `${this.#own}-${this.#made++}.packed`;
    try {
      if (entry.kind === 'link') symlinkSync(entry.target, scratch);
      else writeNew(scratch, entry, content);
      return this.#name(entry, scratch, folder);
    } catch (cause) {
      removeIfThere(scratch);
      throw cause;
    }
  }

  /** Gives what is complete its final name, in one step. */
  #name(entry: TreeEntry, scratch: string, folder: string): string {
    const wished = entry.path.at(-1)!;
    if (this.#options.ifExists === 'replace') {
      renameSync(scratch, join(folder, wished));
      return wished;
    }
    for (const name of this.#namesFor(wished)) {
      const path = join(folder, name);
      if (moveToNew(scratch, path)) return name;
      // A pack whose connection broke may still be at work here while it is sent again.
      if (!isSame(entry, path, lstatSync(path))) continue;
      unlinkSync(scratch);
      return name;
    }
    throw nameTaken(wished);
  }

  *#namesFor(wished: string): Generator<string> {
    yield wished;
    if (this.#options.ifExists === 'both') for (let n = 1; n < MAX_NAMES; n++) yield numbered(wished, n);
  }

  #has(entry: TreeEntry, folder: string): boolean {
    for (const name of this.#namesFor(entry.path.at(-1)!)) {
      const at = join(folder, name);
      const stat = lstatSync(at, { throwIfNoEntry: false });
      if (stat === undefined) return false;
      if (isSame(entry, at, stat)) return true;
    }
    return false;
  }
}

/** A refusal of this entry. @throws what concerns all of them */
export function refusedAlone(index: number, { path }: TreeEntry, cause: unknown): Refused {
  const error = fileError(cause, path.join('/'));
  if (CONCERNS_ALL.has(error.code)) throw error;
  return { index, code: error.code, message: error.message };
}

function writeNew(path: string, { mode, modified }: TreeFile, content: Uint8Array): void {
  const descriptor = openSync(path, NEW, mode);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(descriptor, content, at);
    futimesSync(descriptor, modified / 1000, modified / 1000);
  } finally {
    closeSync(descriptor);
  }
}

/** A hard link fails where the name exists, where `rename` would replace. @returns false when the name is taken. */
function moveToNew(scratch: string, path: string): boolean {
  try {
    linkSync(scratch, path);
    unlinkSync(scratch);
    return true;
  } catch (cause) {
    const errno = errnoOf(cause) ?? '';
    if (errno === 'EEXIST') return false;
    if (!NO_HARD_LINKS.has(errno)) throw cause;
  }
  // Without hard links there is a moment between looking and renaming; nothing better is to be had on such a file system.
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) return false;
  renameSync(scratch, path);
  return true;
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was never made, or has its name.
  }
}

function isSame(entry: TreeEntry, at: string, stat: Stats): boolean {
  if (entry.kind === 'folder') return stat.isDirectory() && modifiedOf(stat) === entry.modified;
  if (entry.kind === 'file') return stat.isFile() && stat.size === entry.size && modifiedOf(stat) === entry.modified;
  return stat.isSymbolicLink() && readlinkSync(at) === entry.target;
}

const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const CONCERNS_ALL: ReadonlySet<string> = new Set(['TRANSFER_DISK_FULL', 'TRANSFER_BUSY']);
/** Of a folder that nobody has described yet. */
const FOLDER_MODE = 0o700;
const NOTHING = new Uint8Array(0);
/** Octets that a file takes on a disk besides its own, more or less. */
const ENTRY = 4096;
