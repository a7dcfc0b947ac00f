import { EMPTY } from '../../bytes/bytes.ts';
import { equalSecrets, publicSha256, type RandomSource } from '../../crypto/index.ts';
import type { Millis } from '../effects.ts';

/**
 * The responder's stateless proof that an initiator can receive at the address it sends from, RFC 7296 §2.6:
 * Cookie = <VersionIDofSecret> | Hash(IPi | SPIi | Ni | <secret>). Two secrets overlap, so that a rotation refuses nobody. A flood asks for
 * one with every datagram: nothing is allocated but the cookie.
 */
export class CookieJar {
  readonly #random: RandomSource;
  readonly #hashed = new Uint8Array(1 + LONGEST_IP + SPI_LENGTH + LONGEST_NONCE + SECRET_LENGTH);
  #current: Secret | undefined;
  #previous: Secret | undefined;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** @param ip in the form that `formatIp` prints */
  bake(ip: string, spiI: Uint8Array, Ni: Uint8Array, now: Millis): Uint8Array {
    return this.#cookieOf(this.#rotate(now), ip, spiI, Ni);
  }

  check(cookie: Uint8Array, ip: string, spiI: Uint8Array, Ni: Uint8Array, now: Millis): boolean {
    const current = this.#rotate(now);
    const baked = current.version === cookie[0] ? current : this.#previous;
    return baked?.version === cookie[0] && equalSecrets(cookie, this.#cookieOf(baked!, ip, spiI, Ni));
  }

  #rotate(now: Millis): Secret {
    if (this.#current === undefined || now - this.#current.since >= SECRET_LIFE) {
      const stale = this.#current === undefined || now - this.#current.since >= 2 * SECRET_LIFE;
      this.#previous = stale ? undefined : this.#current;
      this.#current = { version: ((this.#current?.version ?? 0) + 1) & 0xff, secret: this.#random.secret(SECRET_LENGTH), since: now };
    }
    return this.#current;
  }

  /** The source port is left out on purpose: a NAT may give the retry another one. The length of the address tells it from what follows. */
  #cookieOf({ version, secret }: Secret, ip: string, spiI: Uint8Array, Ni: Uint8Array): Uint8Array {
    const hashed = this.#hashed;
    let at = 0;
    hashed[at++] = ip.length;
    for (let i = 0; i < ip.length; i++) hashed[at++] = ip.charCodeAt(i);
    hashed.set(spiI, at);
    at += SPI_LENGTH;
    hashed.set(Ni, at);
    at += Ni.length;
    hashed.set(secret, at);
    const digest = publicSha256(hashed.subarray(0, at + SECRET_LENGTH));
    const cookie = new Uint8Array(1 + COOKIE_DIGEST);
    cookie[0] = version;
    for (let i = 0; i < COOKIE_DIGEST; i++) cookie[1 + i] = digest[i]!;
    return cookie;
  }
}

interface Secret {
  readonly version: number;
  readonly secret: Uint8Array;
  readonly since: Millis;
}

/** RFC 7296 §2.6: 1 to 64 octets. */
export const isCookie = (data: Uint8Array = EMPTY): boolean => data.length >= 1 && data.length <= 64;

const SECRET_LENGTH = 32;
/** Of the SHA-256 digest: as hard to guess as needed, and the answer stays short. */
const COOKIE_DIGEST = 16;
/** An initiator behind a slow path still returns its cookie within this time. */
const SECRET_LIFE: Millis = 60_000;
/** As text. */
const LONGEST_IP = 45;
const SPI_LENGTH = 8;
const LONGEST_NONCE = 256;
