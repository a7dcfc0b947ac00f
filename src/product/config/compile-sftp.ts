import { join } from 'node:path';
import type { CompileContext } from './compile-context.ts';
import type { SftpSettings, TransferSettings } from './compiled.ts';
import { DEFAULTS } from './defaults.ts';
import type { Settings } from './schema.ts';

/** @param bounds how much peers may store here, by whatever way */
export function compileSftp(
  { sftp, state }: Settings,
  bounds: Pick<TransferSettings, 'largest' | 'keepFree'>,
  context: CompileContext,
): SftpSettings | undefined {
  if (sftp === undefined) return undefined;
  const path = (file: string | undefined): string | undefined => (file === undefined ? undefined : context.path(file));
  return {
    folder: context.path(sftp.folder),
    readOnly: sftp.read_only ?? false,
    ids: sftp.ids ?? [],
    authorizedKeys: path(sftp.authorized_keys),
    passwords: path(sftp.passwords),
    hostKey: path(sftp.host_key) ?? (state === undefined ? undefined : join(context.path(state), 'sftp_host_key')),
    port: sftp.port ?? DEFAULTS.sftpPort,
    largest: bounds.largest,
    keepFree: bounds.keepFree,
  };
}
