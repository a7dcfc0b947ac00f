import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, readdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseReprDigest, RunningDigest } from './digest.ts';
import { errnoOf, fileError, TransferError } from './errors.ts';
import { parseContentRange } from './http-conditions.ts';
import { type IfExists, openPart, place, writeAt } from './part-file.ts';
import { parsePath } from './paths.ts';
import { ConnectionLost, PeerHttp, type PeerResponse } from './peer-http.ts';
import { formatBytes, ProgressMeter } from './progress.ts';
import { inRanges, isForRanges } from './ranges.ts';
import { type Attempts, DEFAULT_RETRY, retrying } from './retry.ts';
import type { TransferOptions } from './send.ts';
import { SYSTEM_TIMING, sleep, type Timing } from './timing.ts';
import { PERMISSIONS } from './tree-entry.ts';

export interface GetOptions extends TransferOptions {
  /** Path below the peer's shared folder; or `url`, a path and query on any HTTP server that `connect` leads to, and what the file is called. */
  readonly from: { readonly path: string } | { readonly url: string; readonly name: string };
  /** A folder that exists, or the path of the file to be. */
  readonly to: string;
  readonly ifExists?: IfExists;
  /** Connections at once, for what is large enough and whose other end serves ranges. One unless given. */
  readonly parallel?: number | undefined;
  /** Time and permissions that it gets; absent: the time that the other end tells, and for the owner alone. */
  readonly stamp?: { readonly modified: number; readonly mode: number };
}

export interface GetResult {
  readonly bytes: number;
  /** Of the whole file as it lies here, hex. */
  readonly sha256: string;
  /** false when the other end (a foreign HTTP server) could not tell its digest: the length alone was checked. */
  readonly verified: boolean;
  readonly path: string;
  readonly resumedFrom: number;
  readonly retries: number;
  /** Milliseconds. */
  readonly took: number;
}

/**
 * Gets one file. It grows under a temporary name beside its place and is renamed when it is whole and its SHA-256 right. A lost connection
 * is made again and goes on where it stopped; so does the next run of the same call.
 * @throws TransferError
 */
export async function get(options: GetOptions): Promise<GetResult> {
  const target = 'path' in options.from ? filesTarget(options.from.path) : options.from.url;
  const name = 'path' in options.from ? nameInPath(options.from.path) : options.from.name;
  const isFolder = await stat(options.to).then(
    (found) => found.isDirectory(),
    () => options.to.endsWith('/'),
  );
  const folder = isFolder ? options.to : dirname(options.to);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw fileError(cause, folder);
  }
  return await new Getting(options, target, folder, isFolder ? name : basename(options.to)).run();
}

class Getting {
  readonly #options: GetOptions;
  readonly #target: string;
  readonly #folder: string;
  readonly #name: string;
  readonly #timing: Timing;
  readonly #meter: ProgressMeter;
  readonly #peer: PeerHttp;
  /** The unfinished file of the version that is being got. */
  #part: PartOf | undefined;
  #versions = 0;
  #mismatches = 0;
  #began = false;

  constructor(options: GetOptions, target: string, folder: string, name: string) {
    this.#options = options;
    this.#target = target;
    this.#folder = folder;
    this.#name = name;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#meter = new ProgressMeter(name, 0, this.#timing, options.onProgress);
    this.#peer = new PeerHttp(options);
  }

