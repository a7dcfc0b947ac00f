import { createHash } from 'node:crypto';
import { type FileHandle, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { BLOCK } from './blocks.ts';
import { RunningDigest } from './digest.ts';
import { TransferError } from './errors.ts';
import { type IfExists, openPart, place } from './part-file.ts';
import { PERMISSIONS } from './tree/entry.ts';

/** What the other end says of a file. */
export interface RemoteFile {
  /** Where it is asked for. */
  readonly target: string;
  /** Strong entity tag. */
  readonly tag: string | undefined;
  readonly length: number;
  /** Milliseconds since 1970; NaN where it is not told. */
  readonly modified: number;
  /** It can be had in ranges. */
  readonly ranges: boolean;
  /** Digests of its blocks can be had. */
  readonly blocks: boolean;
}

/** A file that is being got. It lies under a temporary name beside its place, which tells its version, and has no holes. */
export class GetPart {
  readonly remote: RemoteFile;
  readonly handle: FileHandle;
  /** Its position is how much is here. */
  readonly digest = new RunningDigest();
  /** What lay here is of another version, and may have blocks in common with this one. */
  readonly stale: boolean;
  readonly #path: string;

  private constructor(remote: RemoteFile, handle: FileHandle, path: string, stale: boolean) {
    this.remote = remote;
    this.handle = handle;
    this.#path = path;
    this.stale = stale;
  }

  /** Opens what is here of a version, or takes over the part of another one; what is left of others goes. */
  static async open(folder: string, name: string, remote: RemoteFile): Promise<GetPart> {
    const prefix = `.${name.slice(0, 100)}.`;
    const { target, tag, length } = remote;
    const version = createHash('sha256')
      .update(JSON.stringify([target, tag, length]))
      .digest('hex')
      .slice(0, 16);
    const file = `${prefix}${version}.part`;
    const path = join(folder, file);
    const names = (await readdir(folder)).filter((one) => one.startsWith(prefix) && /^[0-9a-f]{16}\.part$/.test(one.slice(prefix.length)));
    let stale = false;
    for (const other of names) {
      if (other === file) continue;
      const useful: boolean = remote.blocks && !stale && !names.includes(file) && (await stat(join(folder, other))).size >= BLOCK;
      if (useful) await rename(join(folder, other), path);
      else await unlink(join(folder, other));
      stale ||= useful;
    }
    return new GetPart(remote, await openPart(path), path, stale);
  }

  /** Cuts off what nothing can be made of. @returns octets that are left */
  async trim(): Promise<number> {
    const there = (await this.handle.stat()).size;
    const { tag, length } = this.remote;
    // Without a validator nobody knows whether it is the same file still.
    let kept = tag === undefined || (there > length && !this.stale) ? 0 : Math.min(there, length);
    if (this.stale && kept < length) kept -= kept % BLOCK;
    if (kept < there) await this.handle.truncate(kept);
    return kept;
  }

  async rewind(): Promise<void> {
    await this.handle.truncate(0);
    this.digest.reset();
  }

  /** Gives it its name, time and permissions. @returns the path it got */
  async place(
    folder: string,
    name: string,
    ifExists: IfExists,
    stamp: { readonly modified: number; readonly mode: number } | undefined,
  ): Promise<string> {
    const [own, named] = [await this.handle.stat({ bigint: true }), await stat(this.#path, { bigint: true })];
    if (Number(own.size) !== this.remote.length || own.ino !== named.ino) {
      throw new TransferError(`${name}: another process is getting the same file`, { code: 'TRANSFER_BUSY' });
    }
    if (stamp !== undefined) await this.handle.chmod(stamp.mode & PERMISSIONS & ~process.umask());
    const modified = (stamp?.modified ?? this.remote.modified) / 1000;
    if (Number.isFinite(modified)) await this.handle.utimes(modified, modified);
    return await place(this.#path, this.handle, folder, name, ifExists);
  }

  async remove(): Promise<void> {
    await this.handle.close();
    await unlink(this.#path).catch(() => undefined);
  }
}
