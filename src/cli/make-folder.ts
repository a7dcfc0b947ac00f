import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { ConfigError } from '../core/bytes/errors.ts';

/** Makes the folder that a user named for what a command leaves behind. @throws ConfigError `FOLDER_UNWRITABLE` */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await access(path, constants.W_OK);
  } catch (cause) {
    throw new ConfigError(`${path} is not a folder to write to (${(cause as NodeJS.ErrnoException).code})`, {
      code: 'FOLDER_UNWRITABLE',
      file: path,
      hint: 'Name a folder of yours, or one that is not there yet.',
      cause,
    });
  }
}
