import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, TransferError } from './errors.ts';

/** What happens when the final name is taken. `both` finds a free name: `report (1).pdf`. */
export type IfExists = 'both' | 'replace' | 'refuse';

/** Writes all of `data` at `position`; returns once the system has it. */
export async function writeAt(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < data.length) {
    const { bytesWritten } = await file.write(data, written, data.length - written, position + written);
    written += bytesWritten;
  }
}

/** The same for pieces that are to stand one behind the other. @param onWritten called with each once the system has it, whatever becomes of the others */
export async function writeAllAt(
  file: FileHandle,
  pieces: readonly Uint8Array[],
  position: number,
  onWritten: (piece: Uint8Array) => void,
): Promise<void> {
  let { bytesWritten } = await file.writev(pieces, position);
  let at = position;
  for (const piece of pieces) {
    // a system that takes a part, for a full disk say, tells why when it is given the rest
    if (bytesWritten < piece.length) await writeAt(file, piece.subarray(bytesWritten), at + bytesWritten);
    bytesWritten = Math.max(0, bytesWritten - piece.length);
    at += piece.length;
    onWritten(piece);
  }
}

/** Opens an unfinished file for reading and writing, made if need be, for its owner alone. */
export const openPart = (path: string): Promise<FileHandle> =>
  open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);

/**
 * Gives a finished file its final name, in one step: a reader sees the whole file or none. The file's contents are on the disk before,
 * the name is afterwards.
 * @returns the path it got.
 */
export async function place(part: string, file: FileHandle, folder: string, name: string, ifExists: IfExists): Promise<string> {
  await file.sync();
  const path = ifExists === 'replace' ? await replace(part, folder, name) : await placeNew(part, file, folder, name, ifExists);
  await syncFolder(folder);
  if (dirname(part) !== folder) await syncFolder(dirname(part));
  return path;
}

async function replace(part: string, folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await rename(part, path);
  return path;
}

async function placeNew(part: string, file: FileHandle, folder: string, name: string, ifExists: IfExists): Promise<string> {
  const own = await file.stat({ bigint: true });
  for (let n = 0; n < MAX_NAMES; n++) {
    const path = join(folder, n === 0 ? name : numbered(name, n));
    if (await moveToNew(part, path)) return path;
    // A crash between the two steps of a move leaves both names: then only the second step is missing.
    const there = await lstat(path, { bigint: true }).catch(() => undefined);
    if (there !== undefined && there.ino === own.ino && there.dev === own.dev) {
      await unlink(part);
      return path;
    }
    if (ifExists === 'refuse') break;
  }
  throw nameTaken(name);
}

export const nameTaken = (name: string): TransferError =>
  new TransferError(`${name}: exists already`, { code: 'TRANSFER_EXISTS', hint: 'Choose another name, or allow replacing.' });

/** A hard link fails where the name exists, where `rename` would replace. @returns false when the name is taken. */
async function moveToNew(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path);
    await unlink(part);
    return true;
  } catch (cause) {
    const errno = errnoOf(cause) ?? '';
    if (errno === 'EEXIST') return false;
    if (!NO_HARD_LINKS.has(errno)) throw cause;
  }
  // Without hard links there is a moment between looking and renaming; nothing better is to be had on such a file system.
  const taken = await lstat(path).catch(() => undefined);
  if (taken !== undefined) return false;
  await rename(part, path);
  return true;
}

/** `report.tar.gz`, 2 → `report (2).tar.gz`. */
export function numbered(name: string, n: number): string {
  const dot = name.search(/(?<=.)(\.[A-Za-z][A-Za-z0-9]{0,3})?\.[A-Za-z0-9]{1,8}$/);
  return dot < 0 ? `${name} (${n})` : `${name.slice(0, dot)} (${n})${name.slice(dot)}`;
}

/** A new name survives a power cut only when its folder was written as well. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } catch (cause) {
    // Some file systems refuse fsync on a folder; nothing better is to be had there.
    if (errnoOf(cause) !== 'EINVAL') throw cause;
  } finally {
    await handle.close();
  }
}

export const NO_HARD_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);
export const MAX_NAMES = 1000;
