import { printable } from '../../../core/bytes/index.ts';
import { withoutName } from '../errors.ts';
import { octetsIn } from '../gathered.ts';
import { Jail, parsePath } from '../paths.ts';
import type { PeerHttp, PeerResponse } from '../peer-http.ts';
import type { TransferProgress } from '../progress.ts';
import { belowInbox, notUnderstood, sendSource } from '../send.ts';
import { PIECE, SourceFile } from '../source-file.ts';
import { entryToJson, type TreeEntry } from './entry.ts';
import { FileThread, type Remote } from './file-thread.ts';
import { PACK_TYPE, toLines } from './pack.ts';
import type { TreeSource } from './source.ts';
import { type TreeContext, type TreeOptions, type TreeResult, TreeTransfer, type TreeWork } from './transfer.ts';

export interface SendTreeOptions extends TreeOptions {
  /** Files and folders. */
  readonly files: readonly string[];
  /** Folder below the peer's inbox; of one folder that is sent the name it gets, unless it ends in `/`. */
  readonly to?: string;
}

/**
 * Sends files and folders into the peer's inbox, with permissions, times and the links that stay inside. What the peer has already, by size
 * and time, is not sent again: so the same call goes on where an earlier one broke off.
 * @throws TransferError
 */
export async function sendTree(options: SendTreeOptions): Promise<TreeResult> {
  const { files, to = '' } = options;
  const below = belowInbox(to);
  const renamed = files.length === 1 && below !== '' && !below.endsWith('/');
  const into = parsePath(below.replace(/\/$/, ''));
  const thread = new FileThread(options);
  const sources: Remote<TreeSource>[] = [];
  try {
    for (const path of files) sources.push(await thread.open('named', { path, into, renamed }));
    const name = files.length === 1 ? files[0]!.replace(/\/+$/, '').split('/').at(-1)! : `${files.length} files and folders`;
    return await new TreeTransfer(options, new TreeSending(options, sources, name)).run();
  } finally {
    // with the thread they are gone as well
    await Promise.allSettled(sources.map((source) => source.close()));
    await thread.close();
  }
}

interface Found {
  readonly entry: TreeEntry;
  readonly source: Remote<TreeSource>;
}

class TreeSending implements TreeWork<Found> {
  readonly name: string;
  readonly phase = 'sending';
  readonly #options: SendTreeOptions;
  readonly #sources: readonly Remote<TreeSource>[];
  /** Whether the other end is one of us; any tus server takes files one by one. */
  #takesPacks = true;

  constructor(options: SendTreeOptions, sources: readonly Remote<TreeSource>[], name: string) {
    this.#options = options;
    this.#sources = sources;
    this.name = name;
  }

  async *entries({ skip }: TreeContext): AsyncGenerator<readonly Found[]> {
    for (const source of this.#sources) {
      for (let ended = false; !ended; ) {
        const walked = await source.call('next', 'everything');
        for (const { name, why } of walked.skipped) skip(name, why);
        yield walked.entries.map((entry) => ({ entry, source }));
        ended = walked.ended;
      }
    }
  }

