import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { toHex } from '../../core/bytes/index.ts';
import type { TransferError } from '../transfer/errors.ts';
import { heldName, type Place } from './jail.ts';
import { partName } from './names.ts';
import { type Bounds, identityOf } from './server-bounds.ts';

/**
 * A file that an OPEN has made. In place of one that was there it stands beside it, and takes the name when the client closes it and all was
 * written: until then, and where it breaks off or something is refused, what was there stays whole. Where nothing was, it has its name at once,
 * so that clients find it and go on with it after a lost connection; when something is refused it is removed, unless its name says that it is
 * unfinished.
 */
export class Draft {
  readonly #folder: FileHandle;
  /** What names in the folder are put behind. */
  readonly #base: string;
  readonly #name: string;
  /** What it is called until it takes its name. */
  readonly #part: string | undefined;
  readonly #bounds: Bounds;

  private constructor(folder: FileHandle, base: string, name: string, part: string | undefined, bounds: Bounds) {
    this.#folder = folder;
    this.#base = base;
    this.#name = name;
    this.#part = part;
    this.#bounds = bounds;
  }

  /** Can another file take the place of this one, and nobody tells the difference? One of somebody else's could not be given back to its owner. */
  static replaces({ system }: Place, { uid }: Stats): boolean {
    const own = process.geteuid?.();
    return !isUnfinished(basename(system)) && (own === undefined || own === 0 || own === uid);
  }

  /** Nothing was there, and now there is a file. */
  static async made(place: Place, bounds: Bounds): Promise<Draft> {
    const { folder, base } = await folderOf(place);
    return new Draft(folder, base, basename(place.system), undefined, bounds);
  }

  /** A file to take the place of one that is there, with the owner and the permissions of that. */
  static async beside(
    place: Place,
    { uid, gid, mode }: Stats,
    access: number,
    bounds: Bounds,
  ): Promise<{ file: FileHandle; facts: Stats; draft: Draft }> {
    const { folder, base } = await folderOf(place);
    const name = basename(place.system);
    const part = partName(name, [toHex(randomBytes(16))]);
    const draft = new Draft(folder, base, name, part, bounds);
    let file: FileHandle | undefined;
    try {
      file = await open(join(base, part), access | constants.O_CREAT | constants.O_EXCL, 0o600);
      const made = await file.stat();
      if (made.uid !== uid || made.gid !== gid) await file.chown(uid, gid);
      await file.chmod(mode & 0o777);
      return { file, facts: made, draft };
    } catch (cause) {
      await (file === undefined ? folder.close() : draft.settle(file, false, undefined).catch(() => {}));
      await file?.close();
      throw cause;
    }
  }

  /** The end of it, while the file is still open. @param asked the client has closed it */
  async settle(file: FileHandle, asked: boolean, refused: TransferError | undefined): Promise<void> {
    try {
      if (this.#part === undefined) {
        if (refused !== undefined && !(isUnfinished(this.#name) && refused.resumable)) await this.#remove(this.#name, file);
      } else if (asked && refused === undefined) await rename(join(this.#base, this.#part), join(this.#base, this.#name));
      else await this.#remove(this.#part, file);
    } finally {
      await this.#folder.close();
    }
  }

  /** Only if it is this file still. */
  async #remove(name: string, file: FileHandle): Promise<void> {
    const path = join(this.#base, name);
    const [own, there] = [await file.stat(), await lstat(path).catch(() => undefined)];
    if (there === undefined || identityOf(own) !== identityOf(there)) return;
    await unlink(path);
    this.#bounds.forget(own);
  }
}

/** As our own clients and others call what they rename once it is whole. */
const isUnfinished = (name: string): boolean => /\.(?:file)?part$/i.test(name);

async function folderOf({ system }: Place): Promise<{ readonly folder: FileHandle; readonly base: string }> {
  const path = dirname(system);
  // behind the name of a folder that is held open, a dot leads into it, where the name alone is a link
  const folder = await open(`${path}/.`, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  return { folder, base: heldName(folder, path) };
}
