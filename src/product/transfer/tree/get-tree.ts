import { lstat, mkdir, mkdtemp, readdir, realpath, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { printable } from '../../../core/bytes/index.ts';
import type { Listed } from '../../control/target.ts';
import { fileError, TransferError } from '../errors.ts';
import { type GetOptions, get } from '../get.ts';
import { listFolder } from '../list.ts';
import { acceptable, PARTIAL_FOLDER, parsePath } from '../paths.ts';
import { ConnectionLost, type PeerHttp } from '../peer-http.ts';
import type { TransferProgress } from '../progress.ts';
import { parseEntry, type TreeEntry, type TreeFolder } from './entry.ts';
import { PACK_TYPE, type Packed, toLines, unpack } from './pack.ts';
import { TreeSink } from './sink.ts';
import { reasonOf } from './source.ts';
import { type TreeContext, type TreeOptions, type TreeResult, TreeTransfer, type TreeWork } from './transfer.ts';

export interface GetTreeOptions extends TreeOptions, Pick<GetOptions, 'ifExists'> {
  /** Folder below what the peer shares; empty for all of that. */
  readonly from: string;
  /** A folder that exists, into which it goes under its name; or the name it gets. */
  readonly to: string;
}

export interface GotTree extends TreeResult {
  /** Absolute. */
  readonly path: string;
}

/**
 * Gets a folder with all that is in it. What is here already, by size and time, is not got again: so the same call goes on where an earlier
 * one broke off.
 * @throws TransferError
 */
export async function getTree(options: GetTreeOptions): Promise<GotTree> {
  const from = parsePath(options.from.replace(/^\//, '').replace(/\/$/, ''));
  const root = await openRoot(options.to, from.at(-1));
  const scratch = await openScratch(root);
  let files = 0;
  const sink = new TreeSink({ root, scratch, ifExists: options.ifExists ?? 'replace', scratchName: () => `${files++}.packed` });
  try {
    const result = await new TreeTransfer(options, new TreeGetting(options, from, root, sink)).run();
    return { ...result, path: root };
  } finally {
    await sink.close();
    await rm(scratch, { recursive: true, force: true });
    // Another call may be at work beside it.
    await rmdir(dirname(scratch)).catch(() => undefined);
  }
}

/** A folder of this call alone for files without their final name; what an earlier run left when it was killed goes. */
async function openScratch(root: string): Promise<string> {
  const partial = join(root, PARTIAL_FOLDER);
  try {
    await mkdir(partial, { recursive: true, mode: 0o700 });
    for (const name of await readdir(partial)) {
      const path = join(partial, name);
      const { mtimeMs } = await lstat(path);
      if (Date.now() - mtimeMs > LEFT_BEHIND) await rm(path, { recursive: true, force: true });
    }
    return await mkdtemp(join(partial, 'get-'));
  } catch (cause) {
    throw fileError(cause, root);
  }
}

/** The folder that is to hold the tree: absolute, links resolved, made if need be. */
async function openRoot(to: string, name: string | undefined): Promise<string> {
  try {
    const isFolder = await stat(to).then(
      (found) => found.isDirectory(),
      () => to.endsWith('/'),
    );
    const root = isFolder && name !== undefined ? join(to, name) : resolve(to);
    await mkdir(root, { recursive: true });
    return await realpath(root);
  } catch (cause) {
    throw fileError(cause, to);
  }
}

/** Something of the tree that is there. */
interface Remote {
  /** As it is to be here. */
  readonly entry: TreeEntry;
  /** As the other end calls it. */
  readonly path: string;
}

class TreeGetting implements TreeWork<Remote> {
  readonly name: string;
  readonly phase = 'receiving';
  readonly #options: GetTreeOptions;
  readonly #from: readonly string[];
  readonly #root: string;
  readonly #sink: TreeSink;
  /** Their times are set last. */
  readonly #folders: TreeFolder[] = [];

  constructor(options: GetTreeOptions, from: readonly string[], root: string, sink: TreeSink) {
    this.#options = options;
    this.#from = from;
    this.#root = root;
    this.#sink = sink;
    this.name = from.at(-1) ?? basename(root);
  }

  async *entries(context: TreeContext): AsyncGenerator<Remote> {
    yield* this.#below([], context);
  }

  async missing(_peer: PeerHttp, items: readonly Remote[]): Promise<readonly Remote[]> {
    const missing = await this.#sink.missing(items.map(({ entry }) => entry));
    return missing.map((index) => items[index]!);
  }

  async movePacked(peer: PeerHttp, items: readonly Remote[], onBytes: (count: number) => void): Promise<ReadonlyMap<Remote, string>> {
    const skipped = new Map<Remote, string>();
    const wanted = new Map<string, Remote>();
    for (const item of items) {
      if (item.entry.kind === 'file') wanted.set(item.path, item);
      else await this.#put(item, { entry: item.entry, content: undefined }, skipped);
    }
    if (wanted.size === 0) return skipped;
    const body = toLines([...wanted.keys()].map((path) => ({ path })));
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const response = await peer.request('POST', '/packs/out', { headers, body, signal: this.#options.signal });
    if (response.status !== 200 || response.header('content-type') !== PACK_TYPE) throw await response.error(this.name);
    for await (const piece of unpack(response.chunks())) {
      const path = 'refused' in piece ? piece.refused.path : piece.entry.path.join('/');
      const item = wanted.get(path);
      if (item === undefined || !wanted.delete(path)) throw unasked();
      if ('refused' in piece) {
        skipped.set(item, `${printable(piece.refused.message.replace(/^.*?: /s, ''))} (says the other end)`);
        continue;
      }
      if (piece.entry.kind !== 'file') throw unasked();
      await this.#put(item, { ...piece, entry: { ...piece.entry, path: item.entry.path } }, skipped);
      onBytes(piece.entry.size);
    }
    if (wanted.size > 0) throw new ConnectionLost('it ended before the last file did');
    return skipped;
  }

  async moveLarge({ entry, path }: Remote, onProgress: (progress: TransferProgress) => void): Promise<void> {
    if (entry.kind !== 'file') return;
    const to = join(this.#root, ...entry.path);
    await get({ ...this.#options, from: { path }, to, stamp: entry, ifExists: this.#options.ifExists ?? 'replace', onProgress });
  }

  async finish(): Promise<void> {
    for (const entry of this.#folders.reverse()) await this.#sink.put({ entry, content: undefined });
  }

  async *#below(folder: readonly string[], context: TreeContext): AsyncGenerator<Remote> {
    const there = [...this.#from, ...folder].join('/');
    let found: readonly Listed[];
    try {
      found = await context.attempting((peer) => listFolder(peer, there, this.#options.signal));
    } catch (cause) {
      if (folder.length === 0 || !(cause instanceof TransferError) || cause.resumable) throw cause;
      context.skip(folder.join('/'), reasonOf(cause));
      return;
    }
    for (const one of found) {
      const remote = await this.#remote(folder, one, context);
      if (remote === undefined) continue;
      yield remote;
      if (remote.entry.kind !== 'folder') continue;
      if (this.#folders.length < MOST_FOLDERS) this.#folders.push(remote.entry);
      yield* this.#below(remote.entry.path, context);
    }
  }

  /** Undefined for what nobody may name; that is said. */
  async #remote(folder: readonly string[], one: Listed, { skip }: TreeContext): Promise<Remote | undefined> {
    const name = printable([...folder, one.name].join('/'));
    try {
      if (!acceptable(one.name)) throw new TransferError('this name is not accepted', { code: 'TRANSFER_BAD_PATH' });
      const { entry } = parseEntry({ ...one, path: [...folder, one.name].join('/') });
      return { entry, path: [...this.#from, ...entry.path].join('/') };
    } catch (cause) {
      skip(name, reasonOf(cause));
      return undefined;
    }
  }

  async #put(item: Remote, packed: Packed, skipped: Map<Remote, string>): Promise<void> {
    try {
      await this.#sink.put(packed);
    } catch (cause) {
      const error = fileError(cause, item.entry.path.join('/'));
      if (error.resumable) throw error;
      skipped.set(item, reasonOf(error));
    }
  }
}

const unasked = (): TransferError =>
  new TransferError('the other end sent something that was not asked for', { code: 'TRANSFER_PROTOCOL', side: 'there' });

/** Milliseconds after which files without a name are nobody's. */
const LEFT_BEHIND = 24 * 3600_000;
/** More keep the time at which they were made. */
const MOST_FOLDERS = 100_000;
