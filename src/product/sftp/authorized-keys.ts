import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConfigError, equalBytes, fromUtf8 } from '../../core/bytes/index.ts';
import { readSecretFile } from '../../host/platform/files.ts';
import { errnoOf } from '../transfer/errors.ts';

/** A public key that may come in: the line of an authorized_keys file, and its octets. */
export interface AuthorizedKey {
  readonly type: string;
  readonly octets: Uint8Array;
  /** `ssh-ed25519 AAAA…`. */
  readonly text: string;
}

/** Reads OpenSSH's authorized_keys format. A line with options is refused: to pass over a restriction would let in who should not be. @throws ConfigError */
export async function readAuthorizedKeys(file: string): Promise<AuthorizedKey[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`${file} cannot be read: ${errnoOf(cause) ?? String(cause)}`, { code: 'FILE_UNREADABLE', file, cause });
  });
  return text.split(/\r?\n/).flatMap((line, index): AuthorizedKey[] => {
    const words = line.trim().split(/\s+/);
    const [type, base64] = words;
    if (type === undefined || type === '' || type.startsWith('#')) return [];
    if (!KEY_TYPES.includes(type) || base64 === undefined) {
      throw new ConfigError(`${file}:${index + 1} is no line with a key alone`, {
        code: 'AUTHORIZED_KEYS',
        file,
        line: index + 1,
        hint: `Write TYPE KEY COMMENT, without options; TYPE is one of ${KEY_TYPES.join(', ')}.`,
      });
    }
    return [{ type, octets: Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)), text: `${type} ${base64}` }];
  });
}

export const findKey = (keys: readonly AuthorizedKey[], octets: Uint8Array): AuthorizedKey | undefined =>
  keys.find((key) => equalBytes(key.octets, octets));

/** Names and passwords of a file with a line `USER:PASSWORD` for each; nobody but its owner may read it. */
export class Passwords {
  readonly #byUser = new Map<string, Uint8Array>();

  /** @throws ConfigError */
  static async read(file: string): Promise<Passwords> {
    const passwords = new Passwords();
    for (const [index, line] of fromUtf8(await readSecretFile(file))
      .split(/\r?\n/)
      .entries()) {
      if (line === '') continue;
      const colon = line.indexOf(':');
      if (colon <= 0 || colon === line.length - 1) {
        throw new ConfigError(`${file}:${index + 1} is not USER:PASSWORD`, { code: 'PASSWORD_FILE', file, line: index + 1 });
      }
      passwords.#byUser.set(line.slice(0, colon), digest(line.slice(colon + 1)));
    }
    return passwords;
  }

  /** Takes the same time for whoever asks. */
  fits(user: string, password: string): boolean {
    const right = timingSafeEqual(this.#byUser.get(user) ?? NOBODY, digest(password));
    return right && this.#byUser.has(user);
  }
}

const digest = (text: string): Uint8Array => createHash('sha256').update(text).digest();
const NOBODY = digest('');
const KEY_TYPES: readonly string[] = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];
