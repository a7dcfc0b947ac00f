import { randomBytes } from 'node:crypto';
import { link, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../../core/bytes/index.ts';
import { ensurePrivateFolder, readSecretFile, writeFileAtomic } from './files.ts';

/**
 * 32 random octets that this machine keeps: read from the folder, or made there on first use (mode 0600 in a folder with mode 0700).
 * Two processes that make it at once agree on one.
 * @throws ConfigError `STATE_FOLDER` when the folder cannot be used, `STATE_SECRET` when the file holds something else, and those of `readSecretFile`
 */
export async function lastingSecret(folder: string): Promise<Uint8Array> {
  const path = join(folder, FILE);
  let secret: Uint8Array;
  try {
    await ensurePrivateFolder(folder);
    secret = await lastingFile(path, () => randomBytes(LENGTH));
  } catch (error) {
    throw error instanceof ConfigError ? error : unusable(folder, error);
  }
  if (secret.length === LENGTH) return secret;
  throw new ConfigError(`${path} has ${secret.length} octets, where ${LENGTH} should be`, {
    code: 'STATE_SECRET',
    file: path,
    hint: 'Remove the file; a new one is made. Tickets and tokens of before are void then.',
  });
}

/**
 * What a file of a secret holds; on first use, what `make` makes (mode 0600). Two processes that make it at once agree on one.
 * @throws ConfigError of `readSecretFile`, and the system's own error where the file cannot be made
 */
export async function lastingFile(path: string, make: () => Uint8Array | string): Promise<Uint8Array> {
  try {
    return await readSecretFile(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const made = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFileAtomic(made, make());
    // a link, unlike a rename, never replaces what another process has made meanwhile
    await link(made, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await unlink(made).catch(() => undefined);
  }
  return readSecretFile(path);
}

const isMissing = (error: unknown): boolean =>
  error instanceof ConfigError && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ENOENT';

const unusable = (folder: string, cause: unknown): ConfigError =>
  new ConfigError(`the folder ${folder} cannot keep a secret: ${cause instanceof Error ? cause.message : String(cause)}`, {
    code: 'STATE_FOLDER',
    file: folder,
    cause,
    hint: 'Name a folder in `state` that belongs to the user who runs this.',
  });

const FILE = 'secret';
const LENGTH = 32;
