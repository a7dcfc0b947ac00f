import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError, fromUtf8 } from '../../core/bytes/index.ts';
import { lastingFile } from '../../host/platform/lasting-secret.ts';
import { errnoOf } from '../transfer/errors.ts';
import { newEd25519Key } from './ed25519-key.ts';
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
  const key = fromUtf8(await readOrMake(file));
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

async function readOrMake(file: string): Promise<Uint8Array> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    return await lastingFile(file, newEd25519Key);
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    throw new ConfigError(`${file}, the host key for SFTP, cannot be made: ${errnoOf(cause) ?? String(cause)}`, {
      code: 'HOST_KEY',
      file,
      cause,
    });
  }
}
