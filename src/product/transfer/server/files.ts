import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { utf8 } from '../../../core/bytes/index.ts';
import type { Listed } from '../../control/target.ts';
import { answerBlocks } from '../blocks.ts';
import { READ_SIZE, RunningDigest, reprDigest } from '../digest.ts';
import { TransferError } from '../errors.ts';
import { type ByteRange, matches, parseRange } from '../http-conditions.ts';
import type { Pace } from '../pace.ts';
import { type Jail, parseRequestPath } from '../paths.ts';
import type { Timing } from '../timing.ts';
import type { FileThread } from '../tree/file-thread.ts';

/** A file, or what comes behind `from` of it. */
export interface FileSending {
  readonly name: string;
  readonly from: number;
  readonly total: number;
}

export interface FileSent extends FileSending {
  /** Octets that left; fewer than asked for when the connection broke. */
  readonly bytes: number;
}

/** Told of what begins to leave; gives what is to be called with the octets that left. */
export type OnSending = (request: IncomingMessage, file: FileSending) => (bytes: number) => void;

/** Answers GET and HEAD for the files of one folder: byte ranges, validators, and the SHA-256 of the whole on request (RFC 9530). */
export class ServedFolder {
  readonly #jail: Jail;
  readonly #thread: FileThread;
  readonly #timing: Timing;
  readonly #pace: Pace | undefined;
  readonly #onSending: OnSending;
  /** By entity tag: a changed file has another. */
  readonly #digests = new Map<string, GrowingDigest>();

  constructor(jail: Jail, thread: FileThread, timing: Timing, pace: Pace | undefined, onSending: OnSending) {
    this.#jail = jail;
    this.#thread = thread;
    this.#timing = timing;
    this.#pace = pace;
    this.#onSending = onSending;
  }

