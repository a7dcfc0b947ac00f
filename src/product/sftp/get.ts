import { type FileHandle, readdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RunningDigest } from '../transfer/digest.ts';
import { fileError, TransferError } from '../transfer/errors.ts';
import { openPart, place, writeAt } from '../transfer/part-file.ts';
import type { Attempts } from '../transfer/retry.ts';
import { type Attributes, isRegular } from './attributes.ts';
import { type FileMeter, type FileOptions, type FileResult, type Moved, type Moves, moving } from './moving.ts';
import { isPartOf, partName } from './names.ts';
import { type RemoteFile, readRange, sameTail } from './pipeline.ts';
import { OpenFlag } from './protocol.ts';
import type { SftpSession } from './session.ts';

/**
 * Gets one file. It grows under a temporary name beside its place, and is renamed when it is whole; a lost connection is made again and
 * goes on where it stopped, and so does the next run.
 * @param options.remote path on the server, of a regular file
 * @param options.local path of the file to be; its folder exists
 * @throws TransferError
 */
export function getFile(options: FileOptions): Promise<FileResult> {
  return moving(options, 'receiving', basename(options.local), (session, moves) => new Getting(options, session, moves).run());
}

class Getting {
  readonly #options: FileOptions;
  readonly #session: SftpSession;
  readonly #attempts: Attempts;
  readonly #meter: FileMeter;

  constructor(options: FileOptions, session: SftpSession, { attempts, meter }: Moves) {
    this.#options = options;
    this.#session = session;
    this.#attempts = attempts;
    this.#meter = meter;
  }

  async run(): Promise<Moved> {
    const { remote } = this.#options;
    const handle = await this.#session.open(remote, OpenFlag.READ);
    try {
      const file = { path: remote, handle };
      const attributes = await this.#session.fstat(remote, handle);
      return await this.#fetch(file, attributes, sizeOf(remote, attributes));
    } finally {
      await this.#session.close(handle).catch(() => {});
    }
  }

  async #fetch(file: RemoteFile, attributes: Attributes, size: number): Promise<Moved> {
    const { remote, local, link } = this.#options;
    const path = join(dirname(local), partName(basename(local), [link.name, remote, size, attributes.mtime]));
    const part = await this.#openPart(path);
    try {
      this.#meter.total = size;
      const digest = await this.#resume(file, part, size);
      this.#meter.began(digest.position);
      await readRange(this.#session, file, { from: digest.position, to: size }, async (data) => {
        await writeAt(part, data, digest.position).catch((cause: unknown) => {
          throw this.#local(cause);
        });
        digest.update(data);
        this.#meter.add(data.length);
        this.#attempts.progressed(digest.position);
      });
      const verified = await this.#verify(file, attributes, size, digest, path);
      await this.#place(part, path, attributes);
      return { path: local, bytes: size, sha256: digest.hex(), verified };
    } finally {
      await part.close();
    }
  }

  /** Parts of other versions are of no use, and go. */
  async #openPart(path: string): Promise<FileHandle> {
    const [folder, name] = [dirname(path), basename(this.#options.local)];
    try {
      const stale = (await readdir(folder)).filter((other) => isPartOf(other, name) && other !== basename(path));
      for (const other of stale) await unlink(join(folder, other));
      return await openPart(path);
    } catch (cause) {
      throw this.#local(cause);
    }
  }

  /** What is here of it, where the server has the same; else nothing. */
  async #resume(file: RemoteFile, part: FileHandle, size: number): Promise<RunningDigest> {
    const digest = new RunningDigest();
    const there = (await part.stat()).size;
    if (there > 0 && there <= size) {
      this.#meter.phase('hashing', 0);
      await digest.catchUp(part, there, (count) => this.#meter.add(count), this.#options.signal);
      if (await this.#sameAsThere(file, part, digest)) return digest;
    }
    await part.truncate(0);
    digest.reset();
    return digest;
  }

  async #sameAsThere(file: RemoteFile, part: FileHandle, digest: RunningDigest): Promise<boolean> {
    const hashed = await this.#session.sha256(file.handle, 0, digest.position);
    if (hashed !== undefined) return hashed === digest.hex();
    return sameTail(this.#session, file, part, digest.position);
  }

  /** @returns false where the server cannot tell its digest: then it is the length alone, and that the file stayed as it was */
  async #verify(file: RemoteFile, before: Attributes, size: number, digest: RunningDigest, part: string): Promise<boolean> {
    this.#meter.phase('verifying', size);
    const after = await this.#session.fstat(file.path, file.handle);
    const sha256 = await this.#session.sha256(file.handle, 0, 0);
    if (after.size === size && after.mtime === before.mtime && (sha256 === undefined || sha256 === digest.hex()))
      return sha256 !== undefined;
    await unlink(part);
    throw new TransferError(`${file.path}: changed on the server while it was read`, {
      code: 'TRANSFER_FILE_CHANGED',
      side: 'there',
      hint: 'Get it again once nothing writes to it.',
    });
  }

  async #place(part: FileHandle, path: string, { permissions, atime, mtime }: Attributes): Promise<void> {
    const { local } = this.#options;
    try {
      await part.chmod(permissions === undefined ? 0o666 & ~process.umask() : permissions & 0o777);
      if (atime !== undefined && mtime !== undefined) await part.utimes(atime, mtime);
      await place(path, part, dirname(local), basename(local), 'replace');
    } catch (cause) {
      throw this.#local(cause);
    }
  }

  #local(cause: unknown): Error {
    return fileError(cause, this.#options.local);
  }
}

/** Of a regular file. @throws TransferError */
function sizeOf(path: string, attributes: Attributes): number {
  if (!isRegular(attributes)) throw new TransferError(`${path}: is not a regular file`, { code: 'TRANSFER_NOT_A_FILE', side: 'there' });
  if (attributes.size === undefined)
    throw new TransferError(`${path}: the server does not say how long it is`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
  return attributes.size;
}

/** Is a file of ours what the server has, as far as size and time tell? */
export async function looksSame(local: string, { size, mtime }: Attributes): Promise<boolean> {
  const ours = await stat(local).catch(() => undefined);
  return ours?.isFile() === true && ours.size === size && mtime !== undefined && Math.floor(ours.mtimeMs / 1000) === mtime;
}
