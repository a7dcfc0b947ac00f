import { createDiffieHellman, type DiffieHellman, type DiffieHellmanGroup, getDiffieHellman } from 'node:crypto';
import { compareBytes } from '../../bytes/bytes.ts';
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

  const pair = (seed: Uint8Array | undefined): DiffieHellman | DiffieHellmanGroup => {
    if (seed === undefined) {
      const dh = getDiffieHellman(group.group);
      dh.generateKeys();
      return dh;
    }
    checkSeed(group.name, seed, seedLength);
    const named = getDiffieHellman(group.group);
    const dh = createDiffieHellman(named.getPrime(), named.getGenerator());
    dh.setPrivateKey(atLeastTwo(seed));
    dh.generateKeys();
    return dh;
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
      let dh: DiffieHellman | DiffieHellmanGroup | undefined = pair(seed);
      const offer: KeyExchangeOffer = {
        method: group.id,
        publicValue: leftPad(dh.getPublicKey(), length),
        finish(peerPublic) {
          if (dh === undefined) throw destroyedOffer();
          check(peerPublic);
          return leftPad(dh.computeSecret(peerPublic), length);
        },
        destroy() {
          dh = undefined;
        },
      };
      return offer;
    },
    accept(peerPublic, seed) {
      check(peerPublic);
      const dh = pair(seed);
      return { publicValue: leftPad(dh.getPublicKey(), length), sharedSecret: leftPad(dh.computeSecret(peerPublic), length) };
    },
  };
}

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

/** A seed of zeros must not become a private value that gives itself away. */
function atLeastTwo(seed: Uint8Array): Uint8Array {
  const exponent = new Uint8Array(seed);
  exponent[exponent.length - 1]! |= seed.subarray(0, -1).some((octet) => octet !== 0) || seed.at(-1)! > 1 ? 0 : 2;
  return exponent;
}

/** RFC 3526. */
export const MODP_METHODS: readonly KeyExchangeMethod[] = [
  modp({ id: 14, name: 'MODP_2048', group: 'modp14', bits: 2048, exponentLength: 48 }),
  modp({ id: 15, name: 'MODP_3072', group: 'modp15', bits: 3072, exponentLength: 48 }),
  modp({ id: 16, name: 'MODP_4096', group: 'modp16', bits: 4096, exponentLength: 64 }),
  modp({ id: 17, name: 'MODP_6144', group: 'modp17', bits: 6144, exponentLength: 64 }),
  modp({ id: 18, name: 'MODP_8192', group: 'modp18', bits: 8192, exponentLength: 80 }),
];
