import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { answerBlocks, BLOCK } from './blocks.ts';
import { READ_SIZE, RunningDigest } from './digest.ts';
import { fileError, TransferError } from './errors.ts';
import { gathered } from './gathered.ts';
import { type IfExists, openPart, place, writeAllAt, writeAt } from './part-file.ts';
import type { Jail } from './paths.ts';
import type { Room } from './room.ts';
import type { Checksum } from './server/tus-fields.ts';
import type { StoredFile, UploadRequest } from './server/upload-store.ts';
import { PERMISSIONS } from './tree/entry.ts';

export interface UploadParts {
  readonly id: string;
  readonly request: UploadRequest;
  readonly stored: StoredFile | undefined;
  readonly jail: Jail;
  /** Path of the unfinished file. */
  readonly part: string;
  readonly ifExists: IfExists;
  readonly room: Room;
  readonly onStored: (stored: StoredFile) => void;
  readonly save: (stored: StoredFile | undefined) => Promise<void>;
  /** Removes every trace. */
  readonly forget: () => Promise<void>;
  /** Of a final upload: what it is put together from, in order. */
  readonly pieces: readonly UploadPiece[] | undefined;
}

/** A partial upload as a file. */
export interface UploadPiece {
  readonly path: string;
  readonly length: number;
  readonly forget: () => Promise<void>;
}

export type UploadState =
  | { readonly kind: 'receiving' }
  /** Everything is here; the digest is compared and the final name given. */
  | { readonly kind: 'verifying' }
  /** All of a partial upload is here. */
  | { readonly kind: 'complete' }
  | { readonly kind: 'stored'; readonly file: StoredFile }
  | { readonly kind: 'failed'; readonly error: TransferError };

/** What one request brings. */
export interface UploadBody {
  readonly octets: AsyncIterable<Uint8Array>;
  readonly checksum: Checksum | undefined;
  /** Stops it; called when another writer takes over. */
  readonly cancel: () => void;
}

/** One file on its way in. What was appended is on disk under a temporary name; the final name comes when all of it is there and right. */
export class Upload {
  readonly id: string;
  readonly request: UploadRequest;
  readonly #parts: UploadParts;
  readonly #digest = new RunningDigest();
  #state: UploadState = { kind: 'receiving' };
  #offset = 0;
  /** Blocks came anew after the digest did not fit. */
  #mended = false;
  #writer: { readonly cancel: () => void; readonly done: Promise<void> } | undefined;
  #finishing: Promise<void> | undefined;

  constructor(parts: UploadParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.request = parts.request;
    if (parts.stored !== undefined) {
      this.#state = { kind: 'stored', file: parts.stored };
      this.#offset = parts.request.length;
    }
  }

  get offset(): number {
    return this.#offset;
  }

  get state(): UploadState {
    return this.#state;
  }

  /** All is here, and it is not what was announced: blocks of it may come anew. */
  get damaged(): boolean {
    return this.#state.kind === 'failed' && this.#state.error.code === 'TRANSFER_DIGEST_MISMATCH' && this.#offset === this.request.length;
  }

  get idle(): boolean {
    return this.#writer === undefined && this.#finishing === undefined;
  }

