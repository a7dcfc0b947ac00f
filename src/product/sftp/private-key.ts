import { ConfigError, fromUtf8 } from '../../core/bytes/index.ts';
import { readSecretFile } from '../../host/platform/files.ts';
import { loadSsh2 } from './ssh2.ts';

/** In OpenSSH's format or PEM. */
export interface PrivateKey {
  readonly key: string;
  readonly passphrase?: string;
}

/**
 * Reads a private key that nobody else may read, and asks for its passphrase where it has one.
 * @param ask for the passphrase, up to three times; undefined gives up. Absent where nobody can be asked.
 * @returns undefined where whoever was asked gave up
 * @throws ConfigError `SSH_KEY`, `SSH_KEY_ENCRYPTED`, and those of `readSecretFile`
 */
export async function readPrivateKey(file: string, ask?: (wrong: boolean) => Promise<string | undefined>): Promise<PrivateKey | undefined> {
  const { utils } = await loadSsh2();
  const key = fromUtf8(await readSecretFile(file));
  let parsed = utils.parseKey(key);
  if (!(parsed instanceof Error)) {
    if (parsed.isPrivateKey()) return { key };
    throw noKey(file, 'it is a public key; the private one is beside it, without .pub');
  }
  if (!/encrypted/i.test(parsed.message)) throw noKey(file, parsed.message);
  if (ask === undefined) {
    throw new ConfigError(`${file} needs its passphrase, and there is no terminal to ask for it`, {
      code: 'SSH_KEY_ENCRYPTED',
      file,
      hint: 'Put the key into ssh-agent (ssh-add), and use --agent.',
    });
  }
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const passphrase = await ask(tries > 0);
    if (passphrase === undefined || passphrase === '') return undefined;
    parsed = utils.parseKey(key, passphrase);
    if (!(parsed instanceof Error)) return { key, passphrase };
  }
  throw new ConfigError(`${file} does not open with what was typed`, { code: 'SSH_KEY_ENCRYPTED', file });
}

const noKey = (file: string, why: string): ConfigError =>
  new ConfigError(`${file} holds no private key for SSH: ${why}`, { code: 'SSH_KEY', file, hint: 'Name a key that ssh-keygen made.' });

const MOST_TRIES = 3;
