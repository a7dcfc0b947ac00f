import { fileError, TransferError, withoutName } from '../errors.ts';
import { ahead, inParallel } from '../parallel.ts';
import { ConnectionLost, PeerHttp } from '../peer-http.ts';
import { ProgressMeter, type TransferProgress } from '../progress.ts';
import { type Attempts, DEFAULT_RETRY, retrying } from '../retry.ts';
import type { TransferOptions } from '../send.ts';
import { SYSTEM_TIMING, type Timing } from '../timing.ts';
import type { TreeEntry } from './entry.ts';
import type { FileThreadOptions } from './file-thread.ts';
import { LARGEST_PACK, LARGEST_PACKED, MOST_PACKED } from './pack.ts';

export interface TreeOptions extends TransferOptions, FileThreadOptions {
  /** Connections at one time. */
  readonly parallel?: number | undefined;
}

export interface TreeResult {
  /** Of the whole tree, with what was across before. Links count as files. */
  readonly files: number;
  readonly bytes: number;
  /** Of both, what was across before this run. */
  readonly known: { readonly files: number; readonly bytes: number };
  /** What did not travel, and why; the first of them. */
  readonly skipped: readonly Skipped[];
  /** All of them. */
  readonly skippedCount: number;
  readonly retries: number;
  /** Milliseconds. */
  readonly took: number;
}

export interface Skipped {
  readonly name: string;
  readonly why: string;
}

export interface TreeContext {
  /** Says that something stays where it is. */
  readonly skip: (name: string, why: string) => void;
  /** Works with a connection that is made again when it was lost. */
  attempting<R>(work: (peer: PeerHttp) => Promise<R>): Promise<R>;
}

/** What differs between sending and getting. */
export interface TreeWork<T extends { readonly entry: TreeEntry }> {
  /** Shown while it runs. */
  readonly name: string;
  readonly phase: 'sending' | 'receiving';
  /** Everything in the tree, folders before what is in them; what of it cannot travel is said. */
  entries(context: TreeContext): AsyncIterable<readonly T[]>;
  /** Those that the receiving end does not have. */
  missing(peer: PeerHttp, items: readonly T[]): Promise<readonly T[]>;
  /** Moves what goes into one pack. @returns what of it did not get across */
  movePacked(peer: PeerHttp, items: readonly T[], onBytes: (count: number) => void): Promise<ReadonlyMap<T, string>>;
  /** Moves one large file, with retries of its own. */
  moveLarge(item: T, onProgress: (progress: TransferProgress) => void): Promise<void>;
  /** When everything else is across: what changes with every file that is put into a folder. */
  finish(peer: PeerHttp): Promise<void>;
}

/** A tree on its way: batch after batch on several connections. A batch that broke is asked about and done again; what is whole stays. */
export class TreeTransfer<T extends { readonly entry: TreeEntry }> {
  readonly #options: TreeOptions;
  readonly #work: TreeWork<T>;
  readonly #timing: Timing;
  readonly #meter: ProgressMeter;
  readonly #idle: PeerHttp[] = [];
  readonly #skipped: Skipped[] = [];
  #skippedCount = 0;
  readonly #total = { files: 0, bytes: 0 };
  readonly #done = { files: 0, bytes: 0 };
  readonly #known = { files: 0, bytes: 0 };
  #moves = false;

  constructor(options: TreeOptions, work: TreeWork<T>) {
    this.#options = options;
    this.#work = work;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#meter = new ProgressMeter(work.name, 0, this.#timing, options.onProgress);
  }

