import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf, fileChanged, fileError, TransferError } from '../errors.ts';
import { parsePath } from '../paths.ts';
import { leavesTree, modifiedOf, PERMISSIONS, staysInside, type TreeEntry, type TreeFile } from './entry.ts';
import { PinnedFolders } from './pinned-folders.ts';

/** Something of a tree that is here. */
export interface Found<E extends TreeEntry = TreeEntry> {
  /** As the other end is to know it. */
  readonly entry: E;
  /** Segments below the root of its source. */
  readonly below: readonly string[];
  readonly source: TreeSource;
}

/** Why something of a tree does not travel. */
export type OnSkipped = (name: string, why: string) => void;

/** A folder of ours whose content travels. Links inside are never followed. */
export class TreeSource {
  readonly #folders: PinnedFolders;
  /** Segments that every entry gets in front. */
  readonly #prefix: readonly string[];
  /** What of the folder is meant: all, or one name. */
  readonly #only: string | undefined;

  private constructor(root: string, prefix: readonly string[], only: string | undefined) {
    this.#folders = new PinnedFolders(root);
    this.#prefix = prefix;
    this.#only = only;
  }

  /** @param root absolute, links resolved */
  static below(root: string): TreeSource {
    return new TreeSource(root, [], undefined);
  }

  /**
   * What an operator named: a folder with all that is in it, or one file. A link that is named itself is followed.
   * @param into where it goes to, as segments; it keeps its name below that, unless `renamed`
   */
  static async named(path: string, into: readonly string[], renamed: boolean): Promise<TreeSource> {
    try {
      const real = await realpath(path);
      if ((await lstat(real)).isDirectory())
        return new TreeSource(real, renamed ? into : [...into, ...parsePath(basename(path))], undefined);
      return new TreeSource(dirname(real), into, basename(real));
    } catch (cause) {
      throw fileError(cause, path);
    }
  }

