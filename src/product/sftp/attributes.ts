import type { Reader, Writer } from '../../core/bytes/index.ts';
import { AttributeFlag, FileType } from './protocol.ts';

/** ATTRS, §5; what is undefined does not travel. */
export interface Attributes {
  /** Octets. */
  readonly size?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Type and mode, as `st_mode`. */
  readonly permissions?: number | undefined;
  /** Seconds since 1970. */
  readonly atime?: number | undefined;
  /** Seconds since 1970; both times or none. */
  readonly mtime?: number | undefined;
}

/** @throws MalformedMessage */
export function readAttributes(reader: Reader): Attributes {
  const flags = reader.u32('attribute flags');
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const size = has(AttributeFlag.SIZE) ? readOffset(reader, 'size') : undefined;
  const uid = has(AttributeFlag.UIDGID) ? reader.u32('uid') : undefined;
  const gid = has(AttributeFlag.UIDGID) ? reader.u32('gid') : undefined;
  const permissions = has(AttributeFlag.PERMISSIONS) ? reader.u32('permissions') : undefined;
  const atime = has(AttributeFlag.ACMODTIME) ? reader.u32('atime') : undefined;
  const mtime = has(AttributeFlag.ACMODTIME) ? reader.u32('mtime') : undefined;
  if (has(AttributeFlag.EXTENDED)) skipExtended(reader);
  return { size, uid, gid, permissions, atime, mtime };
}

export function writeAttributes(writer: Writer, { size, uid, gid, permissions, atime, mtime }: Attributes): void {
  const owner = uid !== undefined && gid !== undefined;
  const times = atime !== undefined && mtime !== undefined;
  writer.u32(
    (size === undefined ? 0 : AttributeFlag.SIZE) |
      (owner ? AttributeFlag.UIDGID : 0) |
      (permissions === undefined ? 0 : AttributeFlag.PERMISSIONS) |
      (times ? AttributeFlag.ACMODTIME : 0),
  );
  if (size !== undefined) writer.u64(BigInt(size));
  if (owner) writer.u32(uid).u32(gid);
  if (permissions !== undefined) writer.u32(permissions);
  if (times) writer.u32(clampTime(atime)).u32(clampTime(mtime));
}

/** A length or an offset; beyond 2^53 no file goes. @throws MalformedMessage */
export function readOffset(reader: Reader, field: string): number {
  const value = reader.u64(field);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw reader.malformed(`${field} is beyond any file`, field);
  return Number(value);
}

export const isFolder = ({ permissions }: Attributes): boolean => typeOf(permissions) === FileType.FOLDER;
export const isLink = ({ permissions }: Attributes): boolean => typeOf(permissions) === FileType.LINK;
/** Servers that say no type mean files. */
export const isRegular = ({ permissions }: Attributes): boolean => [FileType.REGULAR, 0, undefined].includes(typeOf(permissions));

const typeOf = (permissions: number | undefined): number | undefined => permissions && permissions & FileType.MASK;

function skipExtended(reader: Reader): void {
  for (let count = reader.u32('extended count'); count > 0; count--) {
    reader.skip(reader.u32('extended type'), 'extended type');
    reader.skip(reader.u32('extended data'), 'extended data');
  }
}

/** Of 32 bits in version 3. */
const clampTime = (seconds: number): number => Math.max(0, Math.min(0xffff_ffff, Math.floor(seconds)));
