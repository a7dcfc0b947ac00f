import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { RunningDigest } from '../transfer/digest.ts';
import { fileError, TransferError } from '../transfer/errors.ts';
import type { Attempts } from '../transfer/retry.ts';
import { isRegular } from './attributes.ts';
import { type FileMeter, type FileOptions, type FileResult, type Moved, type Moves, moving } from './moving.ts';
import { baseName, folderOf, joinRemote, partName } from './names.ts';
import { IN_FLIGHT, type RemoteFile, sameTail, writeRange } from './pipeline.ts';
import { OpenFlag } from './protocol.ts';
import type { SftpSession } from './session.ts';

/**
 * Puts one file. It grows on the server under a temporary name beside its place, and is renamed when it is whole; a lost connection is
 * made again and goes on where it stopped, and so does the next run.
 * @param options.remote path of the file to be; its folder exists
 * @throws TransferError
 */
export async function putFile(options: FileOptions): Promise<FileResult> {
  const { local } = options;
  const file = await open(local, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw fileError(cause, local);
  });
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw new TransferError(`${local}: is not a regular file`, { code: 'TRANSFER_NOT_A_FILE' });
    const source = { file, size: facts.size, mode: facts.mode & 0o777, atime: facts.atimeMs / 1000, mtimeMs: facts.mtimeMs };
    return await moving(options, 'sending', basename(local), (session, moves) => new Putting(options, source, session, moves).run());
  } finally {
    await file.close();
  }
}

/** A file of ours as it was when it was opened. */
interface Source {
  readonly file: FileHandle;
  readonly size: number;
  readonly mode: number;
  /** Seconds. */
  readonly atime: number;
  readonly mtimeMs: number;
}

class Putting {
  readonly #options: FileOptions;
  readonly #source: Source;
  readonly #session: SftpSession;
  readonly #attempts: Attempts;
  readonly #meter: FileMeter;

  constructor(options: FileOptions, source: Source, session: SftpSession, { attempts, meter }: Moves) {
    this.#options = options;
    this.#source = source;
    this.#session = session;
    this.#attempts = attempts;
    this.#meter = meter;
  }

  async run(): Promise<Moved> {
    const { remote } = this.#options;
    const { size, mtimeMs } = this.#source;
    const path = joinRemote(folderOf(remote), partName(baseName(remote), [size, mtimeMs]));
    this.#meter.total = size;
    const there = await this.#session.lstat(path).catch(() => undefined);
    const begun = there !== undefined && isRegular(there) && there.size !== undefined && there.size <= size ? there.size : 0;
    const flags = OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREAT | (begun === 0 ? OpenFlag.TRUNC : 0);
    const handle = await this.#session.open(path, flags, { permissions: 0o600 });
    let open = true;
    try {
      const digest = await this.#send({ path: remote, handle }, begun);
      const verified = await this.#verify({ path: remote, handle }, path, digest);
      open = false;
      await this.#session.close(handle);
      await this.#session.rename(path, remote);
      return { path: remote, bytes: size, sha256: digest.hex(), verified };
    } finally {
      if (open) await this.#session.close(handle).catch(() => {});
    }
  }

  async #send(remote: RemoteFile, begun: number): Promise<RunningDigest> {
    const { file, size } = this.#source;
    const digest = await this.#resume(remote, begun);
    let across = digest.position;
    this.#meter.began(across);
    await writeRange(
      this.#session,
      remote,
      file,
      { from: across, to: size },
      {
        read: (data) => digest.update(data),
        written: (count) => {
          across += count;
          this.#meter.add(count);
          this.#attempts.progressed(across);
        },
      },
    );
    return digest;
  }

  /** How much of ours the server has: known by its digest, else by what comes before the last that may have been under way. */
  async #resume(remote: RemoteFile, begun: number): Promise<RunningDigest> {
    const { file } = this.#source;
    const digest = new RunningDigest();
    if (begun === 0) return digest;
    this.#meter.phase('hashing', 0);
    const hashed = await this.#session.sha256(remote.handle, 0, begun);
    const until = hashed === undefined ? Math.max(0, begun - IN_FLIGHT) : begun;
    await digest.catchUp(file, until, (count) => this.#meter.add(count), this.#options.signal);
    const same = hashed === undefined ? await sameTail(this.#session, remote, file, until) : hashed === digest.hex();
    if (!same) digest.reset();
    return digest;
  }

  /** @returns false where the server cannot tell its digest: then it is the length alone */
  async #verify(remote: RemoteFile, part: string, digest: RunningDigest): Promise<boolean> {
    const { file, size, mode, atime, mtimeMs } = this.#source;
    this.#meter.phase('verifying', size);
    const now = await file.stat();
    if (now.size !== size || now.mtimeMs !== mtimeMs) {
      throw new TransferError(`${this.#options.local}: changed while it was sent`, {
        code: 'TRANSFER_FILE_CHANGED',
        hint: 'Put it again once nothing writes to it.',
      });
    }
    const sha256 = await this.#session.sha256(remote.handle, 0, 0);
    const there = (await this.#session.fstat(remote.path, remote.handle)).size;
    if (there !== size || (sha256 !== undefined && sha256 !== digest.hex())) {
      await this.#session.remove(part);
      throw new TransferError(`${remote.path}: what the server has is not what was sent`, {
        code: 'TRANSFER_DIGEST_MISMATCH',
        side: 'there',
      });
    }
    // a server that keeps no modes or times keeps the file all the same
    await this.#session.fsetstat(remote.path, remote.handle, { permissions: mode, atime, mtime: mtimeMs / 1000 }).catch(() => {});
    await this.#session.fsync(remote.path, remote.handle);
    return sha256 !== undefined;
  }
}