  /** @param raw path as it stood in the request, behind `/files/`, percent signs and all. */
  async handle(request: IncomingMessage, response: ServerResponse, raw: string): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { Allow: 'GET, HEAD', 'Content-Length': '0' }).end();
      return;
    }
    const asFolder = raw === '' || raw.endsWith('/');
    const segments = parseRequestPath(asFolder ? raw.slice(0, -1) : raw);
    if (asFolder) {
      const text = JSON.stringify({ schema: 1, entries: await this.#list(segments) });
      response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'Content-Length': utf8(text).length });
      response.end(request.method === 'HEAD' ? undefined : text);
      return;
    }
    const handle = await this.#jail.openFile(segments);
    try {
      await this.#file(request, response, { handle, ...(await identify(handle)), name: segments.join('/') });
    } finally {
      await handle.close();
    }
  }

  /** SHA-256 of every block of a file. @param raw as for `handle`, behind `/blocks/` */
  async blocks(request: IncomingMessage, response: ServerResponse, raw: string): Promise<void> {
    const segments = parseRequestPath(raw);
    const handle = await this.#jail.openFile(segments);
    try {
      const { tag, size } = await identify(handle);
      requireTag(request, tag, segments.join('/'));
      await answerBlocks(response, handle, size);
    } finally {
      await handle.close();
    }
  }

  async #list(segments: readonly string[]): Promise<Listed[]> {
    const name = segments.join('/') || 'the folder';
    if (!(await this.#jail.stat(segments)).isDirectory())
      throw new TransferError(`${name}: is not a folder`, { code: 'TRANSFER_NOT_FOUND' });
    const source = await this.#thread.open('below', this.#jail.root);
    try {
      const entries = await source.call('list', segments);
      return entries.map(({ path, ...facts }) => ({ name: path.at(-1)!, size: 0, modified: 0, mode: 0, ...facts }));
    } finally {
      await source.close();
    }
  }

  async #file(request: IncomingMessage, response: ServerResponse, file: OpenFile): Promise<void> {
    const { tag, size } = file;
    response.setHeader('ETag', tag);
    response.setHeader('Accept-Ranges', 'bytes');
    response.setHeader('Last-Modified', new Date(file.modified).toUTCString());
    response.setHeader('Content-Type', 'application/octet-stream');
    response.setHeader('Content-Disposition', 'attachment');
    requireTag(request, tag, file.name);
    if (request.headers['if-none-match'] !== undefined && matches(request.headers['if-none-match'], tag)) {
      response.writeHead(304).end();
      return;
    }
    const ifRange = request.headers['if-range'];
    const range = matches(typeof ifRange === 'string' ? ifRange : undefined, tag) ? parseRange(request.headers.range, size) : undefined;
    if (range === 'unsatisfiable') {
      response.writeHead(416, { 'Content-Range': `bytes */${size}`, 'Content-Length': '0' }).end();
      return;
    }
    const wantsDigest = /(?:^|[,\s])sha-256=(?!0)/.test(String(request.headers['want-repr-digest'] ?? ''));
    if (request.method === 'HEAD' && wantsDigest) await this.#answerDigest(response, file);
    await this.#answerBytes(request, response, file, range, wantsDigest);
  }

  /** Repr-Digest, or, where reading the file takes long, Retry-After: the next request finds it farther. */
  async #answerDigest(response: ServerResponse, file: OpenFile): Promise<void> {
    const growing = this.#digests.get(file.tag) ?? this.#remember(file.tag, new GrowingDigest());
    const patience = this.#timing.now() + DIGEST_PATIENCE;
    while (growing.position < file.size && this.#timing.now() < patience) {
      const before = growing.position;
      await growing.advance(file.handle, file.size);
      if (growing.position === before) return;
    }
    if (growing.position < file.size) response.setHeader('Retry-After', '0');
    else response.setHeader('Repr-Digest', reprDigest(growing.hex()));
  }

  async #answerBytes(
    request: IncomingMessage,
    response: ServerResponse,
    file: OpenFile,
    range: ByteRange | undefined,
    wantsDigest: boolean,
  ): Promise<void> {
    const { handle, size } = file;
    const { start, end } = range ?? { start: 0, end: size };
    if (range !== undefined) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${size}`);
    response.writeHead(range === undefined ? 200 : 206, { 'Content-Length': String(end - start) });
    if (request.method === 'HEAD' || end === start) {
      response.end();
      return;
    }
    let sent = 0;
    const onSent = this.#onSending(request, { name: file.name, from: start, total: size });
    const passing = wantsDigest && start === 0 && end === size ? new RunningDigest() : undefined;
    const count = new Transform({
      transform(chunk: Uint8Array, _encoding, done) {
        sent += chunk.length;
        passing?.update(chunk);
        done(null, chunk);
      },
    });
    try {
      const octets = handle.createReadStream({ start, end: end - 1, autoClose: false, highWaterMark: READ_SIZE });
      await pipeline(this.#pace === undefined ? octets : Readable.from(this.#pace.paced(octets)), count, response);
      // A file that shrank meanwhile: the announced length cannot be kept, so the connection ends.
      if (sent < end - start) response.destroy();
      else if (passing !== undefined && (await identify(handle)).tag === file.tag) this.#remember(file.tag, new GrowingDigest(passing));
    } finally {
      onSent(sent);
    }
  }

  #remember(tag: string, digest: GrowingDigest): GrowingDigest {
    this.#digests.set(tag, digest);
    if (this.#digests.size > MOST_DIGESTS) this.#digests.delete(this.#digests.keys().next().value!);
    return digest;
  }
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly name: string;
  readonly size: number;
  readonly modified: number;
  readonly tag: string;
}

/** Size, and an entity tag that changes with every change the file system tells of. */
async function identify(handle: FileHandle): Promise<{ size: number; modified: number; tag: string }> {
  const stat = await handle.stat({ bigint: true });
  const tag = [stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].map((n) => n.toString(36)).join('-');
  return { size: Number(stat.size), modified: Number(stat.mtimeMs), tag: `"${tag}"` };
}

/** If-Match. @throws TransferError */
function requireTag(request: IncomingMessage, tag: string, name: string): void {
  if (matches(request.headers['if-match'], tag)) return;
  throw new TransferError(`${name}: changed in the meantime`, { code: 'TRANSFER_FILE_CHANGED' });
}

/** A digest that several requests carry forward, one at a time, each with its own handle of the same file. */
class GrowingDigest {
  readonly #digest: RunningDigest;
  #step: Promise<void> | undefined;

  constructor(digest = new RunningDigest()) {
    this.#digest = digest;
  }

  get position(): number {
    return this.#digest.position;
  }

  hex(): string {
    return this.#digest.hex();
  }

  async advance(handle: FileHandle, size: number): Promise<void> {
    if (this.#step !== undefined) {
      // Somebody else's step; that it failed is theirs to report.
      await this.#step.catch(() => {});
      return;
    }
    this.#step = this.#digest.catchUp(handle, Math.min(size, this.#digest.position + DIGEST_STEP));
    try {
      await this.#step;
    } finally {
      this.#step = undefined;
    }
  }
}

const DIGEST_STEP = 32 * 1024 * 1024;
/** Milliseconds that one request spends on a digest. */
const DIGEST_PATIENCE = 2000;
const MOST_DIGESTS = 1024;
