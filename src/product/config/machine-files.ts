import { readFile, stat } from 'node:fs/promises';
import process from 'node:process';
import { ConfigError } from '../../core/bytes/index.ts';
import { readSecretFile } from '../../host/platform/files.ts';
import type { CredentialFiles } from './secrets.ts';

/** Files and environment of this machine. */
export const machineFiles: CredentialFiles = {
  async readFile(path) {
    const { size } = await stat(path);
    if (size > LARGEST)
      throw new ConfigError(`${path} has ${size} octets; a certificate has fewer`, {
        code: 'FILE_TOO_LARGE',
        file: path,
        hint: 'Is this the right file?',
      });
    return new Uint8Array(await readFile(path));
  },
  readSecretFile,
  env: (variable) => process.env[variable],
};

const LARGEST = 1024 * 1024;
