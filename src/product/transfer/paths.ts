import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '../../core/bytes/index.ts';
import { fileError, TransferError } from './errors.ts';

/**
 * Splits a path that a peer named into its segments, or refuses it. Nothing is repaired: `..`, `.`, empty segments, NUL and other
 * control characters, backslashes, drive letters and anything that is not UTF-8 are refused. Percent signs are decoded exactly once.
 */
export function parseRequestPath(raw: string): readonly string[] {
  let text: string;
  try {
    text = decodeURIComponent(raw);
  } catch {
    throw badPath('it is not UTF-8 in percent encoding');
  }
  return parsePath(text);
}

/** The same for a path that needs no decoding. `''` is the root itself. */
export function parsePath(text: string): readonly string[] {
  if (text === '') return [];
  if (text.length > 4096) throw badPath('it is longer than 4096 characters');
  const segments = text.split('/');
  if (segments.length > 64) throw badPath('it is deeper than 64 folders');
  for (const segment of segments) checkSegment(segment);
  return segments;
}

/** Names that a jailed path never reaches: our own unfinished files. */
export const PARTIAL_FOLDER = '.tunnelwright-partial';

/** Whether a name can be a part of a path. */
export function acceptable(name: string): boolean {
  try {
    checkSegment(name);
    return !name.includes('/');
  } catch {
    return false;
  }
}

function checkSegment(segment: string): void {
  if (segment === '') throw badPath('it is absolute or has an empty part');
  if (segment === '.' || segment === '..') throw badPath('it has `.` or `..` in it');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(segment)) throw badPath('it has control characters in it');
  if (segment.includes('\\')) throw badPath('it has a backslash in it');
  if (/^[A-Za-z]:/.test(segment)) throw badPath('it begins with a drive letter');
  const octets = isAscii(segment) ? segment.length : utf8(segment).length;
  if (octets !== segment.length && segment !== fromUtf8(utf8(segment))) throw badPath('it is not well-formed Unicode');
  if (octets > 255) throw badPath('a name in it is longer than 255 octets');
  if (segment.toLowerCase() === PARTIAL_FOLDER) throw badPath('the name is reserved');
}

const isAscii = (text: string): boolean => /^[ -~]*$/.test(text);

function badPath(why: string): TransferError {
  return new TransferError(`this path is not accepted: ${why}`, {
    code: 'TRANSFER_BAD_PATH',
    hint: 'Name the file relative to the shared folder, with / between folders.',
  });
}

/** A folder of ours that peers reach into. Symbolic links are not followed, wherever they lead. */
export class Jail {
  /** Absolute, links resolved. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(folder: string): Promise<Jail> {
    try {
      const root = await realpath(folder);
      if (!(await lstat(root)).isDirectory()) throw new TransferError(`${folder} is not a folder`, { code: 'TRANSFER_NOT_A_FILE' });
      return new Jail(root);
    } catch (cause) {
      throw fileError(cause, folder);
    }
  }

  path(segments: readonly string[]): string {
    return join(this.root, ...segments);
  }

  /** Opens a regular file for reading. A FIFO or device neither blocks nor opens. The caller closes it. */
  async openFile(segments: readonly string[]): Promise<FileHandle> {
    const name = segments.join('/');
    let handle: FileHandle | undefined;
    try {
      await this.#refuseLinks(segments);
      handle = await open(this.path(segments), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const opened = await handle.stat({ bigint: true });
      if (opened.isDirectory()) throw new TransferError(`${name}: is a folder, not a file`, { code: 'TRANSFER_NOT_A_FILE' });
      if (!opened.isFile()) throw new TransferError(`${name}: is not a regular file`, { code: 'TRANSFER_FORBIDDEN' });
      await this.#confirm(segments, opened);
      return handle;
    } catch (cause) {
      await handle?.close();
      throw fileError(cause, name);
    }
  }

  /** The folder a path names, made if need be (0700); refuses to walk through links. */
  async ensureFolder(segments: readonly string[]): Promise<string> {
    try {
      for (let depth = 1; depth <= segments.length; depth++) {
        const path = this.path(segments.slice(0, depth));
        await mkdir(path, { mode: 0o700 }).catch((cause: unknown) => {
          if (fileError(cause, '').code !== 'TRANSFER_EXISTS') throw cause;
        });
      }
      await this.#refuseLinks(segments);
      const path = this.path(segments);
      if ((await realpath(path)) !== path || !(await lstat(path)).isDirectory()) throw outside(segments);
      return path;
    } catch (cause) {
      throw fileError(cause, segments.join('/'));
    }
  }

  /** What a path names; links on the way are refused. */
  async stat(segments: readonly string[]): Promise<Stats> {
    try {
      await this.#refuseLinks(segments);
      return await lstat(this.path(segments));
    } catch (cause) {
      throw fileError(cause, segments.join('/'));
    }
  }

  async #refuseLinks(segments: readonly string[]): Promise<void> {
    for (let depth = 1; depth <= segments.length; depth++) {
      if ((await lstat(this.path(segments.slice(0, depth)))).isSymbolicLink()) throw outside(segments);
    }
  }

  /** What was opened is still what the path leads to without links: a folder swapped for a link in between is noticed. */
  async #confirm(segments: readonly string[], opened: { readonly dev: bigint; readonly ino: bigint }): Promise<void> {
    const path = this.path(segments);
    if ((await realpath(path)) !== path) throw outside(segments);
    const now = await lstat(path, { bigint: true });
    if (now.dev !== opened.dev || now.ino !== opened.ino) throw outside(segments);
  }
}

function outside(segments: readonly string[]): TransferError {
  return new TransferError(`${segments.join('/')}: is or passes through a symbolic link, and links are not followed here`, {
    code: 'TRANSFER_FORBIDDEN',
  });
}
