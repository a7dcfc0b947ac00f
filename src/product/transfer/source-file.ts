import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { differingBlocks } from './blocks.ts';
import { RunningDigest } from './digest.ts';
import { fileChanged, fileError, TransferError } from './errors.ts';
import type { ByteRange } from './http-conditions.ts';
import type { PeerResponse } from './peer-http.ts';
import { modifiedOf, PERMISSIONS } from './tree/entry.ts';

/** A file that is read while it must not change. */
export class SourceFile {
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
  /** Permissions. */
  readonly mode: number;
  readonly #handle: FileHandle;
  readonly #name: string;
  readonly #stamp: string;

  private constructor(handle: FileHandle, name: string, stat: BigIntStats) {
    this.#handle = handle;
    this.#name = name;
    this.size = Number(stat.size);
    this.modified = modifiedOf(stat);
    this.mode = Number(stat.mode) & PERMISSIONS;
    this.#stamp = stampOf(stat);
  }

  static async open(path: string): Promise<SourceFile> {
    try {
      return await SourceFile.of(await open(path, constants.O_RDONLY | constants.O_NONBLOCK), path);
    } catch (cause) {
      throw fileError(cause, path);
    }
  }

  /** Takes over a file that is open. */
  static async of(handle: FileHandle, name: string): Promise<SourceFile> {
    try {
      const stat = await handle.stat({ bigint: true });
      if (!stat.isFile()) throw new TransferError(`${name}: is not a regular file`, { code: 'TRANSFER_NOT_A_FILE' });
      return new SourceFile(handle, name, stat);
    } catch (cause) {
      await handle.close();
      throw fileError(cause, name);
    }
  }

  async digest(onBytes: (count: number) => void, signal: AbortSignal | undefined): Promise<string> {
    const digest = new RunningDigest();
    await this.#guard(() => digest.catchUp(this.#handle, this.size, onBytes, signal));
    if (digest.position !== this.size) throw fileChanged(this.#name);
    await this.assertUnchanged();
    return digest.hex();
  }

  async *read({ start, end }: ByteRange, onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
    const ahead: Promise<Uint8Array>[] = [];
    let asked = start;
    for (let at = start; at < end; ) {
      for (; ahead.length < READ_AHEAD && asked < end; asked += READ) ahead.push(this.#octets(asked, Math.min(end, asked + READ)));
      const octets = await ahead.shift()!;
      for (let from = 0; from < octets.length; from += PIECE) {
        const piece = octets.subarray(from, from + PIECE);
        yield piece;
        onBytes(piece.length);
      }
      at += octets.length;
    }
  }

  #octets(start: number, end: number): Promise<Uint8Array> {
    // A buffer of its own each time: the connection may still hold the one before.
    const buffer = Buffer.allocUnsafeSlow(end - start);
    const reading = this.#guard(async () => {
      for (let done = 0; done < buffer.length; ) {
        const { bytesRead } = await this.#handle.read(buffer, done, buffer.length - done, start + done);
        if (bytesRead === 0) throw fileChanged(this.#name);
        done += bytesRead;
      }
      return buffer;
    });
    // whoever takes the pieces may be gone before this one comes
    reading.catch(() => undefined);
    return reading;
  }

  /** The blocks in which it is not what the other end tells. */
  differing(told: PeerResponse, onBytes: (count: number) => void): Promise<readonly ByteRange[] | undefined> {
    return this.#guard(() => differingBlocks(told, this.size, this.#handle, this.size, onBytes));
  }

  async assertUnchanged(): Promise<void> {
    const stat = await this.#guard(() => this.#handle.stat({ bigint: true }));
    if (stampOf(stat) !== this.#stamp) throw fileChanged(this.#name);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof Error && 'errno' in cause) throw fileError(cause, this.#name);
      throw cause;
    }
  }
}

const stampOf = (stat: BigIntStats): string => `${stat.size} ${stat.mtimeNs}`;

/** Octets that are written at once: small enough that progress is fine-grained on slow paths. */
export const PIECE = 64 * 1024;
/** Octets that are read at once: each time another thread is woken up, and the processor goes from one to the other. */
const READ = 8 * PIECE;
/** So often it is read while what was read before leaves. */
const READ_AHEAD = 2;
