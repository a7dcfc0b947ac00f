import { createECDH, type ECDH } from 'node:crypto';
import { sha512 } from '../hash.ts';
import type { KeyExchangeMethod, KeyExchangeOffer } from '../key-exchange.ts';
import { leftPad, plain } from '../octets.ts';
import { checkLength, checkSeed, destroyedOffer, invalidPublicValue } from './public-value.ts';

interface EcpGroup {
  readonly id: number;
  readonly name: string;
  /** OpenSSL's name of the curve. */
  readonly curve: string;
  readonly bits: number;
}

function ecp(group: EcpGroup): KeyExchangeMethod {
  const field = Math.ceil(group.bits / 8);
  const length = 2 * field;

  const pair = (seed: Uint8Array | undefined): ECDH => {
    const ecdh = createECDH(group.curve);
    if (seed === undefined) ecdh.generateKeys();
    else {
      checkSeed(group.name, seed, field);
      setScalar(ecdh, seed, group.bits);
    }
    return ecdh;
  };

  /** RFC 5903 §7: the value is x | y, without the octet 04 in front. */
  const publicValue = (ecdh: ECDH): Uint8Array => plain(ecdh.getPublicKey()).subarray(1);

  /** RFC 5903 §9, errata: the shared secret is the x coordinate alone. */
  const agree = (ecdh: ECDH, peerPublic: Uint8Array): Uint8Array => {
    checkLength(group.name, peerPublic, length);
    const point = new Uint8Array(1 + length);
    point[0] = 4;
    point.set(peerPublic, 1);
    try {
      // RFC 6989 §2.3: OpenSSL refuses coordinates outside the field and points that are not on the curve.
      return leftPad(ecdh.computeSecret(point), field);
    } catch {
      throw invalidPublicValue(group.name, 'is not a point of the curve', 'RFC 6989 §2.3');
    }
  };

  return {
    id: group.id,
    name: group.name,
    kind: 'ecp',
    initiatorLength: length,
    responderLength: length,
    seedLength: field,
    needs: [group.curve],
    offer(seed) {
      let ecdh: ECDH | undefined = pair(seed);
      const offer: KeyExchangeOffer = {
        method: group.id,
        publicValue: publicValue(ecdh),
        finish(peerPublic) {
          if (ecdh === undefined) throw destroyedOffer();
          return agree(ecdh, peerPublic);
        },
        destroy() {
          ecdh = undefined;
        },
      };
      return offer;
    },
    accept(peerPublic, seed) {
      const ecdh = pair(seed);
      const sharedSecret = agree(ecdh, peerPublic);
      return { publicValue: publicValue(ecdh), sharedSecret };
    },
  };
}

/** Takes the seed as the private scalar; one outside 1 … n - 1 is hashed until it fits, which only a seed of a simulation needs. */
function setScalar(ecdh: ECDH, seed: Uint8Array, bits: number): void {
  let candidate = new Uint8Array(seed);
  for (let attempt = 0; attempt < 64; attempt++) {
    candidate[0]! &= 0xff >>> (8 * candidate.length - bits);
    try {
      ecdh.setPrivateKey(candidate);
      return;
    } catch {
      const next = new Uint8Array(seed.length);
      next.set(sha512(candidate).subarray(0, seed.length));
      candidate = next;
    }
  }
}

/** RFC 5903 (19 to 21), RFC 5114 §2.4 and §2.5 (25 and 26), RFC 6954 (27 to 30): one encoding for all of them. */
export const ECP_METHODS: readonly KeyExchangeMethod[] = [
  ecp({ id: 19, name: 'ECP_256', curve: 'prime256v1', bits: 256 }),
  ecp({ id: 20, name: 'ECP_384', curve: 'secp384r1', bits: 384 }),
  ecp({ id: 21, name: 'ECP_521', curve: 'secp521r1', bits: 521 }),
  ecp({ id: 25, name: 'ECP_192', curve: 'prime192v1', bits: 192 }),
  ecp({ id: 26, name: 'ECP_224', curve: 'secp224r1', bits: 224 }),
  ecp({ id: 27, name: 'BRAINPOOL_P224R1', curve: 'brainpoolP224r1', bits: 224 }),
  ecp({ id: 28, name: 'BRAINPOOL_P256R1', curve: 'brainpoolP256r1', bits: 256 }),
  ecp({ id: 29, name: 'BRAINPOOL_P384R1', curve: 'brainpoolP384r1', bits: 384 }),
  ecp({ id: 30, name: 'BRAINPOOL_P512R1', curve: 'brainpoolP512r1', bits: 512 }),
];