  async missing(peer: PeerHttp, items: readonly Found[]): Promise<readonly Found[]> {
    if (!this.#takesPacks) return items;
    const response = await this.#post(peer, 'missing', 'application/x-ndjson', [toLines(items.map(({ entry }) => entryToJson(entry)))]);
    if (response.status === 404) {
      await response.discard();
      this.#takesPacks = false;
      return items;
    }
    const missing = new Set<unknown>(await listOf(response, 'missing', this.name));
    return items.filter((_item, index) => missing.has(index));
  }

  async movePacked(peer: PeerHttp, items: readonly Found[], onBytes: (count: number) => void): Promise<ReadonlyMap<Found, string>> {
    if (!this.#takesPacks) return this.#moveSingly(items, onBytes);
    const skipped = new Map<Found, string>();
    const sent: Found[] = [];
    const blocks: Uint8Array[] = [];
    for (const some of bySource(items)) {
      const { source } = some[0]!;
      const entries = some.map(({ entry }) => entry);
      const refused = new Map<number, string>();
      for (let at = 0; at < some.length; ) {
        const block = await source.call('pack', entries, at);
        blocks.push(block.body);
        for (const { index, message } of block.refused) refused.set(index, message);
        at = block.next;
      }
      for (const [index, found] of some.entries()) {
        const why = refused.get(index);
        if (why === undefined) sent.push(found);
        else skipped.set(found, withoutName(why));
      }
    }
    const response = await this.#post(peer, 'in', PACK_TYPE, blocks, onBytes);
    for (const { index, message } of await listOf(response, 'refused', this.name)) {
      const found = sent[Number(index)];
      if (found !== undefined) skipped.set(found, `${printable(withoutName(String(message)))} (says the other end)`);
    }
    return skipped;
  }

  async moveLarge(found: Found, onProgress: (progress: TransferProgress) => void): Promise<void> {
    const name = found.entry.path.join('/');
    const file = await found.source.call('locate', found.entry.path);
    const jail = await Jail.open(file.root);
    const source = await SourceFile.of(await jail.openFile(file.below), name);
    // Others are on their way beside it.
    await sendSource({ ...this.#options, parallel: 1, onProgress }, source, name);
  }

  async finish(peer: PeerHttp): Promise<void> {
    if (!this.#takesPacks) return;
    for (const source of this.#sources) {
      // an attempt that broke may have lost what was on its way
      let anew = true;
      for (let ended = false; !ended; anew = false) {
        const folders = await source.call('next', 'folders', anew);
        ended = folders.ended;
        if (folders.entries.length === 0) continue;
        const { body } = await source.call('pack', folders.entries, 0);
        await listOf(await this.#post(peer, 'in', PACK_TYPE, [body]), 'refused', this.name);
      }
    }
  }

  async #moveSingly(items: readonly Found[], onBytes: (count: number) => void): Promise<ReadonlyMap<Found, string>> {
    const skipped = new Map<Found, string>();
    for (const found of items) {
      if (found.entry.kind === 'link') skipped.set(found, 'is a symbolic link, and the other end takes files alone');
      if (found.entry.kind !== 'file') continue;
      await this.moveLarge(found, () => undefined);
      onBytes(found.entry.size);
    }
    return skipped;
  }

  #post(
    peer: PeerHttp,
    what: string,
    type: string,
    blocks: readonly Uint8Array[],
    onBytes: (count: number) => void = () => undefined,
  ): Promise<PeerResponse> {
    return peer.request('POST', `/packs/${what}`, {
      headers: { 'Content-Type': type },
      body: inPieces(blocks, onBytes),
      length: octetsIn(blocks),
      signal: this.#options.signal,
    });
  }
}

/** Those that stand together and are of one source. */
function bySource(items: readonly Found[]): Found[][] {
  const groups: Found[][] = [];
  for (const found of items) {
    const last = groups.at(-1);
    if (last?.[0]?.source === found.source) last.push(found);
    else groups.push([found]);
  }
  return groups;
}

/** The list of an answer. What is in it the other end may have made up. */
async function listOf(response: PeerResponse, field: string, what: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  if (response.status !== 200) throw await response.error(what);
  const text = await response.text(LARGEST_ANSWER);
  try {
    const list = (JSON.parse(text) as Record<string, unknown>)[field];
    if (Array.isArray(list)) return list;
  } catch {
    // Falls through to the complaint below.
  }
  throw notUnderstood('it did not say what it took');
}

async function* inPieces(blocks: readonly Uint8Array[], onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
  for (const block of blocks) {
    for (let at = 0; at < block.length; at += PIECE) {
      const piece = block.subarray(at, at + PIECE);
      yield piece;
      onBytes(piece.length);
    }
  }
}

const LARGEST_ANSWER = 1024 * 1024;
