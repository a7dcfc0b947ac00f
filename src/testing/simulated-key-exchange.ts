import { PeerViolation } from '../core/bytes/index.ts';
import { type KeyExchangeMethod, keyExchange } from '../core/crypto/index.ts';

/**
 * The key exchange methods with their ids and lengths, and nothing of their strength: the shared secret is a mixture of the two public
 * values, so whoever sees them has it. A simulation spends its time elsewhere then. For `EndpointOptions.keyExchange`, on every end.
 */
export function simulatedKeyExchange(id: number): KeyExchangeMethod | undefined {
  const known = METHODS.get(id);
  if (known !== undefined) return known;
  const real = keyExchange(id);
  // The two directions of a KEM differ in length; its own code is quick enough for the few who want it.
  if (real === undefined || real.kind === 'kem') return undefined;
  const made = simulate(real);
  METHODS.set(id, made);
  return made;
}

function simulate(real: KeyExchangeMethod): KeyExchangeMethod {
  const length = real.initiatorLength;
  const check = (peerPublic: Uint8Array): void => {
    if (peerPublic.length === length) return;
    throw new PeerViolation(`${real.name} takes ${length} octets, not ${peerPublic.length}`, { code: 'INVALID_PUBLIC_VALUE' });
  };
  const publicOf = (seed: Uint8Array | undefined): Uint8Array => stretch(mix(seed ?? new Uint8Array(real.seedLength), 1), length);
  return {
    ...real,
    provider: 'simulation',
    offer(seed) {
      const publicValue = publicOf(seed);
      return {
        method: real.id,
        publicValue,
        finish(peerPublic) {
          check(peerPublic);
          return secretOf(publicValue, peerPublic);
        },
        destroy: () => {},
      };
    },
    accept(peerPublic, seed) {
      check(peerPublic);
      const publicValue = publicOf(seed);
      return { publicValue, sharedSecret: secretOf(peerPublic, publicValue) };
    },
  };
}

const secretOf = (initiator: Uint8Array, responder: Uint8Array): Uint8Array =>
  stretch((mix(initiator, 2) ^ Math.imul(mix(responder, 3), 0x9e3779b1)) >>> 0, 32);

/** FNV-1a, 32 bits. */
function mix(data: Uint8Array, salt: number): number {
  let h = 0x811c9dc5 ^ salt;
  for (let i = 0; i < data.length; i++) h = Math.imul(h ^ data[i]!, 0x01000193);
  return h >>> 0;
}

/** A Weyl sequence through the finaliser of MurmurHash3. */
function stretch(start: number, length: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let i = 0, n = 1; i < length; n++) {
    let z = (start + Math.imul(n, 0x9e3779b9)) | 0;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    z ^= z >>> 16;
    for (let k = 0; k < 4 && i < length; k++, i++) data[i] = z >>> (8 * k);
  }
  return data;
}

const METHODS = new Map<number, KeyExchangeMethod>();
