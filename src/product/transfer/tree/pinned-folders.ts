import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, fileError, TransferError } from '../errors.ts';

/**
 * Folders below a root, each opened from within the one above and never through a link: what is done in a folder is done in that one,
 * though somebody exchanges its path for a link meanwhile. Holds some of them open; `close` lets go.
 */
export class PinnedFolders {
  readonly #root: string;
  readonly #open = new Map<string, Pinned>();

  /** @param root absolute, links resolved */
  constructor(root: string) {
    this.#root = root;
  }

  /**
   * Works inside a folder.
   * @param mode permissions with which folders that are missing are made; absent: none is made
   * @param work is told a path of the folder that holds as long as it runs
   * @throws TransferError where there is no such folder, or a link on the way
   */
  async within<T>(
    segments: readonly string[],
    mode: number | undefined,
    work: (path: string, handle: FileHandle) => Promise<T>,
  ): Promise<T> {
    const pinned = await this.#pin(segments, mode);
    try {
      const handle = await pinned.handle;
      return await work(pathOf(handle, this.#root, segments), handle);
    } finally {
      pinned.users--;
      await this.#letGo();
    }
  }

  async close(): Promise<void> {
    const all = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(all.map(({ handle }) => closed(handle)));
  }

  async #pin(segments: readonly string[], mode: number | undefined): Promise<Pinned> {
    const key = segments.join('/');
    let pinned = this.#open.get(key);
    if (pinned === undefined) pinned = { users: 0, handle: this.#enter(segments, mode) };
    // the newest stands last
    this.#open.delete(key);
    this.#open.set(key, pinned);
    pinned.users++;
    try {
      await pinned.handle;
      return pinned;
    } catch (cause) {
      pinned.users--;
      if (this.#open.get(key) === pinned) this.#open.delete(key);
      throw fileError(cause, key);
    }
  }

  async #enter(segments: readonly string[], mode: number | undefined): Promise<FileHandle> {
    if (segments.length === 0) return open(this.#root, FOLDER);
    return this.within(segments.slice(0, -1), mode, async (above) => {
      const path = join(above, segments.at(-1)!);
      if (mode !== undefined) {
        await mkdir(path, { mode: mode | OWNER_MAY }).catch((cause: unknown) => {
          if (errnoOf(cause) !== 'EEXIST') throw cause;
        });
      }
      const handle = await open(path, FOLDER).catch((cause: unknown) => {
        // what Linux and others say of a link that must not be followed
        throw errnoOf(cause) === 'ENOTDIR' || errnoOf(cause) === 'ELOOP' ? notFolder(segments) : cause;
      });
      if (above.startsWith(DESCRIPTORS)) return handle;
      const real = await realpath(path);
      if (real === path) return handle;
      await handle.close();
      throw notFolder(segments);
    });
  }

  async #letGo(): Promise<void> {
    for (const [key, { users, handle }] of this.#open) {
      if (this.#open.size <= MOST_OPEN) return;
      if (users > 0) continue;
      this.#open.delete(key);
      await closed(handle);
    }
  }
}

interface Pinned {
  users: number;
  readonly handle: Promise<FileHandle>;
}

/** Linux has a path for what is open; elsewhere the path has been checked as well as it can be. */
const pathOf = (handle: FileHandle, root: string, segments: readonly string[]): string =>
  process.platform === 'linux' ? `${DESCRIPTORS}${handle.fd}` : join(root, ...segments);

const closed = (handle: Promise<FileHandle>): Promise<void> =>
  handle.then(
    (open) => open.close(),
    () => undefined,
  );

const notFolder = (segments: readonly string[]): TransferError =>
  new TransferError(`${segments.join('/')}: is a file or a symbolic link, not a folder; links are not followed here`, {
    code: 'TRANSFER_FORBIDDEN',
  });

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const DESCRIPTORS = '/proc/self/fd/';
const MOST_OPEN = 32;
/** Whatever a peer wishes: what goes into a folder later has to get in. */
const OWNER_MAY = 0o700;