  /** @throws TransferError */
  async run(): Promise<TreeResult> {
    const began = this.#timing.now();
    const { signal, pace, parallel = 4 } = this.#options;
    try {
      const context: TreeContext = { skip: this.#skip, attempting: (work) => this.#attempting(work) };
      const entries = ahead(this.#work.entries(context), MOST_AHEAD, this.#found);
      await inParallel(batches(entries), pace?.connections(parallel) ?? parallel, (batch) => this.#batch(batch));
      await this.#attempting((peer) => this.#work.finish(peer));
      this.#meter.total = this.#done.bytes;
      this.#meter.phase('done', this.#done.bytes);
      const { retries } = this.#meter;
      const skipped = { skipped: this.#skipped, skippedCount: this.#skippedCount };
      return { ...this.#done, known: this.#known, ...skipped, retries, took: this.#timing.now() - began };
    } catch (cause) {
      if (signal?.aborted && !(cause instanceof TransferError))
        throw new TransferError('stopped.', { code: 'TRANSFER_ABORTED', resumable: true, cause });
      throw cause;
    } finally {
      for (const peer of this.#idle) peer.close();
    }
  }

  readonly #found = ({ entry }: T): void => {
    if (entry.kind === 'folder') return;
    this.#total.files++;
    this.#total.bytes += sizeOf(entry);
  };

  async #batch(batch: readonly T[]): Promise<void> {
    let mismatches = 0;
    let lacked: ReadonlySet<T> | undefined;
    const large = await this.#attempting(async (peer, attempts) => {
      const missing = new Set(await this.#work.missing(peer, batch));
      // What an attempt that broke put there was not there before this run.
      lacked ??= missing;
      const small = [...missing].filter(({ entry }) => !isLarge(entry));
      try {
        const refused = await this.#pack(peer, small, attempts);
        for (const item of batch) {
          const why = refused.get(item);
          if (why !== undefined) this.#skip(item.entry.path.join('/'), why);
          else if (!lacked.has(item)) this.#knew(item);
          else if (!missing.has(item)) this.#arrived(item, sizeOf(item.entry));
          else if (!isLarge(item.entry)) this.#arrived(item);
        }
      } catch (cause) {
        if (!(cause instanceof TransferError) || cause.code !== 'TRANSFER_DIGEST_MISMATCH' || ++mismatches > MOST_MISMATCHES) throw cause;
        throw new ConnectionLost('what arrived was not what was sent; once more');
      }
      return [...missing].filter(({ entry }) => isLarge(entry));
    });
    for (const item of large) await this.#large(item);
  }

  async #pack(peer: PeerHttp, items: readonly T[], attempts: Attempts): Promise<ReadonlyMap<T, string>> {
    this.#moving();
    if (items.length === 0) return new Map();
    const expected = items.reduce((sum, { entry }) => sum + sizeOf(entry), 0);
    let shown = 0;
    const show = (bytes: number): void => {
      this.#add(bytes - shown);
      shown = bytes;
    };
    try {
      const refused = await this.#work.movePacked(peer, items, (count) => {
        // Names and times are octets, too, but not of what is counted.
        show(Math.min(expected, shown + count));
        attempts.progressed(this.#done.bytes);
      });
      show(expected);
      return refused;
    } catch (cause) {
      show(0);
      throw cause;
    }
  }

  async #large(item: T): Promise<void> {
    let shown = 0;
    try {
      await this.#work.moveLarge(item, ({ phase, bytes, resumedFrom, retryIn }) => {
        if (phase === 'waiting' && retryIn !== undefined) return this.#wait(retryIn);
        if (phase === 'hashing') return;
        if (shown === 0 && resumedFrom > 0) {
          this.#meter.skip(resumedFrom);
          shown = resumedFrom;
        }
        this.#moving();
        this.#add(bytes - shown);
        shown = bytes;
      });
      this.#arrived(item);
    } catch (cause) {
      this.#add(-shown);
      const error = fileError(cause, item.entry.path.join('/'));
      if (error.resumable || error.code === 'TRANSFER_ABORTED' || this.#options.signal?.aborted) throw cause;
      this.#skip(item.entry.path.join('/'), withoutName(error.message));
    }
  }

  #knew(item: T): void {
    if (item.entry.kind === 'folder') return;
    this.#known.files++;
    this.#known.bytes += sizeOf(item.entry);
    this.#meter.skip(sizeOf(item.entry));
    this.#arrived(item);
  }

  /** @param unseen octets of it that no progress has told of */
  #arrived({ entry }: T, unseen = 0): void {
    if (entry.kind === 'folder') return;
    this.#done.files++;
    this.#done.bytes += sizeOf(entry);
    this.#add(unseen);
  }

  readonly #skip = (name: string, why: string): void => {
    this.#skippedCount++;
    if (this.#skipped.length < MOST_TOLD) this.#skipped.push({ name, why });
  };

  /** With a connection of its own, made again when it was lost. */
  async #attempting<R>(work: (peer: PeerHttp, attempts: Attempts) => Promise<R>): Promise<R> {
    const { retry, signal } = this.#options;
    const peer = this.#idle.pop() ?? new PeerHttp(this.#options);
    const meter = { waiting: (delay: number) => this.#wait(delay) };
    try {
      return await retrying({ policy: { ...DEFAULT_RETRY, ...retry }, timing: this.#timing, meter, signal }, (attempts) =>
        work(peer, attempts),
      );
    } finally {
      this.#idle.push(peer);
    }
  }

  #wait(delay: number): void {
    this.#moves = false;
    this.#meter.waiting(delay);
  }

  #moving(): void {
    if (this.#moves) return;
    this.#moves = true;
    this.#meter.phase(this.#work.phase);
  }

  #add(bytes: number): void {
    this.#meter.total = this.#total.bytes;
    this.#meter.files = { done: this.#done.files, total: this.#total.files };
    this.#meter.add(bytes);
  }
}

/** What is asked about at once: so little that it is no loss to do it again. */
async function* batches<T extends { readonly entry: TreeEntry }>(items: AsyncIterable<readonly T[]>): AsyncGenerator<readonly T[]> {
  let batch: T[] = [];
  let bytes = 0;
  for await (const some of items) {
    for (const item of some) {
      batch.push(item);
      bytes += isLarge(item.entry) ? 0 : sizeOf(item.entry);
      if (batch.length < MOST_PACKED && bytes < LARGEST_PACK) continue;
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}

const sizeOf = (entry: TreeEntry): number => (entry.kind === 'file' ? entry.size : 0);
export const isLarge = (entry: TreeEntry): boolean => sizeOf(entry) > LARGEST_PACKED;

/** Entries that are looked for before they are needed, so that the total is known early. */
const MOST_AHEAD = 50_000;
/** What is named of what did not travel. */
const MOST_TOLD = 100;
const MOST_MISMATCHES = 2;
