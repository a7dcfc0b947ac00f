import {
  createDiffieHellman,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  getDiffieHellman,
  type KeyPairKeyObjectResult,
} from 'node:crypto';
import { compareBytes, fromHex, toHex } from '../../bytes/bytes.ts';
import type { KeyExchangeMethod, KeyExchangeOffer } from '../key-exchange.ts';
import { keyOctets, leftPad, plain } from '../octets.ts';
import { readAll, readOnly, Tag, writeInteger, writeTlv } from '../signatures/der.ts';
import { MODP_NUMBERS, type ModpNumbers } from './modp-numbers.ts';
import { checkLength, checkSeed, destroyedOffer, invalidPublicValue } from './public-value.ts';

interface ModpGroup {
  readonly id: number;
  readonly name: string;
  /** node:crypto's name, or the numbers. */
  readonly group: string | ModpNumbers;
  readonly bits: number;
  /** Octets of a private exponent that is taken from a seed: between the two estimates of RFC 3526 §8, or those of the order. */
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

  /** RFC 6989 §2.1: 1 < y < p - 1. Where p is a safe prime that is all; else y must lie in the subgroup besides (RFC 6989 §2.2). */
  const check = (value: Uint8Array): void => {
    checkLength(group.name, value, length);
    largest ??= pMinusOne(numbersOf(group.group).prime, length);
    if (compareBytes(value, one(length)) <= 0) throw invalidPublicValue(group.name, 'is 0 or 1', 'RFC 6989 §2.1');
    if (compareBytes(value, largest) >= 0) throw invalidPublicValue(group.name, 'is not below p - 1', 'RFC 6989 §2.1');
    if (!isInSubgroup(value, group.group)) throw invalidPublicValue(group.name, 'is not in the subgroup of prime order', 'RFC 6989 §2.2');
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

function drawnPair({ group }: ModpGroup, length: number): Pair {
  if (typeof group === 'object' && group.order === undefined) return keyPair(group, length);
  const dh = typeof group === 'string' ? getDiffieHellman(group) : createDiffieHellman(plain(group.prime), plain(group.generator));
  return { publicValue: leftPad(dh.generateKeys(), length), agree: (peerPublic) => leftPad(dh.computeSecret(peerPublic), length) };
}

/** Of a group that OpenSSL does not know by its numbers: each `DiffieHellman` would test the prime anew, a pair of keys does not. */
function keyPair({ prime, generator }: ModpNumbers, length: number): Pair {
  const { privateKey, publicKey } = generateDhKeyPair('dh', { prime, generator: generator[0]! });
  // RFC 5280 §4.1: SubjectPublicKeyInfo, with the numbers of the group in its algorithm.
  const spki = readOnly(publicKey.export({ format: 'der', type: 'spki' }), Tag.SEQUENCE)!;
  const [algorithm, value] = readAll(spki.value, 2)!;
  return {
    publicValue: leftPad(magnitude(readOnly(value!.value.subarray(1), Tag.INTEGER)!.value), length),
    agree(peerPublic) {
      const point = writeTlv(Tag.BIT_STRING, Uint8Array.of(0), writeInteger(peerPublic));
      const key = keyOctets(writeTlv(Tag.SEQUENCE, algorithm!.raw, point));
      return leftPad(diffieHellman({ privateKey, publicKey: createPublicKey({ key, format: 'der', type: 'spki' }) }), length);
    },
  };
}

/** The types of node:crypto pass over `dh`. */
const generateDhKeyPair = generateKeyPairSync as unknown as (
  type: 'dh',
  options: { readonly prime: Uint8Array; readonly generator: number },
) => KeyPairKeyObjectResult;

const magnitude = (integer: Uint8Array): Uint8Array => (integer[0] === 0 ? integer.subarray(1) : integer);

/** `y^q = 1 mod p`: public values alone, so its time may depend on them. */
const isInSubgroup = (value: Uint8Array, group: ModpGroup['group']): boolean =>
  typeof group === 'string' || group.order === undefined || power(toBigInt(value), toBigInt(group.order), toBigInt(group.prime)) === 1n;

function numbersOf(group: ModpGroup['group']): ModpNumbers {
  if (typeof group === 'object') return group;
  const named = getDiffieHellman(group);
  return { prime: named.getPrime(), generator: named.getGenerator() };
}

/**
 * For simulations alone, since its time depends on the private value: node:crypto takes one only together with a prime whose
 * primality newer OpenSSL then tests for seconds.
 */
function seededPair(group: ModpGroup, length: number, seed: Uint8Array): Pair {
  const numbers = numbersOf(group.group);
  const prime = toBigInt(numbers.prime);
  const drawn = toBigInt(seed);
  const exponent = drawn < 2n ? drawn + 2n : drawn;
  return {
    publicValue: fromBigInt(power(toBigInt(numbers.generator), exponent, prime), length),
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

function pMinusOne(prime: Uint8Array, length: number): Uint8Array {
  const value = new Uint8Array(leftPad(prime, length));
  value[length - 1]! -= 1;
  return value;
}

function one(length: number): Uint8Array {
  const value = new Uint8Array(length);
  value[length - 1] = 1;
  return value;
}

/** RFC 7296 B.2 (2), RFC 3526 (5, 14 to 18) and RFC 5114 (22 to 24); `opt-in.ts` says which of them are for peers that know nothing better. */
export const MODP_METHODS: readonly KeyExchangeMethod[] = [
  modp({ id: 2, name: 'MODP_1024', group: MODP_NUMBERS[2], bits: 1024, exponentLength: 24 }),
  modp({ id: 5, name: 'MODP_1536', group: 'modp5', bits: 1536, exponentLength: 28 }),
  modp({ id: 14, name: 'MODP_2048', group: 'modp14', bits: 2048, exponentLength: 48 }),
  modp({ id: 15, name: 'MODP_3072', group: 'modp15', bits: 3072, exponentLength: 48 }),
  modp({ id: 16, name: 'MODP_4096', group: 'modp16', bits: 4096, exponentLength: 64 }),
  modp({ id: 17, name: 'MODP_6144', group: 'modp17', bits: 6144, exponentLength: 64 }),
  modp({ id: 18, name: 'MODP_8192', group: 'modp18', bits: 8192, exponentLength: 80 }),
  modp({ id: 22, name: 'MODP_1024_160', group: MODP_NUMBERS[22], bits: 1024, exponentLength: 20 }),
  modp({ id: 23, name: 'MODP_2048_224', group: MODP_NUMBERS[23], bits: 2048, exponentLength: 28 }),
  modp({ id: 24, name: 'MODP_2048_256', group: MODP_NUMBERS[24], bits: 2048, exponentLength: 32 }),
];
