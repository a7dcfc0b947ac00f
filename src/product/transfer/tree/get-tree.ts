import { lstat, mkdir, mkdtemp, readdir, realpath, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { printable } from '../../../core/bytes/index.ts';
import type { Listed } from '../../control/target.ts';
import { fileError, reasonOf, TransferError, withoutName } from '../errors.ts';
import { gathered, joined } from '../gathered.ts';
import { type GetOptions, get } from '../get.ts';
import { listFolder } from '../list.ts';
import { acceptable, PARTIAL_FOLDER, parsePath } from '../paths.ts';
import { ConnectionLost, type PeerHttp, type PeerResponse } from '../peer-http.ts';
import type { TransferProgress } from '../progress.ts';
import { parseEntry, type TreeEntry, type TreeFolder } from './entry.ts';
import { FileThread, type Remote } from './file-thread.ts';
import { PACK_TYPE, type Refused, toLines } from './pack.ts';
import type { TreeSink, TreeSinkOptions } from './sink.ts';
import { type TreeContext, type TreeOptions, type TreeResult, TreeTransfer, type TreeWork } from './transfer.ts';
import type { UnpackedAll } from './unpacking.ts';

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
  const thread = new FileThread(options);
  let sink: Remote<TreeSink> | undefined;
  try {
    const into = { root, scratch, ifExists: options.ifExists ?? 'replace' };
    sink = await thread.open('sink', into);
    const result = await new TreeTransfer(options, new TreeGetting(options, from, into, thread, sink)).run();
    return { ...result, path: root };
  } finally {
    // with the thread it is gone as well
    await sink?.close().catch(() => undefined);
    await thread.close();
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
interface There {
  /** As it is to be here. */
  readonly entry: TreeEntry;
  /** As the other end calls it. */
  readonly path: string;
}

class TreeGetting implements TreeWork<There> {
  readonly name: string;
  readonly phase = 'receiving';
  readonly #options: GetTreeOptions;
  readonly #from: readonly string[];
  readonly #into: TreeSinkOptions;
  readonly #thread: FileThread;
  readonly #sink: Remote<TreeSink>;
  /** Their times are set last. */
  readonly #folders: TreeFolder[] = [];

  constructor(options: GetTreeOptions, from: readonly string[], into: TreeSinkOptions, thread: FileThread, sink: Remote<TreeSink>) {
    this.#options = options;
    this.#from = from;
    this.#into = into;
    this.#thread = thread;
    this.#sink = sink;
    this.name = from.at(-1) ?? basename(into.root);
  }

  async *entries(context: TreeContext): AsyncGenerator<readonly There[]> {
    yield* this.#below([], context);
  }

  async missing(_peer: PeerHttp, items: readonly There[]): Promise<readonly There[]> {
    const missing = await this.#sink.call(
      'missing',
      items.map(({ entry }) => entry),
    );
    return missing.map((index) => items[index]!);
  }

  async movePacked(peer: PeerHttp, items: readonly There[], onBytes: (count: number) => void): Promise<ReadonlyMap<There, string>> {
    const skipped = new Map<There, string>();
    const empty = items.filter(({ entry }) => entry.kind !== 'file');
    for (const { index, message } of await this.#put(empty.map(({ entry }) => entry))) skipped.set(empty[index]!, withoutName(message));
    const wanted = new Map(items.filter(({ entry }) => entry.kind === 'file').map((item) => [item.path, item]));
    if (wanted.size === 0) return skipped;
    const asked = [...wanted.keys()];
    const body = toLines(asked.map((path) => ({ path })));
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const response = await peer.request('POST', '/packs/out', { headers, body, signal: this.#options.signal });
    if (response.status !== 200 || response.header('content-type') !== PACK_TYPE) throw await response.error(this.name);
    for (const { path, message, side } of await this.#unpack(response, asked, onBytes)) {
      const why = withoutName(message);
      skipped.set(wanted.get(path)!, side === 'here' ? why : `${printable(why)} (says the other end)`);
    }
    return skipped;
  }

  async #unpack(response: PeerResponse, asked: readonly string[], onBytes: (count: number) => void): Promise<UnpackedAll['refused']> {
    const unpacking = await this.#thread.open('unpacking', { ...this.#into, asked, without: this.#from.length });
    try {
      for await (const pieces of gathered(response.chunks())) onBytes(await unpacking.call('push', joined(pieces)));
      const { refused, lacking } = await unpacking.call('end');
      if (lacking > 0) throw new ConnectionLost('it ended before the last file did');
      return refused;
    } finally {
      await unpacking.close();
    }
  }

  async moveLarge({ entry, path }: There, onProgress: (progress: TransferProgress) => void): Promise<void> {
    if (entry.kind !== 'file') return;
    const to = join(this.#into.root, ...entry.path);
    await get({ ...this.#options, from: { path }, to, stamp: entry, ifExists: this.#options.ifExists ?? 'replace', onProgress });
  }

  async finish(): Promise<void> {
    await this.#put([...this.#folders].reverse());
  }

  async *#below(folder: readonly string[], context: TreeContext): AsyncGenerator<readonly There[]> {
    const there = [...this.#from, ...folder].join('/');
    let found: readonly Listed[];
    try {
      found = await context.attempting((peer) => listFolder(peer, there, this.#options.signal));
    } catch (cause) {
      if (folder.length === 0 || !(cause instanceof TransferError) || cause.resumable) throw cause;
      context.skip(folder.join('/'), reasonOf(cause));
      return;
    }
    const all = found.flatMap((one) => this.#there(folder, one, context) ?? []);
    const files = all.filter(({ entry }) => entry.kind !== 'folder');
    if (files.length > 0) yield files;
    for (const there of all) {
      if (there.entry.kind !== 'folder') continue;
      if (this.#folders.length < MOST_FOLDERS) this.#folders.push(there.entry);
      yield [there];
      yield* this.#below(there.entry.path, context);
    }
  }

  /** Undefined for what nobody may name; that is said. */
  #there(folder: readonly string[], one: Listed, { skip }: TreeContext): There | undefined {
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

  #put(entries: readonly TreeEntry[]): Promise<Refused[]> {
    return this.#sink.call(
      'putAll',
      entries.filter((entry) => entry.kind !== 'file'),
    );
  }
}

/** Milliseconds after which files without a name are nobody's. */
const LEFT_BEHIND = 24 * 3600_000;
/** More keep the time at which they were made. */
const MOST_FOLDERS = 100_000;
