import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { utf8 } from '../../core/bytes/index.ts';
import { errnoOf, fileError, TransferError } from '../transfer/errors.ts';
import { PARTIAL_FOLDER } from '../transfer/paths.ts';
import { tryText } from './packets.ts';

/** Where a path of a client's leads to: a name in a folder that is held open. It may be that nothing is there yet. */
export interface Place {
  /** How the system is asked for it; good as long as the place is held. Whoever uses it follows no link at its end. */
  readonly system: string;
  /** As the client names it: absolute, without links. */
  readonly path: string;
  /** What was there, a link perhaps; undefined where nothing was. */
  readonly facts: Stats | undefined;
  /** The folder itself, which has no name in here. */
  readonly isRoot: boolean;
}

/**
 * A folder that clients take for the whole file system. Paths are walked one name at a time, each folder held open while the next name is
 * looked up in it, so that what is renamed or exchanged meanwhile leads nowhere else. Links are followed as long as they stay inside.
 * Where the system has no `/proc`, folders are named by their paths, and somebody on this machine could exchange one in between.
 */
export class Jail {
  readonly #root: OpenFolder;
  /** Absolute, without links. */
  readonly #rootPath: string;
  readonly #byHandle: boolean;

  private constructor(root: OpenFolder, rootPath: string, byHandle: boolean) {
    this.#root = root;
    this.#rootPath = rootPath;
    this.#byHandle = byHandle;
  }

  /** @throws TransferError where the folder is none */
  static async open(folder: string): Promise<Jail> {
    try {
      const path = await realpath(folder);
      const handle = await open(path, FOLDER);
      const byHandle = await realpath(throughHandle(handle)).then(
        (held) => held === path,
        () => false,
      );
      return new Jail({ handle, name: '', base: byHandle ? throughHandle(handle) : path }, path, byHandle);
    } catch (cause) {
      throw fileError(cause, folder);
    }
  }

  async close(): Promise<void> {
    await this.#root.handle.close();
  }

  /**
   * Uses the place that a path leads to, and holds it that long.
   * @param follow whether a link at the end is followed, too
   * @throws TransferError `TRANSFER_NOT_FOUND` where a folder on the way is missing, `TRANSFER_FORBIDDEN` where a link leads outside
   */
  async at<T>(path: string, follow: boolean, use: (place: Place) => Promise<T>): Promise<T> {
    const stack = [this.#root];
    try {
      return await use(await this.#walk(path, follow, stack));
    } catch (cause) {
      throw fileError(cause, shown(path));
    } finally {
      for (const { handle } of stack.slice(1)) await handle.close();
    }
  }

  /** @param stack gets the folders that were opened on the way */
  async #walk(path: string, follow: boolean, stack: OpenFolder[]): Promise<Place> {
    const left = stepsOf(path, false).reverse();
    let links = 0;
    for (let step = left.pop(); step !== undefined; step = left.pop()) {
      const { name, byLink } = step;
      if (name === '..') {
        await leave(stack, path, byLink);
        continue;
      }
      const last = left.length === 0;
      const system = join(stack.at(-1)!.base, name);
      const facts = await lstat(system).catch((cause: unknown) => {
        if (last && errnoOf(cause) === 'ENOENT') return undefined;
        throw cause;
      });
      if (facts?.isSymbolicLink() === true && !(last && !follow)) {
        if (++links > MOST_LINKS) throw new TransferError(`${shown(path)}: too many links`, { code: 'TRANSFER_FORBIDDEN' });
        left.push(...(await this.#followed(system, path, stack)).reverse());
      } else if (last) {
        return { system, path: `${virtual(stack)}/${name}`, facts, isRoot: false };
      } else {
        const handle = await open(system, FOLDER);
        stack.push({ handle, name, base: this.#byHandle ? throughHandle(handle) : system });
      }
    }
    // a path that ends in `..`, or a link to a folder on the way
    const here = stack.at(-1)!;
    return { system: `${here.base}${sep}.`, path: virtual(stack) || '/', facts: await here.handle.stat(), isRoot: stack.length === 1 };
  }

  /** The steps that a link stands for. */
  async #followed(system: string, path: string, stack: OpenFolder[]): Promise<Step[]> {
    const target = tryText(await readlink(system, { encoding: 'buffer' }));
    if (target === undefined) throw outside(path);
    if (!target.startsWith('/')) return stepsOf(target, true);
    if (target !== this.#rootPath && !target.startsWith(`${this.#rootPath}/`)) throw outside(path);
    for (const { handle } of stack.splice(1)) await handle.close();
    return stepsOf(target.slice(this.#rootPath.length), true);
  }
}

/** What is held open, whatever it is called now; its path where the system has no such names. @param path as it was opened */
export const heldName = ({ fd }: FileHandle, path: string): string => (path.startsWith(HELD) ? `${HELD}${fd}` : path);

/** Can a name stand in a path? Nothing is repaired. */
export const isPlainName = (name: string): boolean =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(name) &&
  name.toLowerCase() !== PARTIAL_FOLDER &&
  (sep === '/' || !/[\\:]/.test(name)) &&
  utf8(name).length <= 255;

interface OpenFolder {
  readonly handle: FileHandle;
  readonly name: string;
  /** What its names are put behind. */
  readonly base: string;
}

interface Step {
  readonly name: string;
  /** A link said so, and not the client. */
  readonly byLink: boolean;
}

function stepsOf(path: string, byLink: boolean): Step[] {
  if (path.length > LONGEST_PATH) throw new TransferError('this path is not accepted: it is too long', { code: 'TRANSFER_BAD_PATH' });
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.length > DEEPEST) throw new TransferError('this path is not accepted: it is too deep', { code: 'TRANSFER_BAD_PATH' });
  if (!names.every(isPlainName))
    throw new TransferError('this path is not accepted: it has a name in it that no file here may have', { code: 'TRANSFER_BAD_PATH' });
  return names.map((name) => ({ name, byLink }));
}

/** Above the root there is nothing: to a client's `..` it is the root again, as everywhere; a link that wants out is refused. */
async function leave(stack: OpenFolder[], path: string, byLink: boolean): Promise<void> {
  if (stack.length > 1) await stack.pop()!.handle.close();
  else if (byLink) throw outside(path);
}

const outside = (path: string): TransferError =>
  new TransferError(`${shown(path)}: is a link that leads outside`, { code: 'TRANSFER_FORBIDDEN' });

const virtual = (stack: readonly OpenFolder[]): string =>
  stack
    .slice(1)
    .map(({ name }) => `/${name}`)
    .join('');
const shown = (path: string): string => path.slice(0, 200) || '.';
/** The folder itself, whatever it is called now. */
const throughHandle = ({ fd }: FileHandle): string => `${HELD}${fd}`;

const HELD = '/proc/self/fd/';
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const MOST_LINKS = 40;
const LONGEST_PATH = 4096;
const DEEPEST = 64;
