import type { IncomingMessage, ServerResponse } from 'node:http';
import { isSha256, reprDigest } from '../digest.ts';
import { statusOf, TransferError } from '../errors.ts';
import type { Pace } from '../pace.ts';
import { parsePath } from '../paths.ts';
import { ProgressMeter, type TransferProgress } from '../progress.ts';
import { sleep, type Timing } from '../timing.ts';
import { OffsetConflict, type Upload } from '../upload.ts';
import {
  CHECKSUM_ALGORITHMS,
  malformed,
  OCTETS,
  parseChecksum,
  parseConcat,
  parseMetadata,
  TUS_EXTENSIONS,
  TUS_VERSION,
  wholeNumber,
} from './tus-fields.ts';
import type { StoredFile, UploadRequest, UploadStore } from './upload-store.ts';

export interface InboxOptions {
  readonly timing: Timing;
  readonly pace: Pace | undefined;
  /** Octets of the largest file, told to tus clients. */
  readonly largest: number;
  readonly onProgress: (peer: string, progress: TransferProgress) => void;
  /** The sender was told that the whole is stored. */
  readonly onAcknowledged: (peer: string, file: StoredFile) => void;
}

/**
 * The inbox as tus 1.0 has it, with its extensions but for lengths that are not known and checksums that come last, so that any tus client can send. Beyond tus: `sha256` in Upload-Metadata
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
          'Tus-Extension': TUS_EXTENSIONS,
          'Tus-Checksum-Algorithm': CHECKSUM_ALGORITHMS.join(','),
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
    const field = String(request.headers['upload-metadata'] ?? '');
    const metadata = parseMetadata(field);
    const path = parsePath(metadata.get('filename') ?? '');
    const concat = await this.#concat(request, peer);
    if (path.length === 0 && concat !== 'partial') throw malformed('Upload-Metadata has no filename');
    const sha256 = metadata.get('sha256');
    if (sha256 !== undefined && !isSha256(sha256)) throw malformed('sha256 in Upload-Metadata is not 64 hex digits');
    const [modified, mode] = [metadata.get('modified'), metadata.get('mode')];
    const announced = {
      peer,
      path,
      length: typeof concat === 'object' ? concat.reduce((sum, { length }) => sum + length, 0) : wholeNumber(request, 'upload-length'),
      sha256,
      modified: modified !== undefined && /^\d{1,15}$/.test(modified) ? Number(modified) : undefined,
      mode: mode !== undefined && /^[0-7]{1,4}$/.test(mode) ? Number.parseInt(mode, 8) : undefined,
      metadata: field === '' ? undefined : field,
      part: concat === 'partial' ? metadata.get('part') : undefined,
      concat,
    };
    const upload = await this.#store.create(announced, request.headers['upload-mend'] === '?1');
    response.setHeader('Location', `/inbox/${upload.id}`);
    const unread = request.headers['content-length'] !== '0' && bringsOctets(request);
    // Of what was begun before the sender has to ask how much is there.
    const taken = unread && upload.offset === 0 && upload.state.kind === 'receiving';
    if (taken) await this.#append(request, upload, 0, peer);
    await this.#settle(upload);
    await this.#describe(response, upload);
    response.writeHead(201, { 'Content-Length': '0', ...(unread && !taken ? { Connection: 'close' } : {}) }).end();
  }

  /** What the upload is to the concatenation of several. */
  async #concat(request: IncomingMessage, peer: string): Promise<UploadRequest['concat']> {
    const concat = parseConcat(request.headers['upload-concat']);
    if (typeof concat !== 'object') return concat;
    if (request.headers['upload-length'] !== undefined) throw malformed('a final upload has the length of its parts, and no other');
    const parts = await Promise.all(concat.map((id) => this.#store.find(id, peer)));
    return parts.map((part) => {
      if (part?.state.kind !== 'complete') throw malformed('a final upload is of partial ones that are whole');
      return { id: part.id, length: part.request.length };
    });
  }

  async #head(response: ServerResponse, upload: Upload): Promise<void> {
    await upload.quiesce();
    await this.#settle(upload);
    if (upload.state.kind === 'failed') throw upload.state.error;
    response.setHeader('Upload-Length', String(upload.request.length));
    const { metadata, concat } = upload.request;
    if (metadata !== undefined) response.setHeader('Upload-Metadata', metadata);
    if (concat !== undefined)
      response.setHeader('Upload-Concat', concat === 'partial' ? concat : `final;${concat.map(({ id }) => `/inbox/${id}`).join(' ')}`);
    await this.#describe(response, upload);
    // Without it Node's HTTP client does not keep the connection.
    response.writeHead(200, { 'Content-Length': '0' }).end();
  }

  async #patch(request: IncomingMessage, response: ServerResponse, upload: Upload, peer: string): Promise<void> {
    if (!bringsOctets(request)) {
      response.writeHead(415, { 'Content-Length': '0', Connection: 'close' }).end();
      return;
    }
    if (typeof upload.request.concat === 'object' && !upload.damaged)
      throw new TransferError('a final upload is put together from its parts alone', { code: 'TRANSFER_FORBIDDEN' });
    try {
      await this.#append(request, upload, wholeNumber(request, 'upload-offset'), peer);
    } catch (cause) {
      if (!(cause instanceof OffsetConflict)) throw cause;
      await this.#describe(response, upload);
      response.writeHead(409, { 'Content-Length': '0', Connection: 'close' }).end();
      return;
    }
    if (!upload.damaged) {
      await this.#settle(upload);
      if (upload.state.kind === 'failed') throw upload.state.error;
    }
    await this.#describe(response, upload);
    response.writeHead(204).end();
  }

  async #append(request: IncomingMessage, upload: Upload, at: number, peer: string): Promise<void> {
    // Leaving the loop early must not tear down the connection: the answer still has to go out on it.
    const octets: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false });
    const body = {
      octets: this.#options.pace?.paced(octets) ?? octets,
      checksum: parseChecksum(request.headers['upload-checksum']),
      cancel: () => void request.destroy(),
    };
    if (upload.damaged) return await upload.mend(at, body);
    const { path, length } = upload.request;
    const meter = new ProgressMeter(path.join('/'), length, this.#options.timing, (progress) => this.#options.onProgress(peer, progress));
    meter.resumedFrom = at;
    meter.phase('receiving', at);
    await upload.append(at, body, (count) => meter.add(count));
    if (upload.state.kind === 'verifying') meter.phase('verifying', upload.offset);
  }

  async #remove(response: ServerResponse, upload: Upload): Promise<void> {
    await upload.remove();
    response.writeHead(204).end();
  }

  async #describe(response: ServerResponse, upload: Upload): Promise<void> {
    const { state, request } = upload;
    // tus 1.0, concatenation: a final upload has none before it is put together.
    if (state.kind !== 'verifying' || typeof request.concat !== 'object') response.setHeader('Upload-Offset', String(upload.offset));
    response.setHeader('Upload-State', state.kind === 'failed' ? `failed; status=${statusOf(state.error.code)}` : state.kind);
    if (state.kind !== 'stored') {
      response.setHeader('Upload-Expires', new Date(await this.#store.expires(upload)).toUTCString());
      return;
    }
    response.setHeader('Repr-Digest', reprDigest(state.file.sha256));
    response.setHeader('Upload-Stored-As', state.file.path.map(encodeURIComponent).join('/'));
    response.once('finish', () => this.#options.onAcknowledged(request.peer, state.file));
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

const bringsOctets = (request: IncomingMessage): boolean => request.headers['content-type'] === OCTETS;

/** Milliseconds that a request waits for verification to end. */
const VERIFY_PATIENCE = 2000;
