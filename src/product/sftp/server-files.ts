import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import {
  type FileHandle,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  opendir,
  readlink,
  rename,
  rmdir,
  stat,
  statfs,
  unlink,
} from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { errnoOf, fileError, TransferError } from '../transfer/errors.ts';
import type { Attributes } from './attributes.ts';
import type { Jail, Place } from './jail.ts';
import { heldName, isPlainName } from './jail.ts';
import { tryText } from './packets.ts';
import { OpenFlag } from './protocol.ts';
import { type Bounds, identityOf } from './server-bounds.ts';
import { Draft } from './server-draft.ts';
import type { OpenFile, OpenListing } from './server-handles.ts';

/** What requests do to the files of a jail. Whatever is there at the end of a path is used without following a link. */
export class JailedFiles {
  readonly #jail: Jail;
  readonly #readOnly: boolean;
  readonly #bounds: Bounds;

  constructor(jail: Jail, readOnly: boolean, bounds: Bounds) {
    this.#jail = jail;
    this.#readOnly = readOnly;
    this.#bounds = bounds;
  }

  /** OPEN, of regular files alone. */
  open(path: string, flags: number, attributes: Attributes): Promise<OpenFile> {
    const writable = (flags & (OpenFlag.WRITE | OpenFlag.APPEND | OpenFlag.CREAT | OpenFlag.TRUNC)) !== 0;
    if (writable) this.#mayWrite();
    return this.#jail.at(path, (flags & OpenFlag.EXCL) === 0, async (place) => {
      // a pipe would wait for its other end, and a device do who knows what
      if (place.facts !== undefined && !place.facts.isFile()) throw notRegular(path, place.facts);
      const mode = (attributes.permissions ?? 0o666) & 0o777;
      const makes = place.facts === undefined && (flags & OpenFlag.CREAT) !== 0;
      const { file, facts, draft } = makes ? await this.#make(place, flags, mode) : await this.#openThere(place, flags, mode);
      if (writable) this.#bounds.forget(facts);
      return {
        kind: 'file',
        file,
        path: place.path,
        readable: (flags & OpenFlag.READ) !== 0 || !writable,
        writable,
        appends: (flags & OpenFlag.APPEND) !== 0,
        identity: identityOf(facts),
        room: this.#bounds.roomOf(facts.dev),
        disk: heldName(file, place.system),
        draft,
        refused: undefined,
        read: 0,
        written: 0,
      };
    });
  }

  write(file: OpenFile, offset: number, data: Uint8Array): Promise<void> {
    return this.#bounds.write(file, offset, data);
  }

  openFolder(path: string): Promise<OpenListing> {
    return this.#jail.at(path, true, async (place) => {
      const folder = await open(place.system, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      try {
        const base = heldName(folder, place.system);
        return { kind: 'folder', dir: await opendir(base, { encoding: 'buffer' as BufferEncoding }), folder, base, path: place.path };
      } catch (cause) {
        await folder.close();
        throw cause;
      }
    });
  }

  stat(path: string, follow: boolean): Promise<Stats> {
    return this.#jail.at(path, follow, async ({ facts, system }) => facts ?? (await lstat(system)));
  }

  /** Owners are not for clients to change: that is passed over, as clients ask for it unasked. */
  async setAttributes(path: string, attributes: Attributes): Promise<void> {
    this.#mayWrite();
    await this.#jail.at(path, true, async ({ facts, system }) => {
      const { size, permissions, atime, mtime } = attributes;
      if (facts !== undefined && !facts.isFile() && !facts.isDirectory()) throw notRegular(path, facts);
      if (size !== undefined || permissions !== undefined) {
        const access = size === undefined ? constants.O_RDONLY : constants.O_WRONLY;
        await using(await open(system, access | NO_LINK), async (file) => {
          if (size !== undefined) {
            this.#bounds.check(await file.stat(), size, heldName(file, system));
            await file.truncate(size);
          }
          await setOf(file, { permissions });
        });
      }
      if (atime !== undefined && mtime !== undefined) await lutimes(system, atime, mtime);
    });
  }

  async setOpenAttributes(file: OpenFile, attributes: Attributes): Promise<void> {
    this.#mayWrite();
    if (attributes.size !== undefined) {
      if (!file.writable) throw new TransferError('this file is not open for writing', { code: 'TRANSFER_FORBIDDEN' });
      await this.#bounds.resize(file, attributes.size);
    }
    await setOf(file.file, attributes);
  }

  async remove(path: string): Promise<void> {
    this.#mayWrite();
    await this.#jail.at(path, false, async ({ system, facts }) => {
      await unlink(system);
      if (facts !== undefined) this.#bounds.forget(facts);
    });
  }

  async makeFolder(path: string, attributes: Attributes): Promise<void> {
    this.#mayWrite();
    await this.#jail.at(path, false, async (place) => {
      if (place.facts === undefined) await this.#takeEntry(place);
      await mkdir(place.system, (attributes.permissions ?? 0o777) & 0o777);
    });
  }

  async removeFolder(path: string): Promise<void> {
    this.#mayWrite();
    await this.#jail.at(path, false, ({ system, isRoot }) => (isRoot ? Promise.reject(theRoot()) : rmdir(system)));
  }

  /** @param over whether something that is there gives way */
  async rename(from: string, to: string, over: boolean): Promise<void> {
    this.#mayWrite();
    await this.#jail.at(from, false, (source) =>
      this.#jail.at(to, false, async (target) => {
        if (source.isRoot || target.isRoot) throw theRoot();
        if (source.facts?.isFile() === true) this.#bounds.checkWhole(source.facts);
        if (over) await rename(source.system, target.system);
        else await renameNew(source, target);
      }),
    );
  }

  /** What a link says; of one that leads outside, nothing. */
  readLink(path: string): Promise<string> {
    return this.#jail.at(path, false, async (place) => {
      const target = tryText(await readlink(place.system, { encoding: 'buffer' }));
      if (target === undefined) throw new TransferError(`${path}: the link is not UTF-8`, { code: 'TRANSFER_BAD_PATH' });
      return isAbsolute(target) ? this.realPath(path) : target;
    });
  }

  /** Absolute, without links; where nothing is there yet, what it would be. */
  realPath(path: string): Promise<string> {
    return this.#jail.at(path, true, async (place) => place.path);
  }

  /** Of its disk, as `statvfs` tells it: what stays free is there, and for nobody to use. */
  space(path: string) {
    return this.#jail.at(path, true, async ({ system }) => {
      const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(system);
      return { bsize, blocks, bfree, bavail: Math.max(0, bavail - Math.ceil(this.#bounds.keepFree / bsize)), files, ffree };
    });
  }

  async #make(place: Place, flags: number, mode: number): Promise<Opened> {
    await this.#takeEntry(place);
    let file: FileHandle;
    try {
      file = await open(place.system, systemFlags(flags | OpenFlag.EXCL), mode);
    } catch (cause) {
      if (errnoOf(cause) !== 'EEXIST' || (flags & OpenFlag.EXCL) !== 0) throw cause;
      // somebody else has made it meanwhile
      return this.#openThere(place, flags, mode);
    }
    return orClosed(file, async () => ({ file, facts: await file.stat(), draft: await Draft.made(place, this.#bounds) }));
  }

  async #openThere(place: Place, flags: number, mode: number): Promise<Opened> {
    const access = systemFlags(flags);
    const file = await open(place.system, access, mode);
    return orClosed(file, async () => {
      const facts = await file.stat();
      if (!facts.isFile()) throw notRegular(place.path, facts);
      if ((flags & OpenFlag.TRUNC) === 0) return { file, facts, draft: undefined };
      const beside = await this.#besideOf(place, facts, access);
      if (beside === undefined) await file.truncate(0);
      else await file.close();
      return beside ?? { file, facts, draft: undefined };
    });
  }

  async #takeEntry({ system }: Place): Promise<void> {
    const folder = dirname(system);
    this.#bounds.takeEntry((await stat(folder)).dev, folder);
  }

  /** What is to take the place of a file, where it can: else that is emptied, as the client has asked. */
  async #besideOf(place: Place, facts: Stats, access: number): Promise<Opened | undefined> {
    if (!Draft.replaces(place, facts)) return undefined;
    await this.#takeEntry(place);
    try {
      return await Draft.beside(place, facts, access, this.#bounds);
    } catch (cause) {
      const errno = errnoOf(cause);
      if (errno === 'EACCES' || errno === 'EPERM') return undefined;
      throw cause;
    }
  }

  #mayWrite(): void {
    if (this.#readOnly) throw new TransferError('nothing may be changed here', { code: 'TRANSFER_FORBIDDEN' });
  }
}

interface Opened {
  readonly file: FileHandle;
  readonly facts: Stats;
  readonly draft: Draft | undefined;
}

/** The next names of a folder, as many as there are up to `most`; none at its end. What is no name for a client is left out. */
export async function nextNames(listing: OpenListing, most: number): Promise<{ readonly name: string; readonly facts: Stats }[]> {
  const names: { name: string; facts: Stats }[] = [];
  while (names.length < most) {
    const entry = await listing.dir.read();
    if (entry === null) break;
    const name = tryText(entry.name as unknown as Uint8Array);
    if (name === undefined || !isPlainName(name)) continue;
    const facts = await lstat(join(listing.base, name)).catch(() => undefined);
    if (facts !== undefined) names.push({ name, facts });
  }
  return names;
}

/** The digest of each block of a range. @param block octets; 0 is the whole range */
export async function digestsOf(file: FileHandle, algorithm: string, from: number, length: number, block: number): Promise<Uint8Array[]> {
  const { size } = await file.stat();
  const end = length === 0 ? size : Math.min(size, from + length);
  const each = block === 0 ? Math.max(1, end - from) : block;
  if ((end - from) / each > MOST_DIGESTS) throw new TransferError('too many blocks are asked for', { code: 'TRANSFER_BAD_REQUEST' });
  const digests: Uint8Array[] = [];
  const buffer = new Uint8Array(256 * 1024);
  let at = from;
  do {
    const hash = createHash(algorithm);
    for (const until = Math.min(end, at + each); at < until; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, until - at), at);
      if (bytesRead === 0) throw new TransferError('the file became shorter meanwhile', { code: 'TRANSFER_FILE_CHANGED' });
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    digests.push(hash.digest());
  } while (at < end);
  return digests;
}

