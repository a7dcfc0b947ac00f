import { DataPlaneError, printable } from '../../core/bytes/index.ts';
import { TransferError } from '../transfer/errors.ts';
import { StatusCode } from './protocol.ts';

/** What a server's SSH_FXP_STATUS says of a file, in the operator's words; its own text where it says more. */
export function statusError(what: string, code: number, text: string): TransferError {
  const known = STATUS[code];
  const said = printable(text.slice(0, LONGEST_TEXT)).trim();
  const says = known?.says ?? (said === '' || /^failure\.?$/i.test(said) ? 'the server refused it, and does not say why' : said);
  return new TransferError(`${what}: ${says}`, {
    code: known?.code ?? 'TRANSFER_IO',
    side: 'there',
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

/** The server did what SFTP does not allow. */
export const protocolError = (why: string, cause?: unknown): TransferError =>
  new TransferError(`the server does not speak SFTP as it should: ${why}`, { code: 'TRANSFER_PROTOCOL', side: 'there', cause });

/** The package that speaks SSH is optional, and missing. */
export const ssh2Missing = (cause: unknown): DataPlaneError =>
  new DataPlaneError('SFTP needs the package ssh2, which was left out when Tunnelwright was installed', {
    code: 'SSH2_MISSING',
    hint: 'npm install ssh2@1   beside it; nothing has to be compiled.',
    cause,
  });

const STATUS: Readonly<
  Record<number, { readonly code: 'TRANSFER_NOT_FOUND' | 'TRANSFER_FORBIDDEN'; readonly says: string; readonly hint?: string }>
> = {
  [StatusCode.NO_SUCH_FILE]: { code: 'TRANSFER_NOT_FOUND', says: 'no such file on the server' },
  [StatusCode.PERMISSION_DENIED]: { code: 'TRANSFER_FORBIDDEN', says: 'the server denies permission' },
  [StatusCode.OP_UNSUPPORTED]: { code: 'TRANSFER_FORBIDDEN', says: 'the server does not support this' },
};

const LONGEST_TEXT = 300;