  async run(): Promise<GetResult> {
    const { signal, retry } = this.#options;
    const began = this.#timing.now();
    try {
      const policy = { ...DEFAULT_RETRY, ...retry };
      const work = { policy, timing: this.#timing, meter: this.#meter, signal };
      const { path, verified, part } = await retrying(work, (attempts) => this.#attempt(attempts));
      this.#meter.phase('done', part.length);
      const { resumedFrom, retries } = this.#meter;
      return { bytes: part.length, sha256: part.digest.hex(), verified, path, resumedFrom, retries, took: this.#timing.now() - began };
    } finally {
      this.#peer.close();
      await this.#part?.handle.close().catch(() => {});
    }
  }

  async #attempt(attempts: Attempts): Promise<{ path: string; verified: boolean; part: PartOf }> {
    this.#meter.phase('connecting');
    const part = await this.#look(attempts);
    if (part.digest.position < part.length) await this.#fetch(part, attempts);
    this.#meter.phase('verifying', part.length);
    const expected = await this.#remoteDigest(part, attempts);
    if (expected !== undefined && expected !== part.digest.hex()) {
      await this.#discard();
      if (++this.#mismatches > 1) {
        throw new TransferError(`${this.#name}: what arrived is not what the other end has (SHA-256 differs)`, {
          code: 'TRANSFER_DIGEST_MISMATCH',
        });
      }
      throw new ConnectionLost('what arrived was not what was sent; once more from the start');
    }
    const path = await this.#place(part);
    return { path, verified: expected !== undefined, part };
  }

  /** Asks what there is to get, and opens what is here of it. */
  async #look(attempts: Attempts): Promise<PartOf> {
    const response = await this.#request('HEAD', {});
    await response.discard();
    if (response.status !== 200) throw await response.error(this.#name);
    const length = response.number('content-length');
    if (length === undefined)
      throw new TransferError(`${this.#name}: the other end does not say how long it is`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
    const tag = strongTag(response.header('etag'));
    if (this.#part !== undefined && this.#part.tag === tag && tag !== undefined && this.#part.length === length) return this.#part;
    if (this.#part !== undefined) {
      await this.#discard();
      if (++this.#versions > MOST_VERSIONS) {
        throw new TransferError(`${this.#name}: keeps changing while it is being got`, {
          code: 'TRANSFER_FILE_CHANGED',
          side: 'there',
          hint: 'Get it again once nothing writes to it.',
        });
      }
    }
    this.#meter.total = length;
    const part = await this.#openPart(tag, length, Date.parse(response.header('last-modified') ?? ''));
    // Without a validator the ranges could be of different files.
    part.ranges = tag !== undefined && response.header('accept-ranges') === 'bytes';
    if (!this.#began) this.#meter.resumedFrom = part.digest.position;
    this.#began = true;
    attempts.progressed(part.digest.position);
    return part;
  }

  /** The temporary file carries the version in its name: parts of another version are of no use and go. */
  async #openPart(tag: string | undefined, length: number, modified: number): Promise<PartOf> {
    const prefix = `.${this.#name.slice(0, 100)}.`;
    const version = createHash('sha256')
      .update(JSON.stringify([this.#target, tag, length]))
      .digest('hex')
      .slice(0, 16);
    const file = `${prefix}${version}.part`;
    try {
      for (const other of await readdir(this.#folder)) {
        if (other.startsWith(prefix) && /^[0-9a-f]{16}\.part$/.test(other.slice(prefix.length)) && other !== file)
          await unlink(join(this.#folder, other));
      }
      const handle = await openPart(join(this.#folder, file));
      const part: PartOf = { tag, length, modified, handle, path: join(this.#folder, file), digest: new RunningDigest(), ranges: false };
      this.#part = part;
      const there = (await handle.stat()).size;
      // Without a validator nobody knows whether it is the same file still.
      if (tag === undefined || there > length) await handle.truncate(0);
      else if (there > 0) {
        this.#meter.phase('hashing', 0);
        await part.digest.catchUp(handle, there, (count) => this.#meter.add(count), this.#options.signal);
      }
      return part;
    } catch (cause) {
      throw this.#local(cause);
    }
  }

  async #fetch(part: PartOf, attempts: Attempts): Promise<void> {
    const from = part.digest.position;
    this.#meter.phase('receiving', from);
    const { parallel = 1, pace } = this.#options;
    const connections = Math.min(pace?.connections(parallel) ?? parallel, MOST_PARALLEL);
    const inRanges = part.ranges && connections > 1 && isForRanges(part.length - from);
    for await (const chunk of inRanges ? this.#overSeveral(part, connections) : this.#overOne(part)) {
      if (part.digest.position + chunk.length > part.length) throw this.#tooMuch();
      try {
        await writeAt(part.handle, chunk, part.digest.position);
      } catch (cause) {
        throw this.#local(cause);
      }
      part.digest.update(chunk);
      this.#meter.add(chunk.length);
      attempts.progressed(part.digest.position);
    }
    if (part.digest.position < part.length) throw new ConnectionLost('it ended before the file did');
  }

  /** All that is missing, as one stream. */
  async *#overOne(part: PartOf): AsyncGenerator<Uint8Array> {
    const from = part.digest.position;
    const response = await this.#ask(this.#peer, part, from > 0 ? `bytes=${from}-` : undefined);
    const range = parseContentRange(response.header('content-range'));
    const asAsked = from === 0 ? response.status === 200 : response.status === 206 && range?.start === from && range.total === part.length;
    // A server that ignores ranges sends from the start: taken from there, once.
    if (!asAsked && response.status === 200) await this.#rewind(part);
    else if (!asAsked)
      throw new TransferError(`${this.#name}: the other end answered ${response.status} to a range`, {
        code: 'TRANSFER_PROTOCOL',
        side: 'there',
      });
    yield* response.chunks();
  }

  async *#overSeveral(part: PartOf, connections: number): AsyncGenerator<Uint8Array> {
    const peers = Array.from({ length: connections }, () => new PeerHttp(this.#options));
    try {
      yield* inRanges({
        from: part.digest.position,
        to: part.length,
        connections,
        bring: (connection, start, end) => this.#range(peers[connection]!, part, start, end),
      });
    } finally {
      for (const peer of peers) peer.close();
    }
  }

  async #range(peer: PeerHttp, part: PartOf, start: number, end: number): Promise<Uint8Array> {
    const response = await this.#ask(peer, part, `bytes=${start}-${end - 1}`);
    const range = parseContentRange(response.header('content-range'));
    if (response.status !== 206 || range?.start !== start || range.end !== end || range.total !== part.length) {
      part.ranges = false;
      throw new ConnectionLost('the other end does not serve ranges, which it had announced');
    }
    const octets = new Uint8Array(end - start);
    let filled = 0;
    for await (const chunk of response.chunks()) {
      if (filled + chunk.length > octets.length) throw this.#tooMuch();
      octets.set(chunk, filled);
      filled += chunk.length;
    }
    if (filled < octets.length) throw new ConnectionLost('it ended before the range did');
    return octets;
  }

  /** @throws ConnectionLost when the file is another one by now; TransferError for what the other end refuses */
  async #ask(peer: PeerHttp, part: PartOf, range: string | undefined): Promise<PeerResponse> {
    const condition: Record<string, string> = part.tag === undefined ? {} : { 'If-Match': part.tag };
    const fields = range === undefined ? condition : { ...condition, Range: range };
    const headers = { ...fields, 'Want-Repr-Digest': 'sha-256=1' };
    const response = await peer.request('GET', this.#target, { headers, signal: this.#options.signal });
    if (response.status === 412) {
      await response.discard();
      throw new ConnectionLost('the file changed on the other end');
    }
    if (response.status >= 400) throw await response.error(this.#name);
    return response;
  }

  #tooMuch(): TransferError {
    return new TransferError(`${this.#name}: the other end sent more than it announced`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
  }

  async #rewind(part: PartOf): Promise<void> {
    await part.handle.truncate(0);
    part.digest.reset();
    this.#meter.phase('receiving', 0);
  }

  /** The SHA-256 that the other end has; undefined when it cannot tell. */
  async #remoteDigest(part: PartOf, attempts: Attempts): Promise<string | undefined> {
    const condition: Record<string, string> = part.tag === undefined ? {} : { 'If-Match': part.tag };
    for (;;) {
      const response = await this.#request('HEAD', { ...condition, 'Want-Repr-Digest': 'sha-256=1' });
      await response.discard();
      if (response.status === 412) throw new ConnectionLost('the file changed on the other end');
      if (response.status !== 200) throw await response.error(this.#name);
      const digest = parseReprDigest(response.header('repr-digest'));
      const later = response.number('retry-after');
      if (digest !== undefined || later === undefined) return digest;
      // It is at work on a large file.
      attempts.progressed(part.length);
      await sleep(this.#timing, Math.min(10, later) * 1000, this.#options.signal);
    }
  }

  async #place(part: PartOf): Promise<string> {
    try {
      const [own, named] = [await part.handle.stat({ bigint: true }), await stat(part.path, { bigint: true })];
      if (Number(own.size) !== part.length || own.ino !== named.ino) {
        throw new TransferError(`${this.#name}: another process is getting the same file`, { code: 'TRANSFER_BUSY' });
      }
      const { stamp } = this.#options;
      if (stamp !== undefined) await part.handle.chmod(stamp.mode & PERMISSIONS & ~process.umask());
      const modified = (stamp?.modified ?? part.modified) / 1000;
      if (Number.isFinite(modified)) await part.handle.utimes(modified, modified);
      return await place(part.path, part.handle, this.#folder, this.#name, this.#options.ifExists ?? 'replace');
    } catch (cause) {
      throw this.#local(cause);
    }
  }

  async #discard(): Promise<void> {
    const part = this.#part;
    this.#part = undefined;
    if (part === undefined) return;
    await part.handle.close();
    await unlink(part.path).catch(() => {});
  }

  #request(method: string, headers: Readonly<Record<string, string>>): Promise<PeerResponse> {
    return this.#peer.request(method, this.#target, { headers, signal: this.#options.signal });
  }

  #local(cause: unknown): unknown {
    if (errnoOf(cause) === 'ENOSPC' && this.#part !== undefined) {
      const kept = this.#part.digest.position;
      return new TransferError(`${this.#name}: the disk is full here. Kept ${formatBytes(kept)}.`, {
        code: 'TRANSFER_DISK_FULL',
        hint: 'Make room and run the same command: it goes on where it stopped.',
        resumable: true,
        kept,
        cause,
      });
    }
    return this.#options.signal?.aborted ? cause : fileError(cause, this.#name);
  }
}

interface PartOf {
  readonly tag: string | undefined;
  readonly length: number;
  /** Milliseconds since 1970; NaN where it is not told. */
  readonly modified: number;
  readonly handle: FileHandle;
  readonly path: string;
  /** Its position is how much is here. */
  readonly digest: RunningDigest;
  /** The other end says that it serves ranges, and has not shown otherwise. */
  ranges: boolean;
}

/** `/files/…` of a path below the shared folder. */
export function filesTarget(path: string, folder = false): string {
  const segments = parsePath(path.replace(/^\//, '').replace(/\/$/, ''));
  const encoded = segments.map(encodeURIComponent).join('/');
  return `/files/${encoded}${folder && encoded !== '' ? '/' : ''}`;
}

/** The last part of a path. @throws TransferError where it has none, or one that no file here may have */
export function nameInPath(path: string): string {
  const name = parsePath(path.replace(/^\/+/, '').replace(/\/$/, '')).at(-1);
  if (name === undefined) throw new TransferError('name the file to get', { code: 'TRANSFER_BAD_PATH' });
  return name;
}

const strongTag = (tag: string | undefined): string | undefined => (tag?.startsWith('"') ? tag : undefined);

const MOST_VERSIONS = 3;
const MOST_PARALLEL = 16;
