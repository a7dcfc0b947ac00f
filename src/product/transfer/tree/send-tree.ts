import { printable } from '../../../core/bytes/index.ts';
import { inParallel } from '../parallel.ts';
import { parsePath } from '../paths.ts';
import type { PeerHttp, PeerResponse } from '../peer-http.ts';
import type { TransferProgress } from '../progress.ts';
import { belowInbox, notUnderstood, sendSource } from '../send.ts';
import { PIECE, SourceFile } from '../source-file.ts';
import { entryToJson } from './entry.ts';
import { AT_ONCE, LARGEST_PACKED, MOST_PACKED, PACK_TYPE, packed, toLines } from './pack.ts';
import { type Found, reasonOf, TreeSource } from './source.ts';
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
  const sources: TreeSource[] = [];
  try {
    for (const file of files) sources.push(await TreeSource.named(file, into, renamed));
    const name = files.length === 1 ? files[0]!.replace(/\/+$/, '').split('/').at(-1)! : `${files.length} files and folders`;
    return await new TreeTransfer(options, new TreeSending(options, sources, name)).run();
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

class TreeSending implements TreeWork<Found> {
  readonly name: string;
  readonly phase = 'sending';
  readonly #options: SendTreeOptions;
  readonly #sources: readonly TreeSource[];
  /** Whether the other end is one of us; any tus server takes files one by one. */
  #takesPacks = true;

  constructor(options: SendTreeOptions, sources: readonly TreeSource[], name: string) {
    this.#options = options;
    this.#sources = sources;
    this.name = name;
  }

  async *entries({ skip }: TreeContext): AsyncGenerator<Found> {
    for (const source of this.#sources) yield* source.entries(skip);
  }

  async missing(peer: PeerHttp, items: readonly Found[]): Promise<readonly Found[]> {
    if (!this.#takesPacks) return items;
    const response = await this.#post(peer, 'missing', 'application/x-ndjson', toLines(items.map(({ entry }) => entryToJson(entry))));
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
    const pieces: { readonly found: Found; readonly piece: Uint8Array }[] = [];
    await inParallel(items, AT_ONCE, async (found) => {
      try {
        pieces.push({ found, piece: await pieceOf(found) });
      } catch (cause) {
        skipped.set(found, reasonOf(cause));
      }
    });
    const response = await this.#post(peer, 'in', PACK_TYPE, joined(pieces.map(({ piece }) => piece)), onBytes);
    for (const { index, message } of await listOf(response, 'refused', this.name)) {
      const found = pieces[Number(index)]?.found;
      if (found !== undefined) skipped.set(found, `${printable(String(message).replace(/^.*?: /s, ''))} (says the other end)`);
    }
    return skipped;
  }

  async moveLarge({ entry, below, source }: Found, onProgress: (progress: TransferProgress) => void): Promise<void> {
    const file = await SourceFile.of(await source.openFile(below), below.join('/'));
    // Others are on their way beside it.
    await sendSource({ ...this.#options, parallel: 1, onProgress }, file, entry.path.join('/'));
  }

  async finish(peer: PeerHttp): Promise<void> {
    if (!this.#takesPacks) return;
    let lines: Uint8Array[] = [];
    const flush = async (): Promise<void> => {
      if (lines.length > 0) await listOf(await this.#post(peer, 'in', PACK_TYPE, joined(lines)), 'refused', this.name);
      lines = [];
    };
    for (const source of this.#sources) {
      for await (const { entry } of source.folders()) {
        lines.push(packed(entry));
        if (lines.length === MOST_PACKED) await flush();
      }
    }
    await flush();
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

  #post(peer: PeerHttp, what: string, type: string, body: Uint8Array, onBytes?: (count: number) => void): Promise<PeerResponse> {
    return peer.request('POST', `/packs/${what}`, {
      headers: { 'Content-Type': type },
      body: onBytes === undefined ? body : inPieces(body, onBytes),
      length: body.length,
      signal: this.#options.signal,
    });
  }
}

async function pieceOf({ entry, below, source }: Found): Promise<Uint8Array> {
  if (entry.kind !== 'file') return packed(entry);
  const { file, content } = await source.read(below, LARGEST_PACKED);
  return packed({ ...file, path: entry.path }, content);
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

async function* inPieces(whole: Uint8Array, onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += PIECE) {
    const piece = whole.subarray(at, at + PIECE);
    yield piece;
    onBytes(piece.length);
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const LARGEST_ANSWER = 1024 * 1024;
