import type { Stats } from 'node:fs';
import { fileError, TransferError, tooLarge } from '../transfer/errors.ts';
import { writeAt } from '../transfer/part-file.ts';
import { Room } from '../transfer/room.ts';
import type { OpenFile } from './server-handles.ts';

export interface BoundsOptions {
  /** Octets of the largest file; absent: any. */
  readonly largest?: number | undefined;
  /** Octets of every disk that stay free; absent: none. */
  readonly keepFree?: number | undefined;
  /** Octets that are free where a folder is; undefined where nobody can tell. */
  readonly freeOf?: ((folder: string) => number | undefined) | undefined;
}

/** How far the clients of a server may fill its disks, all of them together. What does not fit is refused before an octet of it is written. */
export class Bounds {
  readonly #largest: number;
  readonly #freeOf: BoundsOptions['freeOf'];
  /** By device: other file systems may be mounted in what is served. */
  readonly #rooms = new Map<number, Room>();
  /** Files that lack what was refused, by device and inode. */
  readonly #incomplete = new Set<string>();
  #appending: Promise<void> = Promise.resolve();
  readonly keepFree: number;

  constructor({ largest = Number.POSITIVE_INFINITY, keepFree = 0, freeOf }: BoundsOptions) {
    this.#largest = largest;
    this.keepFree = keepFree;
    this.#freeOf = freeOf;
  }

  roomOf(device: number): Room {
    const room = this.#rooms.get(device) ?? new Room('/', this.keepFree, this.#freeOf);
    this.#rooms.set(device, room);
    return room;
  }

  /** A file or a folder is about to be made. @throws TransferError */
  takeEntry(device: number, folder: string): void {
    this.roomOf(device).take(ENTRY, folder);
  }

  /** WRITE. What was refused once is not asked for again on this handle: the disk is not looked at for every packet. @throws TransferError */
  async write(file: OpenFile, offset: number, data: Uint8Array): Promise<void> {
    if (file.refused !== undefined) throw file.refused;
    try {
      if (file.appends) await this.#append(file, data);
      else await this.#put(file, offset, data);
    } catch (cause) {
      throw this.#refuse(file, cause);
    }
  }

  /** A length is about to be given to a file that is open. @throws TransferError */
  async resize(file: OpenFile, length: number): Promise<void> {
    if (file.refused !== undefined) throw file.refused;
    try {
      this.check(await file.file.stat(), length, file.disk);
      await file.file.truncate(length);
    } catch (cause) {
      throw this.#refuse(file, cause);
    }
  }

  /** May a file become so long? @param disk a name by which the system finds its disk @throws TransferError */
  check({ dev, size }: Stats, length: number, disk: string): void {
    if (length <= size) return;
    this.#checkLength(length);
    this.roomOf(dev).check(length - size, disk);
  }

  /** Somebody goes on with it, or it is gone. */
  forget({ dev, ino }: Stats): void {
    this.#incomplete.delete(identityOf({ dev, ino }));
  }

  /** Nothing that lacks a part gets another name. @throws TransferError */
  checkWhole({ dev, ino }: Stats): void {
    if (this.#incomplete.has(identityOf({ dev, ino }))) {
      throw new TransferError('this file is not whole, since something was not written to it: send the rest of it first', {
        code: 'TRANSFER_INTERRUPTED',
      });
    }
  }

  /** Where the end of a file is, others change as well: one after the other asks and writes. */
  #append(file: OpenFile, data: Uint8Array): Promise<void> {
    const appended = this.#appending.then(async () => this.#put(file, (await file.file.stat()).size, data));
    this.#appending = appended.catch(() => {});
    return appended;
  }

  async #put(file: OpenFile, offset: number, data: Uint8Array): Promise<void> {
    this.#checkLength(offset + data.length);
    await file.room.taking(data.length, file.disk, () => writeAt(file.file, data, offset));
    file.written += data.length;
  }

  #checkLength(length: number): void {
    if (length > this.#largest) throw tooLarge(length, this.#largest);
  }

  /** @returns why, the first time */
  #refuse(file: OpenFile, cause: unknown): TransferError {
    file.refused ??= fileError(cause, file.path);
    this.#incomplete.add(file.identity);
    for (const oldest of this.#incomplete) {
      if (this.#incomplete.size <= MOST_INCOMPLETE) break;
      this.#incomplete.delete(oldest);
    }
    return file.refused;
  }
}

export const identityOf = ({ dev, ino }: Pick<Stats, 'dev' | 'ino'>): string => `${dev}:${ino}`;

/** Is it one of ours that was reached? */
export const isBound = ({ code }: { readonly code: string }): boolean => Object.hasOwn(ADVICE, code);

/** A STATUS has one text: what is wrong, why, and what to do. */
export const spoken = ({ code, message }: { readonly code: string; readonly message: string }): string =>
  Object.hasOwn(ADVICE, code) ? `${message}: ${ADVICE[code]}` : message;

const ADVICE: Readonly<Record<string, string>> = {
  TRANSFER_DISK_FULL: 'make room on the server, and send it again',
  TRANSFER_TOO_LARGE: 'who serves sets the limit, by transfer.largest or --largest',
};
/** Octets that a name takes on a disk besides those of its file, more or less. */
const ENTRY = 4096;
const MOST_INCOMPLETE = 1000;
