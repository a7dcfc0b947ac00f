import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { toHex, utf8 } from '../../../core/bytes/index.ts';
import { ERROR_FIELD, statusOf, TransferError } from '../errors.ts';
import { Pace } from '../pace.ts';
import type { IfExists } from '../part-file.ts';
import { Jail } from '../paths.ts';
import type { TransferProgress } from '../progress.ts';
import { SYSTEM_TIMING, type Timing, Watchdog } from '../timing.ts';
import { FileThread, type FileThreadOptions } from '../tree/file-thread.ts';
import { type FileSent, ServedFolder } from './files.ts';
import { type FilesUnpacked, Packs } from './packs.ts';
import { SentRanges } from './sent-ranges.ts';
import { type StoredFile, UploadStore } from './upload-store.ts';
import { Inbox } from './uploads.ts';

export interface FileServerOptions extends FileThreadOptions {
  /** Folder whose files peers may get; absent: none. */
  readonly folder?: string | undefined;
  /** Folder into which peers may send; absent: none. */
  readonly inbox?: string | undefined;
  /** When a name in the inbox is taken; `both` keeps both, the new one with a number. */
  readonly ifExists?: IfExists;
  /** Octets of the largest file that is accepted. */
  readonly largest?: number | undefined;
  /** Octets of the disk that stay free whatever peers send; 0. */
  readonly keepFree?: number;
  /** Octets a second that all connections may move together; absent: as many as there is room for. */
  readonly limit?: number | undefined;
  /** Unfinished uploads at one time. */
  readonly uploads?: number;
  /** Milliseconds after which an abandoned upload is thrown away; a week. */
  readonly uploadLife?: number;
  /** Connections at one time. */
  readonly connections?: number;
  /** Milliseconds after which a connection on which nothing moves is closed. */
  readonly idleTimeout?: number;
  readonly onEvent?: (event: FileServerEvent) => void;
  readonly timing?: Timing;
  readonly wallClock?: () => number;
  readonly randomId?: () => string;
}

export type FileServerEvent =
  | { readonly kind: 'progress'; readonly peer: string; readonly progress: TransferProgress }
  | { readonly kind: 'stored'; readonly peer: string; readonly file: StoredFile }
  /** The sender knows that it is stored. */
  | { readonly kind: 'acknowledged'; readonly peer: string; readonly file: StoredFile }
  /** Small files that came in one request, each stored under its name. */
  | { readonly kind: 'unpacked'; readonly peer: string; readonly files: FilesUnpacked }
  | { readonly kind: 'sent'; readonly peer: string; readonly file: FileSent }
  /** The peer was told; or the connection went away (`TRANSFER_INTERRUPTED`). */
  | { readonly kind: 'refused'; readonly peer: string; readonly what: string; readonly error: TransferError };

/** What gives the tunnel's connections: a listener of the in-process stack, or a server socket bound to the tunnel's address. */
export interface ConnectionSource {
  on(event: 'connection', listener: (stream: Duplex) => void): unknown;
  off(event: 'connection', listener: (stream: Duplex) => void): unknown;
}

/**
 * Files for the peers of the tunnel: `/files/` to get, `/blocks/` to compare, `/inbox/` to send. It opens no port by itself: it speaks only on the streams
 * that it is handed, so that nobody outside of the tunnel reaches it.
 */
export class FileServer {
  readonly #options: FileServerOptions;
  readonly #timing: Timing;
  readonly #http: Server;
  readonly #files: ServedFolder | undefined;
  readonly #inbox: Inbox | undefined;
  readonly #packs: Packs;
  readonly #thread: FileThread;
  readonly #store: UploadStore | undefined;
  readonly #streams = new Map<Duplex, string>();
  readonly #sources = new Set<() => void>();
  readonly #connections: number;

