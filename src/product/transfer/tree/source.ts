import {
  type BigIntStats,
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoOf, fileChanged, fileError, reasonOf, TransferError } from '../errors.ts';
import { parsePath } from '../paths.ts';
import {
  leavesTree,
  modifiedOf,
  PERMISSIONS,
  staysInside,
  type TreeEntry,
  type TreeFile,
  type TreeFolder,
  type TreeLink,
} from './entry.ts';
import { LARGEST_PACKED, PackWriter, type Refused } from './pack.ts';
import { PinnedFolders } from './pinned-folders.ts';

/** What an operator named: a folder with all that is in it, or one file. */
export interface NamedSource {
  /** A link that is named itself is followed. */
  readonly path: string;
  /** Where it goes to, as segments; it keeps its name below that, unless `renamed`. */
  readonly into: readonly string[];
  readonly renamed: boolean;
}

/** A part of a tree. */
export interface Walked {
  readonly entries: readonly TreeEntry[];
  /** What of it cannot travel, and why. */
  readonly skipped: readonly { readonly name: string; readonly why: string }[];
  readonly ended: boolean;
}

/** What can be packed: a file is read where it is packed, and described as it is then. */
export type Packable = Pick<TreeFile, 'kind' | 'path'> | TreeFolder | TreeLink;

export interface Block {
  readonly body: Uint8Array;
  /** The number of the first one that found no room. */
  readonly next: number;
  /** What is not in it, and why. */
  readonly refused: readonly Refused[];
}

/** A folder of ours whose content travels. Links inside are never followed. */
export class TreeSource {
  readonly #folders: PinnedFolders;
  /** Segments that every entry gets in front. */
  readonly #prefix: readonly string[];
  /** What of the folder is meant: all, or one name. */
  readonly #only: string | undefined;
  readonly #walks = new Map<Walk, Generator<TreeEntry>>();
  readonly #skipped: { readonly name: string; readonly why: string }[] = [];
  #buffer: Uint8Array | undefined;

  private constructor(root: string, prefix: readonly string[], only: string | undefined) {
    this.#folders = new PinnedFolders(root);
    this.#prefix = prefix;
    this.#only = only;
  }

  /** @param root absolute, links resolved */
  static below(root: string): TreeSource {
    return new TreeSource(root, [], undefined);
  }

  static named({ path, into, renamed }: NamedSource): TreeSource {
    try {
      const real = realpathSync(path);
      if (lstatSync(real).isDirectory()) return new TreeSource(real, renamed ? into : [...into, ...parsePath(basename(path))], undefined);
      return new TreeSource(dirname(real), into, basename(real));
    } catch (cause) {
      throw fileError(cause, path);
    }
  }

