import { printable } from '../../core/bytes/index.ts';
import type { Listed } from '../control/target.ts';
import { TransferError } from './errors.ts';
import { filesTarget } from './get.ts';
import { PeerHttp, type PeerHttpOptions } from './peer-http.ts';

export interface ListOptions extends PeerHttpOptions {
  readonly signal?: AbortSignal;
  /** A folder below the peer's shared folder; empty for that itself. */
  readonly path?: string;
}

/** What a folder of the peer holds. @throws TransferError */
export async function list(options: ListOptions): Promise<readonly Listed[]> {
  const peer = new PeerHttp(options);
  try {
    const entries = await listFolder(peer, options.path ?? '', options.signal);
    return entries.map((entry) => ({ ...entry, name: printable(entry.name) }));
  } finally {
    peer.close();
  }
}

/** Names as the other end has them: whatever it likes. @throws TransferError */
export async function listFolder(peer: PeerHttp, path: string, signal: AbortSignal | undefined): Promise<readonly Listed[]> {
  const response = await peer.request('GET', filesTarget(path, true), { signal });
  if (response.status !== 200) throw await response.error(path === '' ? 'the shared folder' : path);
  return parseEntries(await response.text(LARGEST_LISTING));
}

function parseEntries(text: string): Listed[] {
  let entries: unknown;
  try {
    entries = (JSON.parse(text) as { entries?: unknown }).entries;
  } catch {
    // Falls through to the complaint below.
  }
  if (!Array.isArray(entries))
    throw new TransferError('the other end does not list folders as expected', { code: 'TRANSFER_PROTOCOL', side: 'there' });
  return entries.flatMap((entry: unknown) => {
    const { name, kind, size, modified, mode, target } = entry as Record<string, unknown>;
    if (typeof name !== 'string' || (kind !== 'file' && kind !== 'folder' && kind !== 'link')) return [];
    const link = kind === 'link' ? { target: String(target) } : {};
    return [{ name, kind, size: Number(size) || 0, modified: Number(modified) || 0, mode: Number(mode) || 0, ...link }];
  });
}

/** Of some 500,000 names. */
const LARGEST_LISTING = 64 * 1024 * 1024;