  get #name(): string {
    return this.request.path.join('/');
  }

  /** A new one: nothing is there yet. */
  async begin(): Promise<void> {
    try {
      const file = await openPart(this.#parts.part);
      await file.truncate(0);
      await file.close();
      await this.#parts.save(undefined);
    } catch (cause) {
      await this.#parts.forget();
      throw fileError(cause, this.#name);
    }
    this.#finishIfWhole();
  }

  /** One from an earlier life: goes on where the file ends. */
  async load(): Promise<void> {
    if (this.#state.kind === 'stored') return;
    const found = await lstat(this.#parts.part).catch(() => undefined);
    if (found === undefined || !found.isFile() || found.size > this.request.length) {
      await this.begin();
      return;
    }
    this.#offset = found.size;
    this.#finishIfWhole();
  }

  /** Whether announcing the same file again may go on with this one. @param mends the sender can mend what is damaged */
  async usable(mends: boolean): Promise<boolean> {
    const state = this.#state;
    if (state.kind === 'stored') return await this.#stillStored(state.file);
    if (state.kind !== 'failed') return true;
    if (this.damaged && !this.#mended) return mends;
    // A connection that nobody noticed to be gone may still be mending.
    await this.quiesce();
    this.#mended = false;
    // Whatever was in the way (a full disk, a missing permission) may be gone.
    this.#state = { kind: 'receiving' };
    this.#finishIfWhole();
    return true;
  }

  /** Stops whoever is writing and waits until what it brought is on disk: after that `offset` is firm. */
  async quiesce(): Promise<void> {
    while (this.#writer !== undefined) {
      this.#writer.cancel();
      await this.#writer.done;
    }
  }

  /**
   * Appends a body at `at`. A writer that is still there (a connection that broke without anybody noticing) is stopped first.
   * What arrived before a failure stays.
   * @param onBytes called with the octets of each piece once it is on disk.
   */
  async append(at: number, body: UploadBody, onBytes: (count: number) => void): Promise<void> {
    await this.#alone(body.cancel, async () => {
      if (this.#state.kind !== 'receiving' || at !== this.#offset) {
        throw new OffsetConflict(`the next octet is ${this.#offset}, not ${at}`);
      }
      try {
        await this.#write(body, at, this.request.length, (chunk) => {
          this.#appended(chunk);
          onBytes(chunk.length);
        });
      } catch (cause) {
        // Octets with a checksum count only as a whole.
        if (body.checksum !== undefined) await this.#cutBack(at);
        throw cause;
      }
    });
    this.#finishIfWhole();
  }

  /** Takes one block anew of what is `damaged`. When all have come, announcing the file again has it verified. */
  async mend(at: number, body: UploadBody): Promise<void> {
    await this.#alone(body.cancel, async () => {
      if (!this.damaged || at % BLOCK !== 0 || at >= this.request.length) throw new OffsetConflict(`no block at ${at} is wanted`);
      this.#digest.reset();
      this.#mended = true;
      await this.#write(body, at, Math.min(this.request.length, at + BLOCK));
    });
  }

  /** SHA-256 of each block of what is here. */
  async tellBlocks(response: ServerResponse): Promise<void> {
    await this.quiesce();
    const file = await openPart(this.#parts.part);
    try {
      await answerBlocks(response, file, this.#offset);
    } finally {
      await file.close();
    }
  }

  async #alone(cancel: () => void, work: () => Promise<void>): Promise<void> {
    // Checked again after waiting: somebody else may have come first.
    while (this.#writer !== undefined) await this.quiesce();
    let finished = (): void => {};
    const done = new Promise<void>((resolve) => {
      finished = resolve;
    });
    this.#writer = { cancel, done };
    try {
      await work();
    } catch (cause) {
      throw fileError(cause, this.#name);
    } finally {
      this.#writer = undefined;
      finished();
    }
  }

  /** Waits for the end of verification, at most as long as `limit` takes. */
  async settled(limit: Promise<void>): Promise<void> {
    await Promise.race([this.#finishing, limit]);
  }

  async remove(): Promise<void> {
    await this.quiesce();
    await this.#finishing;
    await this.#parts.forget();
  }

  /** @param written called with each piece once it is on disk */
  async #write({ octets, checksum }: UploadBody, at: number, end: number, written?: (chunk: Uint8Array) => void): Promise<void> {
    const file = await openPart(this.#parts.part);
    const hash = checksum && createHash(checksum.algorithm);
    try {
      for await (const chunks of gathered(octets)) {
        const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        if (at + length > end) throw new TransferError('more octets than were announced', { code: 'TRANSFER_BAD_REQUEST' });
        this.#parts.room.take(length);
        await writeAllAt(file, chunks, at, (chunk) => {
          hash?.update(chunk);
          written?.(chunk);
        });
        at += length;
      }
      if (hash !== undefined && !hash.digest().equals(checksum!.digest))
        throw new TransferError(`${this.#name}: the octets do not have their checksum`, { code: 'TRANSFER_DIGEST_MISMATCH' });
    } finally {
      await file.close();
    }
  }

  #appended(chunk: Uint8Array): void {
    if (this.#digest.position === this.#offset) this.#digest.update(chunk);
    this.#offset += chunk.length;
  }

  async #cutBack(to: number): Promise<void> {
    const file = await openPart(this.#parts.part);
    await file.truncate(to);
    await file.close();
    this.#offset = to;
    if (this.#digest.position > to) this.#digest.reset();
  }

  #finishIfWhole(): void {
    const whole = this.#offset === this.request.length || this.#parts.pieces !== undefined;
    if (this.#state.kind !== 'receiving' || !whole) return;
    if (this.request.concat === 'partial') this.#state = { kind: 'complete' };
    else this.#finish();
  }

  #finish(): void {
    this.#state = { kind: 'verifying' };
    this.#finishing = this.#gather()
      .then(() => this.#verifyAndPlace())
      .then(
        (file) => {
          this.#state = { kind: 'stored', file };
          this.#parts.onStored(file);
        },
        (cause: unknown) => {
          this.#state = { kind: 'failed', error: fileError(cause, this.#name) };
        },
      )
      .finally(() => {
        this.#finishing = undefined;
      });
  }

  /** Puts a final upload together; each piece goes when it is in, and a later life goes on where this one ends. */
  async #gather(): Promise<void> {
    let start = 0;
    for (const { path, length, forget } of this.#parts.pieces ?? []) {
      const end = start + length;
      if (this.#offset < end) await this.#append(path, start, end);
      await forget();
      start = end;
    }
  }

  async #append(piece: string, start: number, end: number): Promise<void> {
    const [from, to] = [await open(piece, constants.O_RDONLY | constants.O_NOFOLLOW), await openPart(this.#parts.part)];
    try {
      const buffer = new Uint8Array(READ_SIZE);
      while (this.#offset < end) {
        const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, end - this.#offset), this.#offset - start);
        if (bytesRead === 0) throw new TransferError(`${this.#name}: a part of it is shorter than it was`, { code: 'TRANSFER_IO' });
        this.#parts.room.take(bytesRead);
        await writeAt(to, buffer.subarray(0, bytesRead), this.#offset);
        this.#appended(buffer.subarray(0, bytesRead));
      }
    } finally {
      await from.close();
      await to.close();
    }
  }

  async #verifyAndPlace(): Promise<StoredFile> {
    const { request } = this;
    const { jail, part, ifExists, save } = this.#parts;
    const file = await openPart(part);
    try {
      await this.#digest.catchUp(file, request.length);
      const sha256 = this.#digest.hex();
      const whole = this.#digest.position === request.length && (await file.stat()).size === request.length;
      if (!whole || (request.sha256 !== undefined && sha256 !== request.sha256)) {
        throw new TransferError(`${this.#name}: what arrived is not what was announced (SHA-256 differs)`, {
          code: 'TRANSFER_DIGEST_MISMATCH',
        });
      }
      await file.chmod(request.mode === undefined ? 0o600 : request.mode & PERMISSIONS & ~process.umask());
      if (request.modified !== undefined) await file.utimes(new Date(request.modified), new Date(request.modified));
      const folder = await jail.ensureFolder(request.path.slice(0, -1));
      const placed = await place(part, file, folder, request.path.at(-1)!, ifExists);
      const path = placed.slice(jail.root.length + 1).split('/');
      const stored = { path, length: request.length, sha256, stamp: stampOf(await lstat(placed, { bigint: true })) };
      // The file has its name: that the note about it could not be written changes nothing for anybody.
      await save(stored).catch(() => {});
      return stored;
    } finally {
      await file.close();
    }
  }

  async #stillStored(file: StoredFile): Promise<boolean> {
    const found = await lstat(this.#parts.jail.path(file.path), { bigint: true }).catch(() => undefined);
    return found !== undefined && stampOf(found) === file.stamp;
  }
}

/** Changes whenever the file is replaced or written to. */
const stampOf = (found: BigIntStats): string => `${found.ino}-${found.size}-${found.mtimeNs}`;

/** The sender counted otherwise than we did; it asks for the offset and goes on there. */
export class OffsetConflict extends TransferError {
  constructor(message: string) {
    super(message, { code: 'TRANSFER_BUSY' });
  }
}