  /**
   * What comes next of everything, folders before what is in them; or of the folders alone, those inside before those around them. Holds the
   * names of one folder for each level.
   * @param anew from the start
   */
  next(walk: Walk, anew = false): Walked {
    const entries: TreeEntry[] = [];
    const begun = anew ? undefined : this.#walks.get(walk);
    const under = begun ?? (walk === 'everything' ? this.#everything() : this.#foldersAlone());
    this.#walks.set(walk, under);
    let ended = false;
    while (!ended && entries.length < WALKED_AT_ONCE) {
      const { done, value } = under.next();
      if (done === true) ended = true;
      else entries.push(value);
    }
    const skipped = this.#skipped.splice(0);
    return { entries, skipped: walk === 'everything' ? skipped : [], ended };
  }

  /** What is in one folder, by name; what cannot travel is left out. @throws TransferError when it cannot be read */
  list(below: readonly string[]): readonly TreeEntry[] {
    const entries = [...this.#folder(below)];
    this.#skipped.length = 0;
    return entries;
  }

  /** Packs them, from one of them on, until the block is large. */
  pack(items: readonly Packable[], from: number): Block {
    const writer = new PackWriter();
    const refused: Refused[] = [];
    let index = from;
    for (; index < items.length && writer.length < LARGE_BLOCK; index++) {
      const item = items[index]!;
      try {
        if (item.kind !== 'file') writer.add(item);
        else this.#packFile(item, writer);
      } catch (cause) {
        const { code, message } = fileError(cause, item.path.join('/'));
        refused.push({ index, code, message });
      }
    }
    return { body: writer.written(), next: index, refused };
  }

  /** Where a file of it is. */
  locate(path: readonly string[]): { readonly root: string; readonly below: readonly string[] } {
    return { root: this.#folders.root, below: this.#belowRoot(path) };
  }

  close(): void {
    this.#folders.close();
  }

  *#everything(): Generator<TreeEntry> {
    if (this.#only !== undefined) {
      const found = this.#look([], this.#only);
      if (found !== undefined) yield found;
      return;
    }
    const root = this.#root();
    if (this.#prefix.length > 0) yield root;
    yield* this.#below([]);
  }

  #root(): TreeFolder {
    const stat = this.#folders.within([], undefined, (_path, descriptor) => fstatSync(descriptor));
    return { kind: 'folder', path: this.#prefix, ...timeAndMode(stat) };
  }

  *#foldersAlone(): Generator<TreeFolder> {
    if (this.#only !== undefined) return;
    yield* this.#foldersBelow([]);
    if (this.#prefix.length > 0) yield this.#root();
  }

  *#foldersBelow(folder: readonly string[]): Generator<TreeFolder> {
    const names = this.#folders.within(folder, undefined, (path) => namesIn(path, folder, (one) => one.isDirectory()));
    for (const name of names) {
      const found = this.#look(folder, name);
      if (found?.kind !== 'folder') continue;
      yield* this.#foldersBelow([...folder, name]);
      yield found;
    }
  }

  *#below(folder: readonly string[]): Generator<TreeEntry> {
    try {
      for (const entry of this.#folder(folder)) {
        yield entry;
        if (entry.kind === 'folder') yield* this.#below(this.#belowRoot(entry.path));
      }
    } catch (cause) {
      this.#skip(folder, reasonOf(cause));
    }
  }

  *#folder(below: readonly string[]): Generator<TreeEntry> {
    const names = this.#folders.within(below, undefined, (path) => namesIn(path, below));
    for (const name of names) {
      const found = this.#look(below, name);
      if (found !== undefined) yield found;
    }
  }

  /** Undefined for what cannot travel; that is said. */
  #look(folder: readonly string[], name: string): TreeEntry | undefined {
    const below = [...folder, name];
    const path = [...this.#prefix, ...below];
    try {
      parsePath(path.join('/'));
      return this.#folders.within(folder, undefined, (within) => {
        const stat = lstatSync(join(within, name));
        if (stat.isFile()) return { kind: 'file', path, size: stat.size, ...timeAndMode(stat) };
        if (stat.isDirectory()) return { kind: 'folder', path, ...timeAndMode(stat) };
        if (!stat.isSymbolicLink()) throw new TransferError('is neither file, folder nor link', { code: 'TRANSFER_NOT_A_FILE' });
        const target = readlinkSync(join(within, name));
        if (!staysInside(target, folder.length)) throw leavesTree(below);
        return { kind: 'link', path, target };
      });
    } catch (cause) {
      // a name that is not UTF-8 was read as another one, which there is not
      const notUtf8 = name.includes('\ufffd') && errnoOf(cause) === 'ENOENT';
      this.#skip(below, notUtf8 ? 'its name is not UTF-8' : reasonOf(cause));
      return undefined;
    }
  }

  /** @throws TransferError `TRANSFER_FILE_CHANGED` when it does not hold still */
  #packFile({ path }: Pick<TreeFile, 'path'>, writer: PackWriter): void {
    const below = this.#belowRoot(path);
    const name = path.join('/');
    const descriptor = this.#folders.within(below.slice(0, -1), undefined, (folder) => openSync(join(folder, below.at(-1)!), READ));
    try {
      for (let attempt = 0; attempt < MOST_READINGS; attempt++) {
        const before = fstatSync(descriptor, { bigint: true });
        const content = this.#read(descriptor, before, name);
        const after = fstatSync(descriptor, { bigint: true });
        const { length } = content;
        if (length !== Number(before.size) || after.mtimeNs !== before.mtimeNs || after.size !== before.size) continue;
        const mode = Number(before.mode) & PERMISSIONS;
        return writer.add({ kind: 'file', path, size: length, modified: modifiedOf(before), mode }, content);
      }
      throw fileChanged(name);
    } finally {
      closeSync(descriptor);
    }
  }

  /** Up to an octet more than it is to have. Valid until the next one is read. */
  #read(descriptor: number, stat: BigIntStats, name: string): Uint8Array {
    if (!stat.isFile()) throw new TransferError(`${name}: is not a regular file`, { code: 'TRANSFER_NOT_A_FILE' });
    if (stat.size > LARGEST_PACKED)
      throw new TransferError(`${name}: is larger than ${LARGEST_PACKED} octets`, { code: 'TRANSFER_TOO_LARGE' });
    this.#buffer ??= new Uint8Array(LARGEST_PACKED + 1);
    return this.#buffer.subarray(0, readSync(descriptor, this.#buffer, 0, Number(stat.size) + 1, 0));
  }

  #belowRoot(path: readonly string[]): readonly string[] {
    return path.slice(this.#prefix.length);
  }

  #skip(below: readonly string[], why: string): void {
    this.#skipped.push({ name: [...this.#prefix, ...below].join('/'), why });
  }
}

type Walk = 'everything' | 'folders';

function namesIn(path: string, below: readonly string[], wanted: (one: Dirent) => boolean = () => true): string[] {
  try {
    const found = readdirSync(path, { withFileTypes: true }).filter(wanted);
    return found.map(({ name }) => name).sort();
  } catch (cause) {
    throw fileError(cause, below.join('/'));
  }
}

const timeAndMode = (stat: Stats): { modified: number; mode: number } => ({ modified: modifiedOf(stat), mode: stat.mode & PERMISSIONS });

/** A FIFO or device does not block. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const MOST_READINGS = 3;
const WALKED_AT_ONCE = 512;
/** Octets after which a block is passed on. */
const LARGE_BLOCK = 1024 * 1024;