  private constructor(options: FileServerOptions, folder: Jail | undefined, store: UploadStore | undefined) {
    this.#options = options;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#store = store;
    this.#thread = new FileThread(options);
    const { onEvent } = options;
    const pace = options.limit === undefined ? undefined : new Pace(options.limit, this.#timing);
    // Each has to move often enough to be told from a lost one.
    this.#connections = pace?.connections(options.connections ?? CONNECTIONS) ?? options.connections ?? CONNECTIONS;
    const ranges = new SentRanges();
    this.#files =
      folder &&
      new ServedFolder(folder, this.#thread, this.#timing, pace, (request, sending) => {
        const peer = this.#peerOf(request);
        const left = ranges.begin(peer, sending, request.headers.range);
        return (bytes) => {
          const file = left(bytes);
          if (file !== undefined) onEvent?.({ kind: 'sent', peer, file });
        };
      });
    this.#inbox =
      store &&
      new Inbox(store, {
        timing: this.#timing,
        pace,
        largest: options.largest ?? Number.MAX_SAFE_INTEGER,
        onProgress: (peer, progress) => onEvent?.({ kind: 'progress', peer, progress }),
        onAcknowledged: (peer, file) => onEvent?.({ kind: 'acknowledged', peer, file }),
      });
    this.#packs = new Packs({
      thread: this.#thread,
      pace,
      inbox: store?.tree,
      shared: folder?.root,
      onUnpacked: (peer, files) => onEvent?.({ kind: 'unpacked', peer, files }),
    });
    // Uploads take as long as they take; a connection that stands still is our own watchdog's business.
    this.#http = createServer(
      { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 },
      (request, response) => void this.#answer(request, response),
    );
    this.#http.on('clientError', (_cause, stream: Duplex) => stream.destroy());
  }

  /** @throws TransferError when a folder is missing or not ours to use. */
  static async open(options: FileServerOptions): Promise<FileServer> {
    const folder = options.folder === undefined ? undefined : await Jail.open(options.folder);
    const store =
      options.inbox === undefined
        ? undefined
        : await UploadStore.open({
            inbox: options.inbox,
            ifExists: options.ifExists ?? 'both',
            largest: options.largest ?? Number.MAX_SAFE_INTEGER,
            keepFree: options.keepFree ?? 0,
            most: options.uploads ?? 1000,
            life: options.uploadLife ?? 7 * 24 * 3600_000,
            wallClock: options.wallClock ?? Date.now,
            randomId: options.randomId ?? (() => toHex(randomBytes(16))),
            onStored: (peer, file) => options.onEvent?.({ kind: 'stored', peer, file }),
          });
    return new FileServer(options, folder, store);
  }

  /**
   * Takes every connection of the source.
   * @param peerOf who is at the other end, as the tunnel's authentication says: an upload belongs to its peer.
   * @returns how to stop that.
   */
  serve(source: ConnectionSource, peerOf: (stream: Duplex) => string = () => ''): () => void {
    const take = (stream: Duplex): void => this.accept(stream, peerOf(stream));
    source.on('connection', take);
    const stop = (): void => {
      source.off('connection', take);
      this.#sources.delete(stop);
    };
    this.#sources.add(stop);
    return stop;
  }

  /** Speaks HTTP on one connection. @param peer who is at the other end, as the tunnel's authentication says. */
  accept(stream: Duplex, peer = ''): void {
    if (this.#streams.size >= this.#connections) {
      stream.destroy();
      return;
    }
    this.#streams.set(stream, peer);
    const watchdog = new Watchdog(this.#timing, this.#options.idleTimeout ?? 60_000, () => stream.destroy());
    stream.on('error', () => stream.destroy());
    stream.on('close', () => {
      watchdog.stop();
      this.#streams.delete(stream);
    });
    this.#http.emit('connection', stream);
    stream.on('data', () => watchdog.touch());
    stream.on('drain', () => watchdog.touch());
  }

  /** Ends every connection, after `grace` milliseconds by force, and lets what arrived reach the disk. */
  async close(grace = 1000): Promise<void> {
    for (const stop of [...this.#sources]) stop();
    const streams = [...this.#streams.keys()];
    const closed = streams.map((stream) => new Promise<void>((resolve) => void stream.once('close', resolve)));
    for (const stream of streams) stream.end();
    const cancel = this.#timing.after(grace, () => {
      for (const stream of streams) stream.destroy();
    });
    await Promise.all(closed);
    cancel();
    this.#http.close();
    await this.#store?.close();
    await this.#thread.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.on('error', () => {});
    try {
      await this.#route(request, response);
    } catch (cause) {
      this.#refuse(request, response, cause);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0]!;
    if (this.#files !== undefined && path.startsWith('/files/'))
      return await this.#files.handle(request, response, path.slice('/files/'.length));
    if (this.#files !== undefined && path.startsWith('/blocks/') && request.method === 'GET')
      return await this.#files.blocks(request, response, path.slice('/blocks/'.length));
    if (this.#inbox !== undefined && path.startsWith('/inbox/')) {
      return await this.#inbox.handle(request, response, path.slice('/inbox/'.length), this.#peerOf(request));
    }
    if (path.startsWith('/packs/')) return await this.#packs.handle(request, response, path.slice('/packs/'.length), this.#peerOf(request));
    throw new TransferError('nothing is shared here under this name', { code: 'TRANSFER_NOT_FOUND' });
  }

  #refuse(request: IncomingMessage, response: ServerResponse, cause: unknown): void {
    const gone = request.destroyed && !request.complete;
    const error =
      cause instanceof TransferError && !gone
        ? cause
        : new TransferError('the connection went away', {
            code: gone || response.destroyed ? 'TRANSFER_INTERRUPTED' : 'TRANSFER_IO',
            cause,
          });
    this.#options.onEvent?.({ kind: 'refused', peer: this.#peerOf(request), what: `${request.method} ${request.url}`, error });
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const text = JSON.stringify({ code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': String(utf8(text).length), [ERROR_FIELD]: error.code };
    const unread = !request.complete && request.headers['content-length'] !== undefined && request.headers['content-length'] !== '0';
    response.writeHead(statusOf(error.code), unread ? { ...headers, Connection: 'close' } : headers);
    response.end(request.method === 'HEAD' ? undefined : text);
  }

  #peerOf(request: IncomingMessage): string {
    return this.#streams.get(request.socket) ?? '';
  }
}

/** At one time. */
const CONNECTIONS = 256;
