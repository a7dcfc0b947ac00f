import type { IncomingMessage, ServerResponse } from 'node:http';
import { isSha256, reprDigest } from './digest.ts';
import { statusOf, TransferError } from './errors.ts';
import { parsePath } from './paths.ts';
import { ProgressMeter, type TransferProgress } from './progress.ts';
import { sleep, type Timing } from './timing.ts';
import { OffsetConflict, type Upload } from './upload.ts';
import type { StoredFile, UploadStore } from './upload-store.ts';

export interface InboxOptions {
  readonly timing: Timing;
  /** Octets of the largest file, told to tus clients. */
  readonly largest: number;
  readonly onProgress: (peer: string, progress: TransferProgress) => void;
  /** The sender was told that the whole is stored. */
  readonly onAcknowledged: (peer: string, file: StoredFile) => void;
}

/**
 * The inbox as tus 1.0 has it (core, creation, termination), so that any tus client can send. Beyond tus: `sha256` in Upload-Metadata
 * names the upload by content, `Upload-State` tells whether the whole was verified and stored. What was not right stays for a sender that says
 * `Upload-Mend: ?1`: it compares `/inbox/ID/blocks`, sends those anew that differ, and announces the file again.
 */
export class Inbox {
  readonly #store: UploadStore;
  readonly #options: InboxOptions;

  constructor(store: UploadStore, options: InboxOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** @param rest what stood behind `/inbox/`. */
  async handle(request: IncomingMessage, response: ServerResponse, rest: string, peer: string): Promise<void> {
    response.setHeader('Tus-Resumable', TUS_VERSION);
    response.setHeader('Cache-Control', 'no-store');
    const method = methodOf(request);
    if (method === 'OPTIONS') {
      response
        .writeHead(204, {
          'Tus-Version': TUS_VERSION,
          'Tus-Extension': 'creation,termination',
          'Tus-Max-Size': String(this.#options.largest),
        })
        .end();
      return;
    }
    if (request.headers['tus-resumable'] !== TUS_VERSION) {
      response.writeHead(412, { 'Tus-Version': TUS_VERSION, 'Content-Length': '0' }).end();
      return;
    }
    if (rest === '') {
      if (method === 'POST') await this.#create(request, response, peer);
      else response.writeHead(405, { Allow: 'OPTIONS, POST', 'Content-Length': '0' }).end();
      return;
    }
    const [id = '', of, ...more] = rest.split('/');
    const upload = more.length === 0 && (of === undefined || of === 'blocks') ? await this.#store.find(id, peer) : undefined;
    if (upload === undefined) throw new TransferError('no such upload', { code: 'TRANSFER_NOT_FOUND' });
    if (of === 'blocks' && method === 'GET' && upload.state.kind !== 'stored') await upload.tellBlocks(response);
    else if (of !== undefined) response.writeHead(405, { Allow: 'GET', 'Content-Length': '0' }).end();
    else if (method === 'HEAD') await this.#head(response, upload);
    else if (method === 'PATCH') await this.#patch(request, response, upload, peer);
    else if (method === 'DELETE') await this.#remove(response, upload);
    else response.writeHead(405, { Allow: 'OPTIONS, HEAD, PATCH, DELETE', 'Content-Length': '0' }).end();
  }

  async #create(request: IncomingMessage, response: ServerResponse, peer: string): Promise<void> {
    const length = wholeNumber(request, 'upload-length');
    const metadata = parseMetadata(request.headers['upload-metadata']);
    const path = parsePath(metadata.get('filename') ?? '');
    if (path.length === 0) throw new TransferError('Upload-Metadata has no filename', { code: 'TRANSFER_BAD_REQUEST' });
    const sha256 = metadata.get('sha256');
    if (sha256 !== undefined && !isSha256(sha256))
      throw new TransferError('sha256 in Upload-Metadata is not 64 hex digits', { code: 'TRANSFER_BAD_REQUEST' });
    const [modified, mode] = [metadata.get('modified'), metadata.get('mode')];
    const announced = {
      peer,
      path,
      length,
      sha256,
      modified: modified !== undefined && /^\d{1,15}$/.test(modified) ? Number(modified) : undefined,
      mode: mode !== undefined && /^[0-7]{1,4}$/.test(mode) ? Number.parseInt(mode, 8) : undefined,
    };
    const upload = await this.#store.create(announced, request.headers['upload-mend'] === '?1');
    await this.#settle(upload);
    response.setHeader('Location', `/inbox/${upload.id}`);
    this.#describe(response, upload);
    response.writeHead(201, { 'Content-Length': '0' }).end();
  }

  async #head(response: ServerResponse, upload: Upload): Promise<void> {
    await upload.quiesce();
    await this.#settle(upload);
    if (upload.state.kind === 'failed') throw upload.state.error;
    response.setHeader('Upload-Length', String(upload.request.length));
    this.#describe(response, upload);
    // Without it Node's HTTP client does not keep the connection.
    response.writeHead(200, { 'Content-Length': '0' }).end();
  }

