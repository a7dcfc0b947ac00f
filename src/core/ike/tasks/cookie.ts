import { concat, EMPTY } from '../../bytes/bytes.ts';
import { type Address, parseIp } from '../../bytes/ip-address.ts';
import { equalSecrets, type RandomSource, sha256 } from '../../crypto/index.ts';
import type { Millis } from '../effects.ts';

/**
 * The responder's stateless proof that an initiator can receive at the address it sends from, RFC 7296 §2.6:
 * Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>). Two secrets overlap, so that a rotation refuses nobody.
 */
export class CookieJar {
  readonly #random: RandomSource;
  #current: { readonly version: number; readonly secret: Uint8Array; readonly since: Millis } | undefined;
  #previous: { readonly version: number; readonly secret: Uint8Array } | undefined;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  bake(from: Address, spiI: Uint8Array, Ni: Uint8Array, now: Millis): Uint8Array {
    const { version, secret } = this.#rotate(now);
    return cookieOf(version, secret, from, spiI, Ni);
  }

  check(cookie: Uint8Array, from: Address, spiI: Uint8Array, Ni: Uint8Array, now: Millis): boolean {
    this.#rotate(now);
    const baked = [this.#current, this.#previous].find((s) => s?.version === cookie[0]);
    return baked !== undefined && equalSecrets(cookie, cookieOf(baked.version, baked.secret, from, spiI, Ni));
  }

  #rotate(now: Millis): { readonly version: number; readonly secret: Uint8Array } {
    if (this.#current === undefined || now - this.#current.since >= SECRET_LIFE) {
      const stale = this.#current === undefined || now - this.#current.since >= 2 * SECRET_LIFE;
      this.#previous = stale ? undefined : this.#current;
      this.#current = { version: ((this.#current?.version ?? 0) + 1) & 0xff, secret: this.#random.secret(SECRET_LENGTH), since: now };
    }
    return this.#current;
  }
}

/** The source port is left out on purpose: a NAT may give the retry another one. */
function cookieOf(version: number, secret: Uint8Array, { ip }: Address, spiI: Uint8Array, Ni: Uint8Array): Uint8Array {
  return concat(new Uint8Array([version]), sha256(concat(Ni, parseIp(ip), spiI, secret)));
}

/** RFC 7296 §2.6: 1 to 64 octets. */
export const isCookie = (data: Uint8Array = EMPTY): boolean => data.length >= 1 && data.length <= 64;

const SECRET_LENGTH = 32;
/** An initiator behind a slow path still returns its cookie within this time. */
const SECRET_LIFE: Millis = 60_000;
