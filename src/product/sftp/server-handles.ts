import type { Dir } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { TransferError } from '../transfer/errors.ts';
import type { Room } from '../transfer/room.ts';
import type { Draft } from './server-draft.ts';

export interface OpenFile {
  readonly kind: 'file';
  readonly file: FileHandle;
  readonly path: string;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Whatever is written goes to its end. */
  readonly appends: boolean;
  /** Which one it is, by device and inode. */
  readonly identity: string;
  /** That of its disk. */
  readonly room: Room;
  /** A name by which the system finds its disk. */
  readonly disk: string;
  /** Where its OPEN made a file. */
  readonly draft: Draft | undefined;
  /** Why something was not written to it; nothing more is, then. */
  refused: TransferError | undefined;
  /** Octets. */
  read: number;
  written: number;
}

export interface OpenListing {
  readonly kind: 'folder';
  readonly dir: Dir;
  /** Where its names are looked up. */
  readonly folder: FileHandle;
  readonly base: string;
  readonly path: string;
}

/** What one session has open, each under four octets that are never used again. */
export class Handles {
  readonly #open = new Map<number, OpenFile | OpenListing>();
  readonly most: number;
  #next = 0;

  constructor(most: number) {
    this.most = most;
  }

  /** Before anything is opened. @throws TransferError */
  checkRoom(): void {
    if (this.#open.size >= this.most)
      throw new TransferError(`no more than ${this.most} files may be open at a time`, { code: 'TRANSFER_BUSY' });
  }

  add(what: OpenFile | OpenListing): Uint8Array {
    const id = this.#next++;
    this.#open.set(id, what);
    return handleOf(id);
  }

  get(handle: Uint8Array): OpenFile | OpenListing {
    const found = this.#open.get(idOf(handle));
    if (found === undefined) throw new TransferError('there is no such handle', { code: 'TRANSFER_BAD_REQUEST' });
    return found;
  }

  file(handle: Uint8Array): OpenFile {
    const found = this.get(handle);
    if (found.kind !== 'file') throw new TransferError('this handle is one of a folder', { code: 'TRANSFER_BAD_REQUEST' });
    return found;
  }

  appends(handle: Uint8Array): boolean {
    const found = this.#open.get(idOf(handle));
    return found?.kind === 'file' && found.appends;
  }

  folder(handle: Uint8Array): OpenListing {
    const found = this.get(handle);
    if (found.kind !== 'folder') throw new TransferError('this handle is one of a file', { code: 'TRANSFER_BAD_REQUEST' });
    return found;
  }

  async close(handle: Uint8Array): Promise<OpenFile | OpenListing> {
    const found = this.get(handle);
    this.#open.delete(idOf(handle));
    await release(found, true);
    return found;
  }

  /** @returns what was still open */
  async closeAll(): Promise<(OpenFile | OpenListing)[]> {
    const left = [...this.#open.values()];
    this.#open.clear();
    for (const each of left) await release(each, false).catch(() => {});
    return left;
  }
}

/** @param asked the client has closed it: all that it wanted to write has come */
async function release(what: OpenFile | OpenListing, asked: boolean): Promise<void> {
  if (what.kind === 'file') {
    try {
      await what.draft?.settle(what.file, asked, what.refused);
    } finally {
      await what.file.close();
    }
    return;
  }
  await what.dir.close();
  await what.folder.close();
}

function handleOf(id: number): Uint8Array {
  const octets = new Uint8Array(4);
  new DataView(octets.buffer).setUint32(0, id);
  return octets;
}

function idOf(handle: Uint8Array): number {
  return handle.length === 4 ? new DataView(handle.buffer, handle.byteOffset, 4).getUint32(0) : -1;
}
