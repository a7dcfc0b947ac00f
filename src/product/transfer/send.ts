import { basename } from 'node:path';
import { joinedRanges, octetsOf } from './blocks.ts';
import { parseReprDigest } from './digest.ts';
import { codeOf, statusOf, TransferError } from './errors.ts';
import type { ByteRange } from './http-conditions.ts';
import { inParallel } from './parallel.ts';
import { parsePath } from './paths.ts';
import { ConnectionLost, PeerHttp, type PeerHttpOptions, type PeerResponse } from './peer-http.ts';
import { ProgressMeter, type TransferProgress } from './progress.ts';
import { isForRanges, MOST_PARALLEL } from './ranges.ts';
import { type Attempts, DEFAULT_RETRY, type RetryPolicy, retrying } from './retry.ts';
import { partsOf, sendPart } from './send-parts.ts';
import { formatMetadata, OCTETS, TUS_VERSION } from './server/tus-fields.ts';
import { SourceFile } from './source-file.ts';
import { SYSTEM_TIMING, sleep, type Timing } from './timing.ts';

export interface TransferOptions extends PeerHttpOptions {
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly retry?: Partial<RetryPolicy>;
  /** Ends the transfer; what is across stays, to be resumed. */
  readonly signal?: AbortSignal;
}

export interface SendOptions extends TransferOptions {
  readonly file: string;
  /** Path below the peer's inbox. Empty or ending in `/`: the file keeps its name. `inbox/` in front may be left out. */
  readonly to?: string;
  /** Connections at once, for what is large enough and whose other end puts partial uploads together. One unless given. */
  readonly parallel?: number | undefined;
}

export interface SendResult {
  readonly bytes: number;
  /** Of the whole file, hex; the other end has verified it. */
  readonly sha256: string;
  /** Path below the peer's inbox; the name got a number when it was taken. */
  readonly storedAs: string;
  /** Octets that were across already when this run began. */
  readonly resumedFrom: number;
  /** What had been damaged, and was sent again alone. */
  readonly mended: readonly ByteRange[];
  readonly retries: number;
  /** Milliseconds. */
  readonly took: number;
}

/**
 * Sends one file into the peer's inbox. A lost connection is made again and goes on where it stopped; so does the next run of the same call.
 * @throws TransferError
 */
export async function send(options: SendOptions): Promise<SendResult> {
  const target = targetPath(options.file, options.to ?? '');
  return sendSource(options, await SourceFile.open(options.file), target);
}

/** The same for a file that is open; it is closed. @param target its path below the inbox */
export async function sendSource(options: SendSourceOptions, source: SourceFile, target: string): Promise<SendResult> {
  try {
    return await new Sending(options, source, target).run();
  } finally {
    await source.close();
  }
}

type SendSourceOptions = TransferOptions & Pick<SendOptions, 'parallel'>;

class Sending {
  readonly #options: SendSourceOptions;
  readonly #source: SourceFile;
  readonly #target: string;
  readonly #timing: Timing;
  readonly #meter: ProgressMeter;
  readonly #peer: PeerHttp;
  #sha256 = '';
  #location: string | undefined;
  /** Octets the other end has confirmed; undefined before it was asked. */
  #confirmed: number | undefined;
  #mismatches = 0;
  #wasInParts = false;
  /** By where they begin. */
  readonly #mended = new Map<number, ByteRange>();

  constructor(options: SendSourceOptions, source: SourceFile, target: string) {
    this.#options = options;
    this.#source = source;
    this.#target = target;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#meter = new ProgressMeter(target, source.size, this.#timing, options.onProgress);
    this.#peer = new PeerHttp(options);
  }

