import { chmod, lstat, mkdir, readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, fileError, TransferError } from '../transfer/errors.ts';
import { ProgressMeter, type TransferProgress } from '../transfer/progress.ts';
import { DEFAULT_RETRY, retrying } from '../transfer/retry.ts';
import { SYSTEM_TIMING } from '../transfer/timing.ts';
import { type Attributes, isFolder, isLink, isRegular } from './attributes.ts';
import { getFile, looksSame } from './get.ts';
import type { FileOptions, FileResult } from './moving.ts';
import { baseName, joinRemote, localName } from './names.ts';
import { putFile } from './put.ts';
import type { DirectoryEntry, SftpSession } from './session.ts';

/** A folder that got across, with what is below it. */
export interface TreeResult {
  /** Files that this run moved. */
  readonly files: readonly FileResult[];
  /** Files that were there already, by size and time. */
  readonly same: number;
  /** What stayed behind, and why. */
  readonly left: readonly { readonly path: string; readonly why: string }[];
}

/** Gets a folder with everything below it; what is there already, of the same size and time, is passed over. @throws TransferError */
export async function getTree(options: FileOptions): Promise<TreeResult> {
  const walk = new TreeWalk(options, baseName(options.remote));
  await getFolder(walk, options.remote, options.local, await walk.ask((session) => session.stat(options.remote)));
  return walk.result();
}

/** Puts a folder with everything below it; what is there already, of the same size and time, is passed over. @throws TransferError */
export async function putTree(options: FileOptions): Promise<TreeResult> {
  const walk = new TreeWalk(options, baseName(options.remote));
  await putFolder(walk, options.local, options.remote);
  return walk.result();
}

async function getFolder(walk: TreeWalk, remote: string, local: string, { permissions, atime, mtime }: Attributes): Promise<void> {
  const entries = await walk.ask((session) => session.list(remote));
  await mkdir(local, { mode: 0o700 }).catch(async (cause: unknown) => {
    if (errnoOf(cause) !== 'EEXIST' || !(await lstat(local)).isDirectory()) throw fileError(cause, local);
  });
  const named = entries.flatMap((entry) => walk.named(remote, entry));
  await walk.files(
    named.filter(({ attributes }) => isRegular(attributes)),
    async ({ name, attributes }) => {
      const file = { remote: joinRemote(remote, name), local: join(local, name) };
      if (await looksSame(file.local, attributes)) return undefined;
      return getFile({ ...walk.options, ...file, onProgress: walk.progress() });
    },
  );
  for (const { name, attributes } of named) {
    const path = joinRemote(remote, name);
    if (isFolder(attributes)) await walk.spare(path, () => getFolder(walk, path, join(local, name), attributes));
    else if (!isRegular(attributes)) walk.leave(path, isLink(attributes) ? 'is a link' : 'is not a regular file');
  }
  if (permissions !== undefined) await chmod(local, permissions & 0o777);
  if (atime !== undefined && mtime !== undefined) await utimes(local, atime, mtime);
}

async function putFolder(walk: TreeWalk, local: string, remote: string): Promise<void> {
  const facts = await lstat(local).catch((cause: unknown) => {
    throw fileError(cause, local);
  });
  const entries = await readdir(local, { withFileTypes: true }).catch((cause: unknown) => {
    throw fileError(cause, local);
  });
  const there = await walk.ask((session) => makeRemote(session, remote));
  await walk.files(
    entries.filter((entry) => entry.isFile()),
    async ({ name }) => {
      const file = { local: join(local, name), remote: joinRemote(remote, name) };
      const has = there.get(name);
      if (has !== undefined && isRegular(has) && (await looksSame(file.local, has))) return undefined;
      return putFile({ ...walk.options, ...file, onProgress: walk.progress() });
    },
  );
  for (const entry of entries) {
    const path = join(local, entry.name);
    if (entry.isDirectory()) await walk.spare(path, () => putFolder(walk, path, joinRemote(remote, entry.name)));
    else if (!entry.isFile()) walk.leave(path, entry.isSymbolicLink() ? 'is a link' : 'is not a regular file');
  }
  const attributes = { permissions: facts.mode & 0o777, atime: facts.atimeMs / 1000, mtime: facts.mtimeMs / 1000 };
  // a server that keeps no modes or times keeps the folder all the same
  await walk.ask((session) => session.setstat(remote, attributes).catch(sparing));
}

