import { type ErrorDetails, TunnelwrightError } from '../../core/bytes/index.ts';
import { formatBytes } from './progress.ts';

/** On which machine it happened. */
export type Side = 'here' | 'there';

/** A file did not get across. `code` says why, `resumable` whether running the same command again goes on where this ended. */
export class TransferError extends TunnelwrightError {
  readonly resumable: boolean;
  readonly side: Side;
  /** Octets that are safely on the other end, where that is known. */
  readonly kept: number | undefined;

  constructor(message: string, details: ErrorDetails & { code: TransferCode; resumable?: boolean; side?: Side; kept?: number }) {
    super(message, details);
    this.resumable = details.resumable ?? false;
    this.side = details.side ?? 'here';
    this.kept = details.kept;
  }
}

export type TransferCode = keyof typeof STATUS;

/** The HTTP status that carries each code between two of us; an unknown code from a peer falls back to its status. */
const STATUS = {
  TRANSFER_INTERRUPTED: 503,
  TRANSFER_ABORTED: 503,
  TRANSFER_BUSY: 503,
  TRANSFER_FILE_CHANGED: 412,
  TRANSFER_DISK_FULL: 507,
  TRANSFER_FORBIDDEN: 403,
  TRANSFER_NOT_FOUND: 404,
  TRANSFER_NOT_A_FILE: 404,
  TRANSFER_EXISTS: 409,
  TRANSFER_TOO_LARGE: 413,
  TRANSFER_BAD_PATH: 400,
  TRANSFER_BAD_REQUEST: 400,
  // tus 1.0, checksum extension: Checksum Mismatch.
  TRANSFER_DIGEST_MISMATCH: 460,
  TRANSFER_PROTOCOL: 500,
  TRANSFER_IO: 500,
} as const;

export const statusOf = (code: string): number => (Object.hasOwn(STATUS, code) ? STATUS[code as TransferCode] : 500);

export function codeOf(status: number): TransferCode {
  const known = (Object.keys(STATUS) as TransferCode[]).find((code) => STATUS[code] === status);
  return status >= 500 && known === undefined ? 'TRANSFER_IO' : (known ?? 'TRANSFER_PROTOCOL');
}

/** What an answer without a body (to HEAD) leaves to say. */
export function wordsFor(code: TransferCode): string {
  return Object.values(FILE_ERRORS).find((known) => known.code === code)?.says ?? 'refused';
}

/** Field of a response that carries the code, where a body cannot. */
export const ERROR_FIELD = 'Error-Code';

export const isTransferCode = (code: unknown): code is TransferCode => typeof code === 'string' && Object.hasOwn(STATUS, code);

/**
 * What the file system refused, in the operator's words.
 * @param what the file as the reader of the message knows it: never an absolute path when the message travels.
 */
export function fileError(cause: unknown, what: string, side: Side = 'here'): TransferError {
  if (cause instanceof TransferError) return cause;
  const errno = errnoOf(cause);
  const known = errno === undefined ? undefined : FILE_ERRORS[errno];
  const { code, says, hint } = known ?? { code: 'TRANSFER_IO', says: `failed (${errno ?? 'unknown error'})`, hint: undefined };
  return new TransferError(`${what}: ${says}`, {
    code,
    side,
    cause,
    ...(hint === undefined ? {} : { hint }),
    resumable: code === 'TRANSFER_DISK_FULL',
  });
}

/** A file is longer than is accepted. */
export const tooLarge = (length: number, largest: number): TransferError =>
  new TransferError(`${formatBytes(length)} is more than is accepted here (${formatBytes(largest)})`, {
    code: 'TRANSFER_TOO_LARGE',
    hint: 'Who receives sets the limit: transfer.largest of the configuration, or --largest.',
  });

/** Of a message about something whose name stands beside it. */
export const withoutName = (message: string): string => message.replace(/^.*?: /s, '');

export const reasonOf = (cause: unknown): string => withoutName(fileError(cause, '').message);

export const fileChanged = (what: string): TransferError =>
  new TransferError(`${what}: changed while it was being sent`, {
    code: 'TRANSFER_FILE_CHANGED',
    hint: 'Send it again once nothing writes to it.',
  });

export function errnoOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
}

const FILE_ERRORS: Readonly<Record<string, { readonly code: TransferCode; readonly says: string; readonly hint?: string }>> = {
  ENOSPC: {
    code: 'TRANSFER_DISK_FULL',
    says: 'the disk is full',
    hint: 'Make room and run the same command: it goes on where it stopped.',
  },
  EDQUOT: {
    code: 'TRANSFER_DISK_FULL',
    says: 'the disk quota is used up',
    hint: 'Make room and run the same command: it goes on where it stopped.',
  },
  EFBIG: { code: 'TRANSFER_TOO_LARGE', says: 'the file system cannot hold a file of this size' },
  EACCES: { code: 'TRANSFER_FORBIDDEN', says: 'permission denied', hint: 'Check who owns the file and its folder.' },
  EPERM: { code: 'TRANSFER_FORBIDDEN', says: 'permission denied', hint: 'Check who owns the file and its folder.' },
  EROFS: { code: 'TRANSFER_FORBIDDEN', says: 'the file system is read-only' },
  ENOENT: { code: 'TRANSFER_NOT_FOUND', says: 'no such file' },
  ENOTDIR: { code: 'TRANSFER_NOT_FOUND', says: 'no such file: a part of the path is not a folder' },
  EISDIR: { code: 'TRANSFER_NOT_A_FILE', says: 'is a folder, not a file' },
  ELOOP: { code: 'TRANSFER_FORBIDDEN', says: 'is a symbolic link, and links are not followed here' },
  ENAMETOOLONG: { code: 'TRANSFER_BAD_PATH', says: 'the name is too long' },
  EEXIST: { code: 'TRANSFER_EXISTS', says: 'exists already' },
  ENOTEMPTY: { code: 'TRANSFER_EXISTS', says: 'exists already' },
  EMFILE: { code: 'TRANSFER_BUSY', says: 'too many files are open' },
};
