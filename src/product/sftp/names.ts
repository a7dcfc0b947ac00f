import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { TransferError } from '../transfer/errors.ts';
import { parsePath } from '../transfer/paths.ts';

/** The last name of a path on the server. */
export const baseName = (path: string): string => posix.basename(path);
export const folderOf = (path: string): string => posix.dirname(path);
export const joinRemote = (folder: string, name: string): string => posix.join(folder, name);

/**
 * An unfinished file beside its place: its version is in the name, so that only what belongs to it goes on.
 * @param version what tells this content from another: where from, size, time
 */
export function partName(name: string, version: readonly unknown[]): string {
  return `${partPrefix(name)}${createHash('sha256').update(JSON.stringify(version)).digest('hex').slice(0, VERSION_DIGITS)}.part`;
}

/** Is this an unfinished file of the same name, of whatever version? */
export const isPartOf = (file: string, name: string): boolean =>
  file.startsWith(partPrefix(name)) && /^[0-9a-f]{16}\.part$/.test(file.slice(partPrefix(name).length));

/** A name that a server told, as one of ours. @throws TransferError `TRANSFER_BAD_PATH` where it is none, or would lead elsewhere */
export function localName(name: string | undefined, shown: string): string {
  if (name === undefined) throw new TransferError(`${shown}: the name is not UTF-8`, { code: 'TRANSFER_BAD_PATH', side: 'there' });
  const [only, ...more] = parsePath(name);
  if (only === undefined || more.length > 0)
    throw new TransferError(`${shown}: this is no name of a file`, { code: 'TRANSFER_BAD_PATH', side: 'there' });
  return only;
}

/** `*` and `?` of one name; a leading dot has to be written. undefined where the text has neither. */
export function globOf(text: string): RegExp | undefined {
  if (!/[*?]/.test(text)) return undefined;
  const source = text
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  return new RegExp(`^${/^[*?]/.test(text) ? '(?!\\.)' : ''}${source}$`, 'u');
}

/** Names have at most 255 octets, and a character at most 4. */
const partPrefix = (name: string): string => `.${[...name].slice(0, 50).join('')}.`;
const VERSION_DIGITS = 16;
