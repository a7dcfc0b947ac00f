import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { differingBlocks, joinedRanges, octetsOf } from './blocks.ts';
import { parseReprDigest } from './digest.ts';
import { errnoOf, fileError, TransferError } from './errors.ts';
import { GetPart } from './get-part.ts';
import { type ByteRange, parseContentRange } from './http-conditions.ts';
import { type IfExists, writeAt } from './part-file.ts';
import { parsePath } from './paths.ts';
import { ConnectionLost, PeerHttp, type PeerResponse } from './peer-http.ts';
import { formatBytes, ProgressMeter } from './progress.ts';
import { inRanges, isForRanges, MOST_PARALLEL } from './ranges.ts';
import { type Attempts, DEFAULT_RETRY, retrying } from './retry.ts';
import type { TransferOptions } from './send.ts';
import { SYSTEM_TIMING, sleep, type Timing } from './timing.ts';

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
  /** What had been damaged here, and was got again alone. */
  readonly mended: readonly ByteRange[];
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
  #part: GetPart | undefined;
  /** The other end serves ranges, and has not shown otherwise. */
  #ranges = true;
  readonly #mended: ByteRange[] = [];
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
      const { length } = part.remote;
      this.#meter.phase('done', length);
      const { resumedFrom, retries } = this.#meter;
      const [sha256, took] = [part.digest.hex(), this.#timing.now() - began];
      return { bytes: length, sha256, verified, path, resumedFrom, mended: joinedRanges(this.#mended), retries, took };
    } finally {
      this.#peer.close();
      await this.#part?.handle.close().catch(() => undefined);
    }
  }

  async #attempt(attempts: Attempts): Promise<{ path: string; verified: boolean; part: GetPart }> {
    this.#meter.phase('connecting');
    const part = await this.#look(attempts);
    const { length } = part.remote;
    if (part.digest.position < length) await this.#fetch(part, attempts);
    this.#meter.phase('verifying', length);
    const expected = await this.#remoteDigest(part, attempts);
    if (expected !== undefined && expected !== part.digest.hex()) {
      const damaged = await this.#mend(part, length, attempts, (block) => this.#mended.push(block));
      this.#meter.resumedFrom = Math.max(0, this.#meter.resumedFrom - octetsOf(damaged));
      if (expected !== part.digest.hex()) await this.#startAnew();
    }
    const path = await this.#local(() => part.place(this.#folder, this.#name, this.#options.ifExists ?? 'replace', this.#options.stamp));
    return { path, verified: expected !== undefined, part };
  }

  async #startAnew(): Promise<never> {
    await this.#discard();
    if (++this.#mismatches === 1) throw new ConnectionLost('what arrived was not what was sent; once more from the start');
    throw new TransferError(`${this.#name}: what arrived is not what the other end has (SHA-256 differs)`, {
      code: 'TRANSFER_DIGEST_MISMATCH',
    });
  }

  /** Asks what there is to get, and opens what is here of it. */
  async #look(attempts: Attempts): Promise<GetPart> {
    const response = await this.#peer.request('HEAD', this.#target, { signal: this.#options.signal });
    await response.discard();
    if (response.status !== 200) throw await response.error(this.#name);
    const length = response.number('content-length');
    if (length === undefined)
      throw new TransferError(`${this.#name}: the other end does not say how long it is`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
    const tag = strongTag(response.header('etag'));
    const version = this.#part?.remote;
    if (version !== undefined && (tag === undefined || version.tag !== tag || version.length !== length)) {
      if (++this.#versions > MOST_VERSIONS) {
        await this.#discard();
        throw new TransferError(`${this.#name}: keeps changing while it is being got`, {
          code: 'TRANSFER_FILE_CHANGED',
          side: 'there',
          hint: 'Get it again once nothing writes to it.',
        });
      }
      await this.#part?.handle.close();
      this.#part = undefined;
    }
    this.#meter.total = length;
    // Without a validator the ranges could be of different files.
    const ranges = this.#ranges && tag !== undefined && response.header('accept-ranges') === 'bytes';
    const modified = Date.parse(response.header('last-modified') ?? '');
    const remote = { target: this.#target, tag, length, modified, ranges, blocks: ranges && 'path' in this.#options.from };
    const part = this.#part ?? (await this.#local(() => GetPart.open(this.#folder, this.#name, remote)));
    this.#part = part;
    const known = part.digest.position > 0 ? part.digest.position : await this.#known(part, attempts);
    if (!this.#began) this.#meter.resumedFrom = known;
    this.#began = true;
    attempts.progressed(part.digest.position);
    return part;
  }

  /** Takes what is here already, what changed in it made right. @returns octets that were here, and right as far as anybody knows */
  async #known(part: GetPart, attempts: Attempts): Promise<number> {
    const there = await this.#local(() => part.trim());
    if (part.stale) return there - octetsOf(await this.#mend(part, there, attempts, () => undefined));
    if (there > 0) await this.#read(part, there);
    return there;
  }

  async #read(part: GetPart, end: number): Promise<void> {
    this.#meter.phase('hashing', 0);
    await this.#local(() => part.digest.catchUp(part.handle, end, (count) => this.#meter.add(count), this.#options.signal));
  }

  /**
   * Gets the blocks of the first octets anew that are not here as they are there.
   * @param mended called with each of them that is here
   * @returns which; all, where the other end does not tell: then nothing is left
   */
  async #mend(part: GetPart, upTo: number, attempts: Attempts, mended: (block: ByteRange) => void): Promise<readonly ByteRange[]> {
    const { blocks, length } = part.remote;
    this.#meter.phase('verifying', 0);
    const told =
      blocks && this.#ranges
        ? await this.#conditional(this.#peer, part, 'GET', {}, this.#target.replace(/^\/files\//, '/blocks/'))
        : undefined;
    const differing =
      told && (await this.#local(() => differingBlocks(told, length, part.handle, upTo, (count) => this.#meter.add(count))));
    if (differing === undefined) {
      await this.#local(() => part.rewind());
      return [{ start: 0, end: upTo }];
    }
    this.#meter.phase('receiving', upTo - octetsOf(differing));
    for (const block of differing) {
      const octets = await this.#range(this.#peer, part, block);
      await this.#local(() => writeAt(part.handle, octets, block.start));
      this.#meter.add(octets.length);
      attempts.progressed(upTo);
      mended(block);
    }
    part.digest.reset();
    await this.#read(part, upTo);
    return differing;
  }

  async #fetch(part: GetPart, attempts: Attempts): Promise<void> {
    const from = part.digest.position;
    const { length, ranges } = part.remote;
    this.#meter.phase('receiving', from);
    const { parallel = 1, pace } = this.#options;
    const connections = Math.min(pace?.connections(parallel) ?? parallel, MOST_PARALLEL);
    const several = ranges && this.#ranges && connections > 1 && isForRanges(length - from);
    for await (const chunk of several ? this.#overSeveral(part, connections) : this.#overOne(part)) {
      if (part.digest.position + chunk.length > length) throw this.#tooMuch();
      await this.#local(() => writeAt(part.handle, chunk, part.digest.position));
      part.digest.update(chunk);
      this.#meter.add(chunk.length);
      attempts.progressed(part.digest.position);
    }
    if (part.digest.position < length) throw new ConnectionLost('it ended before the file did');
  }

  /** All that is missing, as one stream. */
  async *#overOne(part: GetPart): AsyncGenerator<Uint8Array> {
    const from = part.digest.position;
    const { length } = part.remote;
    const response = await this.#ask(this.#peer, part, from > 0 ? `bytes=${from}-` : undefined);
    const range = parseContentRange(response.header('content-range'));
    const asAsked = from === 0 ? response.status === 200 : response.status === 206 && range?.start === from && range.total === length;
    // A server that ignores ranges sends from the start: taken from there, once.
    if (!asAsked && response.status === 200) {
      await this.#local(() => part.rewind());
      this.#meter.phase('receiving', 0);
    } else if (!asAsked)
      throw new TransferError(`${this.#name}: the other end answered ${response.status} to a range`, {
        code: 'TRANSFER_PROTOCOL',
        side: 'there',
      });
    yield* response.chunks();
  }

  async *#overSeveral(part: GetPart, connections: number): AsyncGenerator<Uint8Array> {
    const peers = Array.from({ length: connections }, () => new PeerHttp(this.#options));
    try {
      yield* inRanges({
        from: part.digest.position,
        to: part.remote.length,
        connections,
        bring: (connection, start, end) => this.#range(peers[connection]!, part, { start, end }),
      });
    } finally {
      for (const peer of peers) peer.close();
    }
  }

  async #range(peer: PeerHttp, part: GetPart, { start, end }: ByteRange): Promise<Uint8Array> {
    const response = await this.#ask(peer, part, `bytes=${start}-${end - 1}`);
    const range = parseContentRange(response.header('content-range'));
    if (response.status !== 206 || range?.start !== start || range.end !== end || range.total !== part.remote.length) {
      this.#ranges = false;
      await response.discard();
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

  /** @throws TransferError for what the other end refuses */
  async #ask(peer: PeerHttp, part: GetPart, range: string | undefined): Promise<PeerResponse> {
    const response = await this.#conditional(peer, part, 'GET', { ...WANTS_DIGEST, ...(range === undefined ? {} : { Range: range }) });
    if (response.status >= 400) throw await response.error(this.#name);
    return response;
  }

  /** @throws ConnectionLost when the file is another one by now */
  async #conditional(
    peer: PeerHttp,
    { remote: { tag } }: GetPart,
    method: string,
    fields: Readonly<Record<string, string>>,
    target = this.#target,
  ): Promise<PeerResponse> {
    const headers = tag === undefined ? fields : { ...fields, 'If-Match': tag };
    const response = await peer.request(method, target, { headers, signal: this.#options.signal });
    if (response.status !== 412) return response;
    await response.discard();
    throw new ConnectionLost('the file changed on the other end');
  }

  #tooMuch(): TransferError {
    return new TransferError(`${this.#name}: the other end sent more than it announced`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
  }

  /** The SHA-256 that the other end has; undefined when it cannot tell. */
  async #remoteDigest(part: GetPart, attempts: Attempts): Promise<string | undefined> {
    for (;;) {
      const response = await this.#conditional(this.#peer, part, 'HEAD', WANTS_DIGEST);
      await response.discard();
      if (response.status !== 200) throw await response.error(this.#name);
      const digest = parseReprDigest(response.header('repr-digest'));
      const later = response.number('retry-after');
      if (digest !== undefined || later === undefined) return digest;
      // It is at work on a large file.
      attempts.progressed(part.remote.length);
      await sleep(this.#timing, Math.min(10, later) * 1000, this.#options.signal);
    }
  }

  async #discard(): Promise<void> {
    await this.#part?.remove();
    this.#part = undefined;
  }

  /** Works with the disk here. */
  async #local<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  #failed(cause: unknown): unknown {
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

const WANTS_DIGEST = { 'Want-Repr-Digest': 'sha-256=1' };
const MOST_VERSIONS = 3;
