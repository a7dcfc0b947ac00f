import { createPrivateKey } from 'node:crypto';
import { concat, fromHex, toHex } from '../core/bytes/index.ts';
import { importPrivateKey, type KeyObject } from '../core/crypto/index.ts';
import type { SeededRandom } from './seeded.ts';

/** An Ed25519 private key made of 32 seeded octets (RFC 8410 §7). */
export const seededEd25519 = (random: SeededRandom): KeyObject =>
  importPrivateKey(concat(fromHex('302e020100300506032b657004220420'), random.bytes(32)));

/**
 * An RSA private key from seeded primes, so that a seed replays to the octet. As weak as the seed: for simulations only.
 * @param bits of the modulus; costs a few hundred milliseconds at 2048
 */
export function seededRsa(random: SeededRandom, bits = 2048): KeyObject {
  const e = 65_537n;
  for (;;) {
    const p = seededPrime(random, bits / 2);
    const q = seededPrime(random, bits / 2);
    const phi = (p - 1n) * (q - 1n);
    if (p === q || phi % e === 0n) continue;
    const d = inverse(e, phi);
    const [n, dp, dq, qi] = [p * q, d % (p - 1n), d % (q - 1n), inverse(q, p)];

    return createPrivateKey({
      format: 'jwk',
      key: {
        kty: 'RSA',
        n: base64url(n),
        e: base64url(e),
        d: base64url(d),
        p: base64url(p),
        q: base64url(q),
        dp: base64url(dp),
        dq: base64url(dq),
        qi: base64url(qi),
      },
    });
  }
}

/** A prime with its two highest bits set, so that the product of two has full length. */
function seededPrime(random: SeededRandom, bits: number): bigint {
  const draw = (): bigint => BigInt(`0x${toHex(random.bytes(bits / 8))}`);
  for (let candidate = draw() | (3n << BigInt(bits - 2)) | 1n; ; candidate += 2n) {
    if (SMALL_PRIMES.some((prime) => candidate % prime === 0n)) continue;
    if (isProbablePrime(candidate, random)) return candidate;
  }
}

/** Miller and Rabin; sixteen rounds leave 4^-16. */
function isProbablePrime(n: bigint, random: SeededRandom): boolean {
  let odd = n - 1n;
  let twos = 0;
  while ((odd & 1n) === 0n) {
    odd >>= 1n;
    twos++;
  }
  for (let round = 0; round < 16; round++) {
    let x = power(BigInt(random.between(2, 0x7fff_ffff)), odd, n);
    if (x === 1n || x === n - 1n) continue;
    let composite = true;
    for (let i = 1; i < twos && composite; i++) {
      x = (x * x) % n;
      if (x === n - 1n) composite = false;
    }
    if (composite) return false;
  }
  return true;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/** Extended Euclid. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b > 0n) {
    const quotient = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}

/** Base64url of the shortest big-endian form (RFC 7518 §2). */
function base64url(value: bigint): string {
  const hex = value.toString(16);
  const octets = fromHex(hex.length % 2 === 0 ? hex : `0${hex}`);
  return btoa(String.fromCharCode(...octets))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

const SMALL_PRIMES: readonly bigint[] = Array.from({ length: 2000 }, (_, i) => i + 2)
  .filter((n) => Array.from({ length: Math.floor(Math.sqrt(n)) - 1 }, (_, k) => k + 2).every((k) => n % k !== 0))
  .map(BigInt);
