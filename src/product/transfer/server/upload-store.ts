import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSha256 } from '../digest.ts';
import { errnoOf, fileError, TransferError, tooLarge } from '../errors.ts';
import type { IfExists } from '../part-file.ts';
import { Jail, PARTIAL_FOLDER, parsePath } from '../paths.ts';
import { Room } from '../room.ts';
import type { TreeSinkOptions } from '../tree/sink.ts';
import { Upload, type UploadPiece } from '../upload.ts';

/** What a peer announces before it sends. */
export interface UploadRequest {
  /** Who sends, by name of the tunnel's authentication; `''` where that is unknown. */
  readonly peer: string;
  /** Segments below the inbox, at least one; a partial upload needs none. */
  readonly path: readonly string[];
  readonly length: number;
  /** Of the whole file, hex. With it the upload has a name by content: announcing it again finds what is there already. */
  readonly sha256: string | undefined;
  /** Milliseconds since 1970, kept on the stored file. */
  readonly modified: number | undefined;
  /** Permissions, kept as far as the umask lets; absent: for the owner alone. */
  readonly mode?: number | undefined;
  /** As the sender has written it, to be told again. */
  readonly metadata?: string | undefined;
  /** Of a partial upload (tus concatenation): what it is called among the parts of the file that `sha256` names. */
  readonly part?: string | undefined;
  /** `partial`, or what a final upload is put together from, in order. */
  readonly concat?: 'partial' | readonly PartialUpload[] | undefined;
}

export interface PartialUpload {
  readonly id: string;
  readonly length: number;
}

export interface StoredFile {
  /** Segments below the inbox; the name may have got a number. */
  readonly path: readonly string[];
  readonly length: number;
  readonly sha256: string;
  /** Tells whether it is still the file that was stored. */
  readonly stamp: string;
}

export interface UploadStoreOptions {
  readonly inbox: string;
  readonly ifExists: IfExists;
  /** Octets of the largest file. */
  readonly largest: number;
  /** Octets of the disk that stay free. */
  readonly keepFree: number;
  /** Unfinished uploads at one time. */
  readonly most: number;
  /** Milliseconds after which an unfinished upload that nobody continued is thrown away. */
  readonly life: number;
  /** Milliseconds since 1970, to tell the age of files. */
  readonly wallClock: () => number;
  readonly randomId: () => string;
  readonly onStored: (peer: string, stored: StoredFile) => void;
}

/** Unfinished uploads, kept on disk beside the inbox so that they outlive connections, rekeys and restarts. */
export class UploadStore {
  readonly #options: UploadStoreOptions;
  readonly #jail: Jail;
  readonly #folder: string;
  readonly #room: Room;
  readonly #open = new Map<string, Promise<Upload | undefined>>();

  private constructor(options: UploadStoreOptions, jail: Jail, folder: string) {
    this.#options = options;
    this.#jail = jail;
    this.#folder = folder;
    this.#room = new Room(folder, options.keepFree);
  }

  static async open(options: UploadStoreOptions): Promise<UploadStore> {
    const jail = await Jail.open(options.inbox);
    const folder = join(jail.root, PARTIAL_FOLDER);
    try {
      await mkdir(folder, { mode: 0o700 }).catch((cause: unknown) => {
        if (errnoOf(cause) !== 'EEXIST') throw cause;
      });
      const found = await lstat(folder);
      if (!found.isDirectory()) throw new TransferError(`${PARTIAL_FOLDER} in the inbox is not a folder`, { code: 'TRANSFER_FORBIDDEN' });
      await chmod(folder, 0o700);
    } catch (cause) {
      throw fileError(cause, `the inbox ${options.inbox}`);
    }
    const store = new UploadStore(options, jail, folder);
    await store.purge();
    return store;
  }