  async run(): Promise<SendResult> {
    const { signal } = this.#options;
    const began = this.#timing.now();
    try {
      this.#meter.phase('hashing', 0);
      this.#sha256 = await this.#source.digest((count) => this.#meter.add(count), signal);
      const policy = { ...DEFAULT_RETRY, ...this.#options.retry };
      const storedAs = await retrying({ policy, timing: this.#timing, meter: this.#meter, signal }, (attempts) => this.#attempt(attempts));
      this.#meter.phase('done', this.#source.size);
      const { resumedFrom, retries } = this.#meter;
      const took = this.#timing.now() - began;
      return {
        bytes: this.#source.size,
        sha256: this.#sha256,
        storedAs,
        resumedFrom,
        mended: joinedRanges([...this.#mended.values()]),
        retries,
        took,
      };
    } catch (cause) {
      if (signal?.aborted && !(cause instanceof TransferError))
        throw new TransferError('stopped.', { code: 'TRANSFER_ABORTED', resumable: true, cause });
      throw cause;
    } finally {
      this.#peer.close();
    }
  }

  /** One connection's worth of work. @returns the name under which the peer stored the file. */
  async #attempt(attempts: Attempts): Promise<string> {
    await this.#source.assertUnchanged();
    this.#meter.phase('connecting');
    let upload = this.#location === undefined ? await this.#create() : await this.#ask();
    this.#confirm(upload.offset, attempts);
    if (upload.state === 'receiving' && upload.offset === 0) upload = (await this.#inParts(attempts)) ?? upload;
    if (upload.state === 'receiving') {
      this.#meter.phase('sending', upload.offset);
      upload = await this.#append(upload.offset, attempts);
      this.#confirm(upload.offset, attempts);
    }
    while (upload.state === 'verifying' || upload.state === 'damaged') {
      if (upload.state === 'damaged') upload = await this.#mend(attempts);
      else upload = await this.#verified(attempts);
    }
    await this.#source.assertUnchanged();
    if (upload.state === 'receiving') throw new ConnectionLost(`the other end has ${upload.offset} octets of ${this.#source.size}`);
    if (upload.sha256 !== this.#sha256) {
      throw new TransferError('the other end stored something else than was sent', { code: 'TRANSFER_PROTOCOL', side: 'there' });
    }
    return upload.storedAs;
  }

  /** Over several connections at once. @returns undefined where one is enough, or all that the other end knows */
  async #inParts(attempts: Attempts): Promise<RemoteUpload | undefined> {
    const { parallel = 1, pace } = this.#options;
    const connections = Math.min(pace?.connections(parallel) ?? parallel, MOST_PARALLEL);
    if (connections < 2 || !isForRanges(this.#source.size) || !(await this.#concatenates())) return undefined;
    // The whole goes by the name of what was announced alone.
    await (await this.#request('DELETE', this.#location!, {})).discard();
    this.#location = undefined;
    const parts = partsOf(this.#source.size, connections);
    const resumedFrom = this.#wasInParts ? this.#meter.resumedFrom : undefined;
    this.#wasInParts = true;
    const locations: string[] = [];
    this.#meter.phase('sending', 0);
    await inParallel(parts, parts.length, async (range, index) => {
      const [options, source, target, sha256, meter] = [this.#options, this.#source, this.#target, this.#sha256, this.#meter];
      locations[index] = await sendPart({ options, source, range, target, sha256, meter });
    });
    // What this run brought before the connection was lost is no news.
    if (resumedFrom !== undefined) this.#meter.resumedFrom = resumedFrom;
    attempts.progressed(this.#source.size);
    return await this.#announce({ 'Upload-Concat': `final;${locations.join(' ')}` });
  }

  async #concatenates(): Promise<boolean> {
    const response = await this.#request('OPTIONS', '/inbox/', {});
    await response.discard();
    return response.header('tus-extension')?.split(',').includes('concatenation') ?? false;
  }

  async #verified(attempts: Attempts): Promise<RemoteUpload> {
    this.#meter.phase('verifying', this.#source.size);
    await sleep(this.#timing, VERIFY_POLL, this.#options.signal);
    const upload = await this.#ask();
    // The other end is there and at work.
    attempts.progressed(this.#source.size);
    return upload;
  }

  /** Sends the blocks anew that are not there as they are here; where the other end cannot tell which, everything. */
  async #mend(attempts: Attempts): Promise<RemoteUpload> {
    // Octets that changed on our disk in between look like octets that changed on the way.
    await this.#source.assertUnchanged();
    if (this.#mismatches === MOST_MISMATCHES) {
      throw new TransferError(`${this.#target}: what arrived is not what was sent (SHA-256 differs)`, {
        code: 'TRANSFER_DIGEST_MISMATCH',
        side: 'there',
      });
    }
    this.#meter.phase('verifying', 0);
    const told = await this.#request('GET', `${this.#location}/blocks`, {});
    const differing = await this.#source.differing(told, (count) => this.#meter.add(count));
    // None, but after a lost connection: what was sent before it has come across.
    if (differing === undefined || (differing.length === 0 && this.#mended.size === 0)) {
      this.#mismatches++;
      await (await this.#request('DELETE', this.#location!, {})).discard();
      this.#location = undefined;
      this.#confirmed = 0;
      throw new ConnectionLost('what arrived was not what was sent; once more from the start');
    }
    const octets = octetsOf(differing);
    this.#meter.resumedFrom = Math.max(0, this.#meter.resumedFrom - octets);
    this.#meter.phase('sending', this.#source.size - octets);
    for (const block of differing) {
      this.#mended.set(block.start, block);
      const response = await this.#patch(block, attempts);
      if (response.status !== 204) throw await response.error(this.#target);
      await response.discard();
      attempts.progressed(this.#source.size);
    }
    this.#mismatches++;
    return await this.#create();
  }

  #confirm(offset: number, attempts: Attempts): void {
    if (this.#confirmed === undefined) this.#meter.resumedFrom = offset;
    if (offset > (this.#confirmed ?? 0)) attempts.progressed(offset);
    this.#confirmed = offset;
  }

  #create(): Promise<RemoteUpload> {
    return this.#announce({ 'Upload-Length': String(this.#source.size), 'Upload-Mend': '?1' });
  }

  async #announce(fields: Readonly<Record<string, string>>): Promise<RemoteUpload> {
    const metadata = {
      filename: this.#target,
      sha256: this.#sha256,
      modified: String(this.#source.modified),
      mode: this.#source.mode.toString(8),
    };
    const response = await this.#request('POST', '/inbox/', { ...fields, 'Upload-Metadata': formatMetadata(metadata) });
    if (response.status !== 201) throw await response.error(this.#target);
    await response.discard();
    const location = response.header('location');
    if (location === undefined || !location.startsWith('/')) throw notUnderstood('it created an upload and did not say where');
    this.#location = location;
    return this.#parse(response) ?? (await this.#ask());
  }

  async #ask(): Promise<RemoteUpload> {
    const response = await this.#request('HEAD', this.#location!, {});
    await response.discard();
    if (response.status === 404 || response.status === 410) {
      this.#location = undefined;
      throw new ConnectionLost('the other end has forgotten the upload');
    }
    if (response.status === MISMATCH) return this.#damaged();
    if (response.status !== 200) throw await response.error(this.#target);
    const upload = this.#parse(response);
    if (upload === undefined) throw notUnderstood('it did not say how much it has');
    return upload;
  }

  async #append(offset: number, attempts: Attempts): Promise<RemoteUpload> {
    const response = await this.#patch({ start: offset, end: this.#source.size }, attempts);
    if (response.status === 409) {
      await response.discard();
      throw new ConnectionLost('the other end counts otherwise');
    }
    if (response.status === MISMATCH) {
      await response.discard();
      return this.#damaged();
    }
    if (response.status !== 204) throw await response.error(this.#target);
    await response.discard();
    return this.#parse(response) ?? (await this.#ask());
  }

  #patch({ start, end }: ByteRange, attempts: Attempts): Promise<PeerResponse> {
    const body = this.#source.read({ start, end }, (count) => {
      this.#meter.add(count);
      attempts.moved();
    });
    const fields = { 'Upload-Offset': String(start), 'Content-Type': OCTETS };
    return this.#request('PATCH', this.#location!, fields, body, end - start);
  }

  #request(
    method: string,
    target: string,
    fields: Readonly<Record<string, string>>,
    body?: AsyncIterable<Uint8Array>,
    length?: number,
  ): Promise<PeerResponse> {
    return this.#peer.request(method, target, {
      headers: { 'Tus-Resumable': TUS_VERSION, ...fields },
      signal: this.#options.signal,
      ...(body === undefined ? {} : { body, length: length! }),
    });
  }

  #damaged(): RemoteUpload {
    return { offset: this.#source.size, state: 'damaged', storedAs: '', sha256: undefined };
  }

  /** Undefined when the answer says nothing about the upload, as a foreign tus server's to POST. */
  #parse(response: PeerResponse): RemoteUpload | undefined {
    const told = response.header('upload-state');
    // What is being put together from parts has no offset.
    const offset = response.number('upload-offset') ?? (told === 'verifying' ? this.#source.size : undefined);
    if (offset === undefined || offset > this.#source.size) return undefined;
    const state = told ?? (offset === this.#source.size ? 'stored' : 'receiving');
    if (state.startsWith('failed')) {
      const status = Number(state.match(/status=(\d{3})/)?.[1] ?? 500);
      if (status === MISMATCH) return this.#damaged();
      throw new TransferError(`${this.#target}: the other end could not store the file`, { code: codeOf(status), side: 'there' });
    }
    if (state !== 'stored') return { offset, state: state === 'verifying' ? 'verifying' : 'receiving', storedAs: '', sha256: undefined };
    const storedAs = response.header('upload-stored-as')?.split('/').map(decodeURIComponent).join('/') ?? this.#target;
    // A foreign tus server verifies nothing; what it says it has is all there is to know.
    return { offset, state, storedAs, sha256: parseReprDigest(response.header('repr-digest')) ?? this.#sha256 };
  }
}

interface RemoteUpload {
  readonly offset: number;
  readonly state: 'receiving' | 'verifying' | 'damaged' | 'stored';
  readonly storedAs: string;
  readonly sha256: string | undefined;
}

const MISMATCH = statusOf('TRANSFER_DIGEST_MISMATCH');

function targetPath(file: string, to: string): string {
  const below = belowInbox(to);
  const path = below === '' || below.endsWith('/') ? `${below}${basename(file)}` : below;
  return parsePath(path).join('/');
}

/** `inbox/` in front may be left out. */
export const belowInbox = (to: string): string => to.replace(/^\/?inbox(?:\/|$)/, '').replace(/^\//, '');

export const notUnderstood = (what: string): TransferError =>
  new TransferError(`the other end does not speak as expected: ${what}`, { code: 'TRANSFER_PROTOCOL', side: 'there' });

/** Milliseconds between two questions whether the other end has verified. */
const VERIFY_POLL = 500;
const MOST_MISMATCHES = 2;