  async #patch(request: IncomingMessage, response: ServerResponse, upload: Upload, peer: string): Promise<void> {
    if (request.headers['content-type'] !== 'application/offset+octet-stream') {
      response.writeHead(415, { 'Content-Length': '0', Connection: 'close' }).end();
      return;
    }
    const at = wholeNumber(request, 'upload-offset');
    const meter = new ProgressMeter(upload.request.path.join('/'), upload.request.length, this.#options.timing, (progress) =>
      this.#options.onProgress(peer, progress),
    );
    meter.resumedFrom = at;
    meter.phase('receiving', at);
    // Leaving the loop early must not tear down the connection: the answer still has to go out on it.
    const body = request.iterator({ destroyOnReturn: false });
    const cancel = () => void request.destroy();
    try {
      if (upload.damaged) {
        await upload.mend(at, body, cancel);
        response.writeHead(204, { 'Upload-Offset': String(upload.offset) }).end();
        return;
      }
      await upload.append(at, body, cancel, (count) => meter.add(count));
    } catch (cause) {
      if (!(cause instanceof OffsetConflict)) throw cause;
      this.#describe(response, upload);
      response.writeHead(409, { 'Content-Length': '0', Connection: 'close' }).end();
      return;
    }
    if (upload.state.kind === 'verifying') meter.phase('verifying', upload.offset);
    await this.#settle(upload);
    if (upload.state.kind === 'failed') throw upload.state.error;
    this.#describe(response, upload);
    response.writeHead(204).end();
  }

  async #remove(response: ServerResponse, upload: Upload): Promise<void> {
    await upload.remove();
    response.writeHead(204).end();
  }

  #describe(response: ServerResponse, upload: Upload): void {
    const { state } = upload;
    response.setHeader('Upload-Offset', String(upload.offset));
    response.setHeader('Upload-State', state.kind === 'failed' ? `failed; status=${statusOf(state.error.code)}` : state.kind);
    if (state.kind !== 'stored') return;
    response.setHeader('Repr-Digest', reprDigest(state.file.sha256));
    response.setHeader('Upload-Stored-As', state.file.path.map(encodeURIComponent).join('/'));
    response.once('finish', () => this.#options.onAcknowledged(upload.request.peer, state.file));
  }

  /** A short wait, so that small files are answered for at once and large ones do not stall the connection. */
  async #settle(upload: Upload): Promise<void> {
    const enough = new AbortController();
    const limit = sleep(this.#options.timing, VERIFY_PATIENCE, enough.signal).catch(() => {});
    await upload.settled(limit);
    enough.abort();
  }
}

/** tus 1.0: clients that cannot send PATCH or DELETE say so in a field. */
const methodOf = (request: IncomingMessage): string => String(request.headers['x-http-method-override'] ?? request.method).toUpperCase();

function wholeNumber(request: IncomingMessage, field: string): number {
  const text = String(request.headers[field] ?? '');
  if (!/^\d{1,15}$/.test(text)) throw new TransferError(`${field} is missing or not a whole number`, { code: 'TRANSFER_BAD_REQUEST' });
  return Number(text);
}

/** `key base64,key base64`; what is not UTF-8 in base64 is refused. */
function parseMetadata(field: string | string[] | undefined): Map<string, string> {
  const found = new Map<string, string>();
  const text = Array.isArray(field) ? field.join(',') : (field ?? '');
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const [key, value = '', ...rest] = pair.trim().split(' ');
    try {
      if (rest.length > 0) throw new TransferError('too many parts', { code: 'TRANSFER_BAD_REQUEST' });
      const octets = Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
      found.set(key!, new TextDecoder('utf-8', { fatal: true }).decode(octets));
    } catch (cause) {
      throw new TransferError('Upload-Metadata is not pairs of a key and base64', { code: 'TRANSFER_BAD_REQUEST', cause });
    }
  }
  return found;
}

export const TUS_VERSION = '1.0.0';
/** Milliseconds that a request waits for verification to end. */
const VERIFY_PATIENCE = 2000;
