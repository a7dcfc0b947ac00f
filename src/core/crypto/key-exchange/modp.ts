import { getDiffieHellman } from 'node:crypto';
import { compareBytes, fromHex, toHex } from '../../bytes/bytes.ts';
import type { KeyExchangeMethod, KeyExchangeOffer } from '../key-exchange.ts';
import { leftPad } from '../octets.ts';
import { checkLength, checkSeed, destroyedOffer, invalidPublicValue } from './public-value.ts';

interface ModpGroup {
  readonly id: number;
  readonly name: string;
  /** OpenSSL's name. */
  readonly group: string;
  readonly bits: number;
  /** Octets of a private exponent that is taken from a seed: between the two estimates of RFC 3526 §8. */
  readonly exponentLength: number;
}

/** The private half of one exchange. */
interface Pair {
  readonly publicValue: Uint8Array;
  agree(peerPublic: Uint8Array): Uint8Array;
}

function modp(group: ModpGroup): KeyExchangeMethod {
  const length = group.bits / 8;
  const seedLength = group.exponentLength;
  let largest: Uint8Array | undefined;

  /** RFC 6989 §2.1: 1 < y < p - 1. The primes are safe primes, so no small subgroup is left to check for. */
  const check = (value: Uint8Array): void => {
    checkLength(group.name, value, length);
    largest ??= pMinusOne(group.group, length);
    if (compareBytes(value, one(length)) <= 0) throw invalidPublicValue(group.name, 'is 0 or 1', 'RFC 6989 §2.1');
    if (compareBytes(value, largest) >= 0) throw invalidPublicValue(group.name, 'is not below p - 1', 'RFC 6989 §2.1');
  };

  const pair = (seed: Uint8Array | undefined): Pair => {
    if (seed === undefined) return drawnPair(group, length);
    checkSeed(group.name, seed, seedLength);
    return seededPair(group, length, seed);
  };

  return {
    id: group.id,
    name: group.name,
    kind: 'modp',
    initiatorLength: length,
    responderLength: length,
    seedLength,
    needs: [],
    offer(seed) {
      let drawn: Pair | undefined = pair(seed);
      const offer: KeyExchangeOffer = {
        method: group.id,
        publicValue: drawn.publicValue,
        finish(peerPublic) {
          if (drawn === undefined) throw destroyedOffer();
          check(peerPublic);
          return drawn.agree(peerPublic);
        },
        destroy() {
          drawn = undefined;
        },
      };
      return offer;
    },
    accept(peerPublic, seed) {
      check(peerPublic);
      const { publicValue, agree } = pair(seed);
      return { publicValue, sharedSecret: agree(peerPublic) };
    },
  };
}

function drawnPair(group: ModpGroup, length: number): Pair {
  const dh = getDiffieHellman(group.group);
  return { publicValue: leftPad(dh.generateKeys(), length), agree: (peerPublic) => leftPad(dh.computeSecret(peerPublic), length) };
}

/**
 * For simulations alone, since its time depends on the private value: node:crypto takes one only together with a prime whose
 * primality newer OpenSSL then tests for seconds.
 */
function seededPair(group: ModpGroup, length: number, seed: Uint8Array): Pair {
  const named = getDiffieHellman(group.group);
  const prime = toBigInt(named.getPrime());
  const drawn = toBigInt(seed);
  const exponent = drawn < 2n ? drawn + 2n : drawn;
  return {
    publicValue: fromBigInt(power(toBigInt(named.getGenerator()), exponent, prime), length),
    agree: (peerPublic) => fromBigInt(power(toBigInt(peerPublic), exponent, prime), length),
  };
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = (result * result) % modulus;
    if (bit === '1') result = (result * base) % modulus;
  }
  return result;
}

const toBigInt = (octets: Uint8Array): bigint => BigInt(`0x${toHex(octets)}`);
const fromBigInt = (value: bigint, length: number): Uint8Array => fromHex(value.toString(16).padStart(2 * length, '0'));

function pMinusOne(group: string, length: number): Uint8Array {
  const value = new Uint8Array(leftPad(getDiffieHellman(group).getPrime(), length));
  value[length - 1]! -= 1;
  return value;
}

function one(length: number): Uint8Array {
  const value = new Uint8Array(length);
  value[length - 1] = 1;
  return value;
}

/** RFC 3526. */
export const MODP_METHODS: readonly KeyExchangeMethod[] = [
  modp({ id: 14, name: 'MODP_2048', group: 'modp14', bits: 2048, exponentLength: 48 }),
  modp({ id: 15, name: 'MODP_3072', group: 'modp15', bits: 3072, exponentLength: 48 }),
  modp({ id: 16, name: 'MODP_4096', group: 'modp16', bits: 4096, exponentLength: 64 }),
  modp({ id: 17, name: 'MODP_6144', group: 'modp17', bits: 6144, exponentLength: 64 }),
  modp({ id: 18, name: 'MODP_8192', group: 'modp18', bits: 8192, exponentLength: 80 }),
];
