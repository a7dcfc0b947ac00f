import type { IncomingMessage, ServerResponse } from 'node:http';
import { utf8 } from '../../../core/bytes/index.ts';
import { fileError, TransferError } from '../errors.ts';
import { inParallel } from '../parallel.ts';
import { parsePath } from '../paths.ts';
import { parseEntry, type TreeEntry } from '../tree/entry.ts';
import { AT_ONCE, LARGEST_PACKED, PACK_TYPE, packed, packedRefusal, readLines, unpack } from '../tree/pack.ts';
import { TreeSource } from '../tree/source.ts';
import type { UploadStore } from './upload-store.ts';

export interface FilesUnpacked {
  readonly files: number;
  readonly bytes: number;
}

export interface PacksOptions {
  readonly store: UploadStore | undefined;
  /** The shared folder: absolute, links resolved. */
  readonly shared: string | undefined;
  readonly onUnpacked: (peer: string, files: FilesUnpacked) => void;
}

/** Many small files in one request, either way: a round trip for each would take longer than the files. */
export class Packs {
  readonly #options: PacksOptions;

  constructor(options: PacksOptions) {
    this.#options = options;
  }

  /** @param rest what stood behind `/packs/` */
  async handle(request: IncomingMessage, response: ServerResponse, rest: string, peer: string): Promise<void> {
    const { store, shared } = this.#options;
    if (request.method !== 'POST') {
      response.writeHead(405, { Allow: 'POST', 'Content-Length': '0' }).end();
      return;
    }
    // Leaving the loop early must not tear down the connection: the answer still has to go out on it.
    const body = request.iterator({ destroyOnReturn: false });
    if (rest === 'missing' && store !== undefined) await this.#missing(store, body, response);
    else if (rest === 'in' && store !== undefined) await this.#in(store, body, response, peer);
    else if (rest === 'out' && shared !== undefined) await this.#out(shared, body, response);
    else throw new TransferError('nothing is shared here under this name', { code: 'TRANSFER_NOT_FOUND' });
  }

  /** Which of the entries that are told are not here yet. */
  async #missing(store: UploadStore, body: AsyncIterable<Uint8Array>, response: ServerResponse): Promise<void> {
    const entries: TreeEntry[] = [];
    for await (const json of readLines(body)) entries.push(parseEntry(json).entry);
    const sink = store.openTree();
    try {
      answer(response, { schema: 1, missing: await sink.missing(entries) });
    } finally {
      await sink.close();
    }
  }

  async #in(store: UploadStore, body: AsyncIterable<Uint8Array>, response: ServerResponse, peer: string): Promise<void> {
    // Entries are meant by their number in the pack.
    const renamed: { readonly index: number; readonly path: string }[] = [];
    const refused: { readonly index: number; readonly code: string; readonly message: string }[] = [];
    let [files, bytes] = [0, 0];
    const sink = store.openTree();
    try {
      await inParallel(unpack(body), AT_ONCE, async (item, index) => {
        if ('refused' in item) throw new TransferError('a refusal in a pack that was sent', { code: 'TRANSFER_BAD_REQUEST' });
        try {
          const path = await sink.put(item);
          if (path.at(-1) !== item.entry.path.at(-1)) renamed.push({ index, path: path.join('/') });
          if (item.entry.kind === 'folder') return;
          files++;
          bytes += item.content?.length ?? 0;
        } catch (cause) {
          refused.push({ index, ...refusalFor(item.entry, cause) });
        }
      });
    } finally {
      await sink.close();
      if (files > 0) this.#options.onUnpacked(peer, { files, bytes });
    }
    answer(response, { schema: 1, renamed, refused });
  }

  /** The small files that are asked for, in any order; a refusal for each that cannot be had. */
  async #out(shared: string, body: AsyncIterable<Uint8Array>, response: ServerResponse): Promise<void> {
    const source = TreeSource.below(shared);
    const wanted: (readonly string[])[] = [];
    // One for all who wait.
    let room: Promise<void> | undefined;
    try {
      for await (const path of readLines(body)) wanted.push(parsePath(String((path as { path?: unknown } | null)?.path ?? '')));
      response.writeHead(200, { 'Content-Type': PACK_TYPE });
      await inParallel(wanted, AT_ONCE, async (path) => {
        const piece = await pieceOf(source, path);
        if (response.destroyed) throw new TransferError('the connection went away', { code: 'TRANSFER_INTERRUPTED' });
        if (!response.write(piece)) room ??= roomIn(response);
        await room;
        room = undefined;
      });
      response.end();
    } finally {
      await source.close();
    }
  }
}

async function pieceOf(source: TreeSource, path: readonly string[]): Promise<Uint8Array> {
  try {
    const { file, content } = await source.read(path, LARGEST_PACKED);
    return packed({ ...file, path }, content);
  } catch (cause) {
    return packedRefusal(path.join('/'), fileError(cause, path.join('/')));
  }
}

/** What concerns one entry is told of it; what concerns all ends the request. */
function refusalFor({ path }: TreeEntry, cause: unknown): { code: string; message: string } {
  const { code, message } = fileError(cause, path.join('/'));
  if (CONCERNS_ALL.has(code)) throw cause;
  return { code, message };
}

function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

function answer(response: ServerResponse, document: object): void {
  const text = JSON.stringify(document);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': utf8(text).length }).end(text);
}

const CONCERNS_ALL: ReadonlySet<string> = new Set(['TRANSFER_DISK_FULL', 'TRANSFER_BUSY', 'TRANSFER_IO']);
