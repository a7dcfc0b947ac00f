import { EMPTY } from '../../bytes/bytes.ts';
import { equalSecrets, publicSha256, type RandomSource } from '../../crypto/index.ts';
import type { Millis } from '../effects.ts';
import { type Puzzle, readPuzzle } from './puzzle.ts';

/**
 * The responder's stateless proof that an initiator can receive at the address it sends from, RFC 7296 §2.6:
 * Cookie = <VersionIDofSecret> | [Puzzle |] Hash([Puzzle |] IPi | SPIi | Ni | <secret>), RFC 8019 §7.1.1.3. Two secrets overlap, so that a rotation refuses nobody. A flood asks for
 * one with every datagram: nothing is allocated but the cookie.
 */
export class CookieJar {
  readonly #random: RandomSource;
  readonly #hashed = new Uint8Array(1 + PUZZLE_INFO + 1 + LONGEST_IP + SPI_LENGTH + LONGEST_NONCE + SECRET_LENGTH);
  #current: Secret | undefined;
  #previous: Secret | undefined;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** @param ip in the form that `formatIp` prints */
  /** @param puzzle that goes with it, to be known again by `puzzleOf` */
  bake(ip: string, spiI: Uint8Array, Ni: Uint8Array, now: Millis, puzzle?: Puzzle): Uint8Array {
    return this.#cookieOf(this.#rotate(now), ip, spiI, Ni, puzzle);
  }

  check(cookie: Uint8Array, ip: string, spiI: Uint8Array, Ni: Uint8Array, now: Millis): boolean {
    const current = this.#rotate(now);
    const baked = current.version === cookie[0] ? current : this.#previous;
    return baked?.version === cookie[0] && equalSecrets(cookie, this.#cookieOf(baked!, ip, spiI, Ni, puzzleOf(cookie)));
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
  #cookieOf({ version, secret }: Secret, ip: string, spiI: Uint8Array, Ni: Uint8Array, puzzle: Puzzle | undefined): Uint8Array {
    const hashed = this.#hashed;
    let at = 0;
    const info = puzzle === undefined ? 0 : PUZZLE_INFO;
    hashed[at++] = info;
    if (puzzle !== undefined) at = writeInfo(hashed, at, puzzle);
    hashed[at++] = ip.length;
    for (let i = 0; i < ip.length; i++) hashed[at++] = ip.charCodeAt(i);
    hashed.set(spiI, at);
    at += SPI_LENGTH;
    hashed.set(Ni, at);
    at += Ni.length;
    hashed.set(secret, at);
    const digest = publicSha256(hashed.subarray(0, at + SECRET_LENGTH));
    const cookie = new Uint8Array(1 + info + COOKIE_DIGEST);
    cookie[0] = version;
    if (puzzle !== undefined) writeInfo(cookie, 1, puzzle);
    for (let i = 0; i < COOKIE_DIGEST; i++) cookie[1 + info + i] = digest[i]!;
    return cookie;
  }
}

/** What a cookie that has been checked was handed out with. */
export const puzzleOf = (cookie: Uint8Array): Puzzle | undefined =>
  cookie.length === 1 + PUZZLE_INFO + COOKIE_DIGEST ? readPuzzle(cookie.subarray(1, 1 + PUZZLE_INFO)) : undefined;

function writeInfo(to: Uint8Array, at: number, { prf, difficulty }: Puzzle): number {
  to[at] = prf >>> 8;
  to[at + 1] = prf & 0xff;
  to[at + 2] = difficulty;
  return at + PUZZLE_INFO;
}

interface Secret {
  readonly version: number;
  readonly secret: Uint8Array;
  readonly since: Millis;
}

/** RFC 7296 §2.6: 1 to 64 octets. */
export const isCookie = (data: Uint8Array = EMPTY): boolean => data.length >= 1 && data.length <= 64;

const SECRET_LENGTH = 32;
/** PRF and difficulty. */
const PUZZLE_INFO = 3;
/** Of the SHA-256 digest: as hard to guess as needed, and the answer stays short. */
const COOKIE_DIGEST = 16;
/** An initiator behind a slow path still returns its cookie within this time. */
const SECRET_LIFE: Millis = 60_000;
/** As text. */
const LONGEST_IP = 45;
const SPI_LENGTH = 8;
const LONGEST_NONCE = 256;
