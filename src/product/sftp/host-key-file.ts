import { randomBytes } from 'node:crypto';
import { link, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError, fromUtf8 } from '../../core/bytes/index.ts';
import { ensurePrivateFolder, readSecretFile, writeFileAtomic } from '../../host/platform/files.ts';
import { errnoOf } from '../transfer/errors.ts';
import { fingerprint } from './known-hosts.ts';
import { loadSsh2 } from './ssh2.ts';

export interface OwnHostKey {
  /** The private key, OpenSSH's format. */
  readonly key: string;
  /** `SHA256:…`. */
  readonly fingerprint: string;
}

/**
 * The key by which clients know this server: an Ed25519 key that is made on first use (0600), and kept.
 * @throws ConfigError `HOST_KEY` when the file holds none, and those of `readSecretFile`; DataPlaneError `SSH2_MISSING`
 */
export async function ownHostKey(file: string): Promise<OwnHostKey> {
  const { utils } = await loadSsh2();
  let key: string;
  try {
    key = fromUtf8(await readSecretFile(file));
  } catch (cause) {
    if (!(cause instanceof ConfigError && errnoOf(cause.cause) === 'ENOENT')) throw cause;
    await make(file, utils.generateKeyPairSync('ed25519').private);
    key = fromUtf8(await readSecretFile(file));
  }
  const parsed = utils.parseKey(key);
  if (parsed instanceof Error || !parsed.isPrivateKey()) {
    throw new ConfigError(`${file} holds no private key for SSH`, {
      code: 'HOST_KEY',
      file,
      hint: 'Remove it, and a new one is made; or make one: ssh-keygen -t ed25519 -N "" -f FILE',
      ...(parsed instanceof Error ? { cause: parsed } : {}),
    });
  }
  return { key, fingerprint: fingerprint(parsed.getPublicSSH()) };
}

/** Two processes that make it at once agree on one: a link never replaces what the other has made. */
async function make(file: string, key: string): Promise<void> {
  const made = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await ensurePrivateFolder(dirname(file));
    await writeFileAtomic(made, key);
    await link(made, file).catch((cause: unknown) => {
      if (errnoOf(cause) !== 'EEXIST') throw cause;
    });
  } catch (cause) {
    throw new ConfigError(`${file}, the host key for SFTP, cannot be made: ${errnoOf(cause) ?? String(cause)}`, {
      code: 'HOST_KEY',
      file,
      cause,
    });
  } finally {
    await unlink(made).catch(() => undefined);
  }
}