/** Makes a folder unless it is there. @returns what it holds */
async function makeRemote(session: SftpSession, path: string): Promise<Map<string | undefined, Attributes>> {
  await session.mkdir(path, { permissions: 0o700 }).catch(async (cause: unknown) => {
    const there = await session.stat(path).catch(() => undefined);
    if (there === undefined || !isFolder(there)) throw cause;
  });
  return new Map((await session.list(path)).map(({ name, attributes }) => [name, attributes]));
}

/** What one walk has done, and how it does it: several files at a time, one after the other tried again, and none ends the others. */
class TreeWalk {
  readonly options: FileOptions;
  readonly #meter: ProgressMeter;
  readonly #files: FileResult[] = [];
  readonly #left: { path: string; why: string }[] = [];
  #same = 0;
  #total = 0;

  constructor(options: FileOptions, name: string) {
    this.options = options;
    this.#meter = new ProgressMeter(name, 0, options.timing ?? SYSTEM_TIMING, options.onProgress);
  }

  result(): TreeResult {
    this.#meter.phase('done');
    return { files: this.#files, same: this.#same, left: this.#left };
  }

  leave(path: string, why: string): void {
    this.#left.push({ path, why });
  }

  /** One request or several, again after a lost connection. */
  ask<T>(question: (session: SftpSession) => Promise<T>): Promise<T> {
    const { link, retry, signal, timing = SYSTEM_TIMING } = this.options;
    const policy = { ...DEFAULT_RETRY, ...retry };
    return retrying({ policy, timing, meter: this.#meter, signal }, async () => question(await link.session(signal)));
  }

  /** An entry whose name can be one of ours. */
  named(folder: string, { name, shown, attributes }: DirectoryEntry): { readonly name: string; readonly attributes: Attributes }[] {
    try {
      return [{ name: localName(name, shown), attributes }];
    } catch (cause) {
      this.leave(joinRemote(folder, shown), (cause as Error).message);
      return [];
    }
  }

  /** @param move undefined where the file is there already */
  async files<T extends { readonly name: string }>(files: readonly T[], move: (file: T) => Promise<FileResult | undefined>): Promise<void> {
    const left = [...files].reverse();
    const lane = async (): Promise<void> => {
      for (let file = left.pop(); file !== undefined; file = left.pop()) {
        const each = file;
        await this.spare(each.name, async () => {
          const moved = await move(each);
          if (moved === undefined) this.#same++;
          else this.#files.push(moved);
        });
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  /** What only one file is to blame for is noted, and the others go on. */
  async spare(path: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (cause) {
      if (!(cause instanceof TransferError && OF_ONE_FILE.has(cause.code))) throw cause;
      this.leave(path, cause.message);
    }
  }

  /** A listener for one file, whose octets count for the whole. */
  progress(): (progress: TransferProgress) => void {
    let [counted, total] = [0, 0];
    return (progress) => {
      if (progress.phase === 'waiting') this.#meter.waiting(progress.retryIn ?? 0);
      if (progress.phase !== 'receiving' && progress.phase !== 'sending' && progress.phase !== 'done') return;
      this.#total += progress.total - total;
      this.#meter.total = this.#total;
      this.#meter.add(Math.max(0, progress.bytes - counted));
      total = progress.total;
      counted = Math.max(counted, progress.bytes);
    };
  }
}

/** A server that refuses it is one thing, a connection that is lost another. */
function sparing(cause: unknown): void {
  if (!(cause instanceof TransferError && OF_ONE_FILE.has(cause.code))) throw cause;
}

const OF_ONE_FILE: ReadonlySet<string> = new Set([
  'TRANSFER_FORBIDDEN',
  'TRANSFER_NOT_FOUND',
  'TRANSFER_NOT_A_FILE',
  'TRANSFER_BAD_PATH',
  'TRANSFER_FILE_CHANGED',
  'TRANSFER_EXISTS',
  'TRANSFER_IO',
]);

/** Small files are mostly waiting. */
const LANES = 8;
