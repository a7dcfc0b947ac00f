import { closeSync, constants, mkdirSync, openSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, fileError, TransferError } from '../errors.ts';

/**
 * Folders below a root, each opened from within the one above and never through a link: what is done in a folder is done in that one,
 * though somebody exchanges its path for a link meanwhile. Holds some of them open; `close` lets go.
 */
export class PinnedFolders {
  /** Absolute, links resolved. */
  readonly root: string;
  readonly #open = new Map<string, Pinned>();

  /** @param root absolute, links resolved */
  constructor(root: string) {
    this.root = root;
  }

  /**
   * Works inside a folder.
   * @param mode permissions with which folders that are missing are made; absent: none is made
   * @param work is told a path of the folder that holds as long as it runs, and its descriptor
   * @throws TransferError where there is no such folder, or a link on the way
   */
  within<T>(segments: readonly string[], mode: number | undefined, work: (path: string, descriptor: number) => T): T {
    const pinned = this.#pin(segments, mode);
    pinned.users++;
    try {
      return work(this.#pathOf(pinned, segments), pinned.descriptor);
    } finally {
      pinned.users--;
      this.#letGo();
    }
  }

  close(): void {
    for (const { descriptor } of this.#open.values()) closeSync(descriptor);
    this.#open.clear();
  }

  #pin(segments: readonly string[], mode: number | undefined): Pinned {
    const key = segments.join('/');
    try {
      const pinned = this.#open.get(key) ?? { users: 0, descriptor: this.#enter(segments, mode) };
      // the newest stands last
      this.#open.delete(key);
      this.#open.set(key, pinned);
      return pinned;
    } catch (cause) {
      throw fileError(cause, key);
    }
  }

  #enter(segments: readonly string[], mode: number | undefined): number {
    if (segments.length === 0) return openSync(this.root, FOLDER);
    return this.within(segments.slice(0, -1), mode, (above) => {
      const path = join(above, segments.at(-1)!);
      if (mode !== undefined) makeFolder(path, mode);
      const descriptor = openFolder(path, segments);
      if (above.startsWith(DESCRIPTORS) || realpathSync(path) === path) return descriptor;
      closeSync(descriptor);
      throw notFolder(segments);
    });
  }

  /** Linux has a path for what is open; elsewhere the path has been checked as well as it can be. */
  #pathOf({ descriptor }: Pinned, segments: readonly string[]): string {
    return process.platform === 'linux' ? `${DESCRIPTORS}${descriptor}` : join(this.root, ...segments);
  }

  #letGo(): void {
    for (const [key, { users, descriptor }] of this.#open) {
      if (this.#open.size <= MOST_OPEN) return;
      if (users > 0) continue;
      this.#open.delete(key);
      closeSync(descriptor);
    }
  }
}

interface Pinned {
  users: number;
  readonly descriptor: number;
}

function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode: mode | OWNER_MAY });
  } catch (cause) {
    if (errnoOf(cause) !== 'EEXIST') throw cause;
  }
}

function openFolder(path: string, segments: readonly string[]): number {
  try {
    return openSync(path, FOLDER);
  } catch (cause) {
    // what Linux and others say of a link that must not be followed
    throw errnoOf(cause) === 'ENOTDIR' || errnoOf(cause) === 'ELOOP' ? notFolder(segments) : cause;
  }
}

const notFolder = (segments: readonly string[]): TransferError =>
  new TransferError(`${segments.join('/')}: is a file or a symbolic link, not a folder; links are not followed here`, {
    code: 'TRANSFER_FORBIDDEN',
  });

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const DESCRIPTORS = '/proc/self/fd/';
const MOST_OPEN = 32;
/** Whatever a peer wishes: what goes into a folder later has to get in. */
const OWNER_MAY = 0o700;
