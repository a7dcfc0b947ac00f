import { createHash } from 'node:crypto';
import { utf8 } from '../../core/bytes/index.ts';
import { equalSecrets } from '../../core/crypto/constant-time.ts';

/** Who may use a proxy: everybody who reaches its port, or whoever knows one name and password. */
export class ProxyUser {
  readonly #digest: Uint8Array;

  constructor(user: string, password: string) {
    this.#digest = digestOf(utf8(user), utf8(password));
  }

  /** In time that does not depend on what is wrong. */
  matches(user: Uint8Array, password: Uint8Array): boolean {
    return equalSecrets(this.#digest, digestOf(user, password));
  }
}

/** Equal lengths for the comparison; the length of the name keeps `ab`+`c` from being `a`+`bc`. */
function digestOf(user: Uint8Array, password: Uint8Array): Uint8Array {
  return createHash('sha256')
    .update(Uint8Array.of(user.length >> 8, user.length & 0xff))
    .update(user)
    .update(password)
    .digest();
}