function systemFlags(flags: number): number {
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const writes = has(OpenFlag.WRITE) || has(OpenFlag.APPEND) || has(OpenFlag.TRUNC) || has(OpenFlag.CREAT);
  const access = writes ? (has(OpenFlag.READ) ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY;
  const create = has(OpenFlag.CREAT) ? constants.O_CREAT : 0;
  const exclusive = has(OpenFlag.EXCL) ? constants.O_EXCL : 0;
  // O_TRUNC would empty whatever was laid there meanwhile: that is done once it is known what was opened
  return access | create | exclusive | (has(OpenFlag.APPEND) ? constants.O_APPEND : 0) | NO_LINK;
}

async function setOf(file: FileHandle, { permissions, atime, mtime }: Attributes): Promise<void> {
  // never setuid, setgid or sticky
  if (permissions !== undefined) await file.chmod(permissions & 0o777);
  if (atime !== undefined && mtime !== undefined) await file.utimes(atime, mtime);
}

/** RENAME of version 3 fails where the name is taken (§6.5): a link does, where `rename` would replace. */
async function renameNew(source: Place, target: Place): Promise<void> {
  if (target.facts !== undefined) throw taken(target.path);
  if (source.facts?.isFile() === true) {
    try {
      await link(source.system, target.system);
      await unlink(source.system);
      return;
    } catch (cause) {
      const errno = errnoOf(cause);
      if (errno === 'EEXIST') throw taken(target.path);
      if (errno !== 'EPERM' && errno !== 'EOPNOTSUPP' && errno !== 'ENOTSUP' && errno !== 'EMLINK') throw cause;
    }
  }
  await rename(source.system, target.system);
}

/** Closes a file whose opening did not come to its end. */
async function orClosed<T>(file: FileHandle, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    await file.close();
    throw cause;
  }
}

async function using<T>(file: FileHandle, use: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

const taken = (path: string): TransferError => new TransferError(`${path}: exists already`, { code: 'TRANSFER_EXISTS' });
const theRoot = (): TransferError => new TransferError('this folder stays where it is', { code: 'TRANSFER_FORBIDDEN' });
const notRegular = (path: string, facts: Stats): TransferError =>
  facts.isDirectory()
    ? fileError(Object.assign(new Error(), { code: 'EISDIR' }), path)
    : new TransferError(`${path}: is not a regular file`, { code: 'TRANSFER_FORBIDDEN' });

const NO_LINK = constants.O_NOFOLLOW | constants.O_NONBLOCK;
const MOST_DIGESTS = 1000;
