import type { IncomingMessage, ServerResponse } from 'node:http';
import { utf8 } from '../../../core/bytes/index.ts';
import { TransferError } from '../errors.ts';
import { gathered, joined } from '../gathered.ts';
import type { Pace } from '../pace.ts';
import { parsePath } from '../paths.ts';
import { parseEntry } from '../tree/entry.ts';
import type { FileThread } from '../tree/file-thread.ts';
import { PACK_TYPE, packedRefusal, readLines } from '../tree/pack.ts';
import type { TreeSinkOptions } from '../tree/sink.ts';
import type { UnpackedAll } from '../tree/unpacking.ts';

export interface FilesUnpacked {
  readonly files: number;
  readonly bytes: number;
}

export interface PacksOptions {
  /** Where files are packed and unpacked. */
  readonly thread: FileThread;
  readonly pace: Pace | undefined;
  readonly inbox: TreeSinkOptions | undefined;
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
    const { inbox, shared } = this.#options;
    if (request.method !== 'POST') {
      response.writeHead(405, { Allow: 'POST', 'Content-Length': '0' }).end();
      return;
    }
    // Leaving the loop early must not tear down the connection: the answer still has to go out on it.
    const octets: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false });
    const body = this.#options.pace?.paced(octets) ?? octets;
    if (rest === 'missing' && inbox !== undefined) await this.#missing(inbox, body, response);
    else if (rest === 'in' && inbox !== undefined) await this.#in(inbox, body, response, peer);
    else if (rest === 'out' && shared !== undefined) await this.#out(shared, body, response);
    else throw new TransferError('nothing is shared here under this name', { code: 'TRANSFER_NOT_FOUND' });
  }

  /** Which of the entries that are told are not here yet. */
  async #missing(inbox: TreeSinkOptions, body: AsyncIterable<Uint8Array>, response: ServerResponse): Promise<void> {
    const entries = (await readLines(body)).map((json) => parseEntry(json).entry);
    const sink = await this.#options.thread.open('sink', inbox);
    try {
      answer(response, { schema: 1, missing: await sink.call('missing', entries) });
    } finally {
      await sink.close();
    }
  }

  async #in(inbox: TreeSinkOptions, body: AsyncIterable<Uint8Array>, response: ServerResponse, peer: string): Promise<void> {
    const { thread, onUnpacked } = this.#options;
    const unpacking = await thread.open('unpacking', inbox);
    let unpacked: UnpackedAll;
    try {
      for await (const pieces of gathered(body)) await unpacking.call('push', joined(pieces));
      unpacked = await unpacking.call('end');
    } finally {
      const stored = await unpacking.close();
      if (stored.files > 0) onUnpacked(peer, stored);
    }
    const refused = unpacked.refused.map(({ index, code, message }) => ({ index, code, message }));
    answer(response, { schema: 1, renamed: unpacked.renamed, refused });
  }

  /** The small files that are asked for, in any order; a refusal for each that cannot be had. */
  async #out(shared: string, body: AsyncIterable<Uint8Array>, response: ServerResponse): Promise<void> {
    const wanted = (await readLines(body)).map((line) => {
      const path = parsePath(String((line as { path?: unknown } | null)?.path ?? ''));
      return { kind: 'file', path } as const;
    });
    const source = await this.#options.thread.open('below', shared);
    try {
      response.writeHead(200, { 'Content-Type': PACK_TYPE });
      for (let at = 0; at < wanted.length; ) {
        const block = await source.call('pack', wanted, at);
        const refusals = block.refused.map((refused) => packedRefusal(wanted[refused.index]!.path.join('/'), refused));
        const octets = joined([block.body, ...refusals]);
        for await (const piece of this.#options.pace?.pieces(octets) ?? [octets]) await written(response, piece);
        at = block.next;
      }
      response.end();
    } finally {
      await source.close();
    }
  }
}

/** Waits for room where there is none. @throws TransferError */
async function written(response: ServerResponse, octets: Uint8Array): Promise<void> {
  if (response.destroyed) throw new TransferError('the connection went away', { code: 'TRANSFER_INTERRUPTED' });
  if (response.write(octets)) return;
  await new Promise<void>((resolve) => {
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
