import { join } from 'node:path';
import type { CompileContext } from './compile-context.ts';
import type { SftpSettings } from './compiled.ts';
import { DEFAULTS } from './defaults.ts';
import type { Settings } from './schema.ts';

export function compileSftp({ sftp, state }: Settings, context: CompileContext): SftpSettings | undefined {
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
  };
}