  /** The upload of this request: the one that was begun before, if its content is announced by digest, else a new one. @param mends what is damaged may go on, too */
  async create(request: UploadRequest, mends = false): Promise<Upload> {
    const { largest, most, randomId } = this.#options;
    if (request.length > largest) throw tooLarge(request.length, largest);
    const id = request.sha256 === undefined ? randomId() : contentId(request);
    const known = await this.#load(id);
    if (known !== undefined && Array.isArray(request.concat) && known.state.kind === 'receiving') await known.remove();
    else if (known !== undefined && (await known.usable(mends))) return known;
    if ((await this.#ids()).length >= most) {
      await this.purge();
      if ((await this.#ids()).length >= most) throw new TransferError('too many unfinished uploads', { code: 'TRANSFER_BUSY' });
    }
    this.#room.check(request.length);
    const made = this.#make(id, request, undefined);
    this.#remember(id, Promise.resolve(made));
    await made.begin();
    return made;
  }

  /** Undefined when there is none, or it belongs to somebody else. */
  async find(id: string, peer: string): Promise<Upload | undefined> {
    if (!isId(id)) return undefined;
    const upload = await this.#load(id);
    if (upload?.request.peer !== peer) return undefined;
    if (upload.state.kind === 'stored' || (await this.expires(upload)) > this.#options.wallClock()) return upload;
    await upload.remove();
    return undefined;
  }

  /** When it is thrown away unless somebody goes on with it, in milliseconds since 1970. */
  async expires(upload: Upload): Promise<number> {
    const found = await stat(this.#path(upload.id, 'part')).catch(() => undefined);
    return (found?.mtimeMs ?? this.#options.wallClock()) + this.#options.life;
  }

  #path(id: string, ending: 'part' | 'json'): string {
    return join(this.#folder, `${id}.${ending}`);
  }

  /** Where files go that come packed. */
  get tree(): TreeSinkOptions {
    const { ifExists, largest, keepFree } = this.#options;
    return { root: this.#jail.root, scratch: this.#folder, ifExists, largest, keepFree };
  }

  /** Throws away what is older than its life. */
  async purge(): Promise<void> {
    const oldest = this.#options.wallClock() - this.#options.life;
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const found = await stat(path).catch(() => undefined);
      // what is written down of an upload is as young as its octets
      const octets = path.endsWith('.json') ? await stat(path.replace(/json$/, 'part')).catch(() => undefined) : undefined;
      if (found === undefined || Math.max(found.mtimeMs, octets?.mtimeMs ?? 0) >= oldest) continue;
      this.#open.delete(name.slice(0, 32));
      await unlink(path).catch(() => {});
    }
  }

  async close(): Promise<void> {
    const uploads = await Promise.all(this.#open.values());
    await Promise.all(uploads.map((upload) => upload?.quiesce()));
    this.#open.clear();
  }

  async #ids(): Promise<string[]> {
    return (await readdir(this.#folder)).filter((name) => name.endsWith('.part'));
  }

  #load(id: string): Promise<Upload | undefined> {
    const known = this.#open.get(id);
    if (known !== undefined) return known;
    const loading = this.#read(id);
    this.#remember(id, loading);
    return loading;
  }

  async #read(id: string): Promise<Upload | undefined> {
    const record = await readRecord(this.#path(id, 'json'));
    if (record === undefined) return undefined;
    const upload = this.#make(id, record.request, record.stored);
    await upload.load();
    return upload;
  }

  #make(id: string, request: UploadRequest, stored: StoredFile | undefined): Upload {
    const { ifExists, onStored } = this.#options;
    const { concat } = request;
    return new Upload({
      id,
      request,
      stored,
      jail: this.#jail,
      part: this.#path(id, 'part'),
      ifExists,
      room: this.#room,
      onStored: (file) => onStored(request.peer, file),
      save: (file) => writeRecord(this.#path(id, 'json'), { request, stored: file }),
      forget: () => this.#forget(id),
      pieces: typeof concat === 'object' ? concat.map((piece) => this.#piece(piece)) : undefined,
    });
  }

  #piece({ id, length }: PartialUpload): UploadPiece {
    return { length, path: this.#path(id, 'part'), forget: () => this.#forget(id) };
  }

  async #forget(id: string): Promise<void> {
    this.#open.delete(id);
    for (const ending of ['part', 'json'] as const) await unlink(this.#path(id, ending)).catch(() => undefined);
  }

  /** What is idle and on disk needs no place in memory. */
  #remember(id: string, upload: Promise<Upload | undefined>): void {
    this.#open.delete(id);
    this.#open.set(id, upload);
    void upload.then((found) => {
      if (found === undefined && this.#open.get(id) === upload) this.#open.delete(id);
    });
    if (this.#open.size <= MOST_IN_MEMORY) return;
    for (const [other, candidate] of this.#open) {
      void candidate.then((found) => {
        if (found === undefined || (found.idle && this.#open.size > MOST_IN_MEMORY)) this.#open.delete(other);
      });
    }
  }
}

/** The same file from the same peer to the same name has the same id; nobody else can guess or meet it. */
function contentId({ peer, path, length, sha256, part }: UploadRequest): string {
  return createHash('sha256')
    .update(JSON.stringify([peer, path, length, sha256, part]))
    .digest('hex')
    .slice(0, 32);
}

interface UploadRecord {
  readonly request: UploadRequest;
  readonly stored: StoredFile | undefined;
}

async function writeRecord(path: string, record: UploadRecord): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify({ version: 1, ...record }), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** Undefined for a record that is missing or damaged: the upload then begins anew. */
async function readRecord(path: string): Promise<UploadRecord | undefined> {
  try {
    const parsed = JSON.parse(await readFile(path, 'utf8')) as { version: unknown; request: UploadRequest; stored?: StoredFile };
    const { peer, path: segments, length, sha256, modified, mode, metadata, part, concat } = parsed.request;
    const sound =
      parsed.version === 1 &&
      typeof peer === 'string' &&
      Number.isSafeInteger(length) &&
      (sha256 === undefined || isSha256(sha256)) &&
      (modified === undefined || Number.isFinite(modified)) &&
      (mode === undefined || Number.isSafeInteger(mode)) &&
      [metadata, part].every((text) => text === undefined || typeof text === 'string') &&
      (concat === undefined || concat === 'partial' || concat.every(({ id, length }) => isId(id) && Number.isSafeInteger(length))) &&
      (parsePath(segments.join('/')).length > 0 || concat === 'partial');
    return sound ? { request: parsed.request, stored: parsed.stored } : undefined;
  } catch {
    return undefined;
  }
}

const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);

const MOST_IN_MEMORY = 256;
