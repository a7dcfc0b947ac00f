import { isSha256 } from '../digest.ts';
import { TransferError } from '../errors.ts';
import { acceptable, parsePath } from '../paths.ts';

interface Placed {
  /** Segments below the folder that is sent into, or got from. */
  readonly path: readonly string[];
}

export interface TreeFile extends Placed {
  readonly kind: 'file';
  /** Octets. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
  /** Permissions for owner, group and others; never set-user-id, set-group-id or sticky. */
  readonly mode: number;
}

export interface TreeFolder extends Placed {
  readonly kind: 'folder';
  readonly modified: number;
  readonly mode: number;
}

/** A symbolic link, as it stands: never what it leads to. */
export interface TreeLink extends Placed {
  readonly kind: 'link';
  readonly target: string;
}

/** One thing of a tree that travels. */
export type TreeEntry = TreeFile | TreeFolder | TreeLink;

/** An entry as JSON carries it; with the SHA-256 of its content where that follows. */
export function entryToJson(entry: TreeEntry, sha256?: string): object {
  return { ...entry, path: entry.path.join('/'), ...(sha256 === undefined ? {} : { sha256 }) };
}

/** @throws TransferError `TRANSFER_BAD_REQUEST` for what is no entry, `TRANSFER_BAD_PATH` for a path that nobody may name */
export function parseEntry(json: unknown): { readonly entry: TreeEntry; readonly sha256: string | undefined } {
  if (typeof json !== 'object' || json === null) throw malformed();
  const { kind, path: text, size, modified, mode, target, sha256 } = json as Record<string, unknown>;
  if (typeof text !== 'string') throw malformed();
  const path = parsePath(text);
  if (path.length === 0 || !(sha256 === undefined || (typeof sha256 === 'string' && isSha256(sha256)))) throw malformed();
  if (kind === 'link' && typeof target === 'string') {
    if (!staysInside(target, path.length - 1)) throw leavesTree(path);
    return { entry: { kind, path, target }, sha256 };
  }
  if (!isCount(modified) || !isCount(mode)) throw malformed();
  const permissions = mode & PERMISSIONS;
  if (kind === 'folder') return { entry: { kind, path, modified, mode: permissions }, sha256 };
  if (kind === 'file' && isCount(size)) return { entry: { kind, path, size, modified, mode: permissions }, sha256 };
  throw malformed();
}

/**
 * Whether a link that lies `depth` folders below the root of its tree can lead out of it: its target is relative and has `..` only in
 * front. Behind a name `..` would count from wherever that name leads, and two links could help each other out.
 */
export function staysInside(target: string, depth: number): boolean {
  const parts = target.split('/');
  const down = parts.findIndex((part) => part !== '..');
  const ups = down < 0 ? parts.length : down;
  return ups <= depth && target.length <= LONGEST_TARGET && parts.slice(ups).every(acceptable);
}

export const leavesTree = (path: readonly string[]): TransferError =>
  new TransferError(`${path.join('/')}: is a symbolic link that leads out of what is sent`, { code: 'TRANSFER_FORBIDDEN' });

const malformed = (): TransferError => new TransferError('what came describes no file, folder or link', { code: 'TRANSFER_BAD_REQUEST' });

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * Milliseconds since 1970 of a file system's time. What is set as seconds and a fraction comes back up to a microsecond too early, and has to
 * be the same again.
 */
export const modifiedOf = (stat: { readonly mtimeMs: number } | { readonly mtimeNs: bigint }): number =>
  'mtimeNs' in stat ? Number((stat.mtimeNs + 1000n) / 1_000_000n) : Math.floor(stat.mtimeMs + 0.001);

export const PERMISSIONS = 0o777;
const LONGEST_TARGET = 4096;