  /** Everything, folders before what is in them. Holds the names of one folder for each level. */
  async *entries(onSkipped: OnSkipped): AsyncGenerator<Found> {
    if (this.#only !== undefined) {
      const found = await this.#look([], this.#only, onSkipped);
      if (found !== undefined) yield found;
      return;
    }
    const root = await this.#folders.within([], undefined, (_path, handle) => handle.stat());
    if (this.#prefix.length > 0) yield this.#found([], { kind: 'folder', ...timeAndMode(root) });
    yield* this.#below([], onSkipped);
  }

  /** What is in one folder, by name. @throws TransferError when it cannot be read */
  async *folder(below: readonly string[], onSkipped: OnSkipped = () => undefined): AsyncGenerator<Found> {
    const names = await this.#folders.within(below, undefined, (path) =>
      readdir(path).catch((cause: unknown) => {
        throw fileError(cause, below.join('/'));
      }),
    );
    names.sort();
    for (let at = 0; at < names.length; at += LOOKED_AT_ONCE) {
      const some = names.slice(at, at + LOOKED_AT_ONCE);
      for (const found of await Promise.all(some.map((name) => this.#look(below, name, onSkipped)))) if (found !== undefined) yield found;
    }
  }

  /** Folders alone, those inside before those around them. */
  async *folders(): AsyncGenerator<Found> {
    const waiting: Found[] = [];
    for await (const found of this.entries(() => undefined)) {
      if (found.entry.kind !== 'folder') continue;
      for (let last = waiting.at(-1); last !== undefined && !contains(last, found); last = waiting.at(-1)) yield waiting.pop()!;
      waiting.push(found);
    }
    while (waiting.length > 0) yield waiting.pop()!;
  }

  /**
   * The content of a small file, and what it is now.
   * @throws TransferError `TRANSFER_FILE_CHANGED` when it does not hold still
   */
  async read(below: readonly string[], largest: number): Promise<{ readonly file: Omit<TreeFile, 'path'>; readonly content: Uint8Array }> {
    const handle = await this.#open(below);
    try {
      for (let attempt = 0; attempt < MOST_READINGS; attempt++) {
        const before = await handle.stat({ bigint: true });
        if (!before.isFile()) throw notRegular(below);
        const size = Number(before.size);
        if (size > largest) throw new TransferError(`${below.join('/')}: is larger than ${largest} octets`, { code: 'TRANSFER_TOO_LARGE' });
        const buffer = new Uint8Array(size + 1);
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
        const after = await handle.stat({ bigint: true });
        if (bytesRead !== size || after.mtimeNs !== before.mtimeNs || after.size !== before.size) continue;
        const mode = Number(before.mode) & PERMISSIONS;
        return { file: { kind: 'file', size, modified: modifiedOf(before), mode }, content: buffer.subarray(0, size) };
      }
      throw fileChanged(below.join('/'));
    } catch (cause) {
      throw fileError(cause, below.join('/'));
    } finally {
      await handle.close();
    }
  }

  /** Opens a regular file. The caller closes it. */
  async openFile(below: readonly string[]): Promise<FileHandle> {
    const handle = await this.#open(below);
    const stat = await handle.stat();
    if (stat.isFile()) return handle;
    await handle.close();
    throw notRegular(below);
  }

  /** A FIFO or device does not block. */
  #open(below: readonly string[]): Promise<FileHandle> {
    return this.#folders.within(below.slice(0, -1), undefined, (folder) =>
      open(join(folder, below.at(-1)!), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((cause: unknown) => {
        throw fileError(cause, below.join('/'));
      }),
    );
  }

  close(): Promise<void> {
    return this.#folders.close();
  }

  async *#below(folder: readonly string[], onSkipped: OnSkipped): AsyncGenerator<Found> {
    try {
      for await (const found of this.folder(folder, onSkipped)) {
        yield found;
        if (found.entry.kind === 'folder') yield* this.#below(found.below, onSkipped);
      }
    } catch (cause) {
      onSkipped([...this.#prefix, ...folder].join('/'), reasonOf(cause));
    }
  }

  /** Undefined for what cannot travel; that has been said. */
  async #look(folder: readonly string[], name: string, onSkipped: OnSkipped): Promise<Found | undefined> {
    const below = [...folder, name];
    try {
      parsePath([...this.#prefix, ...below].join('/'));
      return await this.#folders.within(folder, undefined, async (path) => {
        const stat = await lstat(join(path, name));
        if (stat.isFile()) return this.#found(below, { kind: 'file', size: stat.size, ...timeAndMode(stat) });
        if (stat.isDirectory()) return this.#found(below, { kind: 'folder', ...timeAndMode(stat) });
        if (!stat.isSymbolicLink()) throw new TransferError('is neither file, folder nor link', { code: 'TRANSFER_NOT_A_FILE' });
        const target = await readlink(join(path, name));
        if (!staysInside(target, folder.length)) throw leavesTree(below);
        return this.#found(below, { kind: 'link', target });
      });
    } catch (cause) {
      // a name that is not UTF-8 was read as another one, which there is not
      const notUtf8 = name.includes('\ufffd') && errnoOf(cause) === 'ENOENT';
      onSkipped([...this.#prefix, ...below].join('/'), notUtf8 ? 'its name is not UTF-8' : reasonOf(cause));
      return undefined;
    }
  }

  #found(below: readonly string[], what: DistributiveOmit<TreeEntry, 'path'>): Found {
    return { entry: { ...what, path: [...this.#prefix, ...below] }, below, source: this };
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

const timeAndMode = (stat: Stats): { modified: number; mode: number } => ({ modified: modifiedOf(stat), mode: stat.mode & PERMISSIONS });

const notRegular = (below: readonly string[]): TransferError =>
  new TransferError(`${below.join('/')}: is not a regular file`, { code: 'TRANSFER_NOT_A_FILE' });

const contains = (outer: Found, inner: Found): boolean => outer.below.every((segment, i) => inner.below[i] === segment);

/** Without the name in front, which stands beside it. */
export const reasonOf = (cause: unknown): string => fileError(cause, '').message.replace(/^.*?: /s, '');

const MOST_READINGS = 3;
const LOOKED_AT_ONCE = 64;
