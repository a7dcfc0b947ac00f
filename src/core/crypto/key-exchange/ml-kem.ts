import { ml_kem512, ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import type { KeyExchangeMethod, KeyExchangeOffer } from '../key-exchange.ts';
import { nativeKem } from './native-kem.ts';
import { checkLength, checkSeed, destroyedOffer, invalidPublicValue } from './public-value.ts';

/** One way to compute ML-KEM. Lengths were checked before; `encapsulate` throws for a key that FIPS 203 §7.2 refuses. */
export interface KemImplementation {
  readonly provider: string;
  keygen(): { readonly publicKey: Uint8Array; decapsulate(ciphertext: Uint8Array): Uint8Array; destroy(): void };
  encapsulate(publicKey: Uint8Array): { readonly ciphertext: Uint8Array; readonly sharedSecret: Uint8Array };
}

/**
 * The pure TypeScript code is slow until the compiler has seen it: one handshake in advance spares the first peer that wait.
 * Does nothing where OpenSSL computes ML-KEM.
 */
export function warmUpMlKem(): void {
  for (const method of KEM_METHODS) {
    if (method.provider !== NOBLE) continue;
    const offer = method.offer();
    offer.finish(method.accept(offer.publicValue).publicValue);
    offer.destroy();
  }
}

interface ParameterSet {
  readonly id: number;
  readonly name: string;
  readonly kem: typeof ml_kem768;
  readonly publicKeyLength: number;
  readonly ciphertextLength: number;
}

/** RFC 9370 carries KEMs; draft-ietf-ipsecme-ikev2-mlkem: encapsulation key one way, ciphertext the other. */
function mlKem(set: ParameterSet): KeyExchangeMethod {
  const implementation = (seed: Uint8Array | undefined): KemImplementation => {
    if (seed === undefined) return IMPLEMENTATIONS.get(set.id)!;
    checkSeed(set.name, seed, SEED_LENGTH);
    return noble(set.kem, seed);
  };
  return {
    id: set.id,
    name: set.name,
    kind: 'kem',
    initiatorLength: set.publicKeyLength,
    responderLength: set.ciphertextLength,
    seedLength: SEED_LENGTH,
    provider: IMPLEMENTATIONS.get(set.id)!.provider,
    needs: [],
    offer(seed) {
      let pair: ReturnType<KemImplementation['keygen']> | undefined = implementation(seed).keygen();
      const offer: KeyExchangeOffer = {
        method: set.id,
        publicValue: pair.publicKey,
        finish(ciphertext) {
          if (pair === undefined) throw destroyedOffer();
          checkLength(set.name, ciphertext, set.ciphertextLength);
          // FIPS 203 §6.3: a forged ciphertext yields another secret, not an error; AUTH then fails.
          return pair.decapsulate(ciphertext);
        },
        destroy() {
          pair?.destroy();
          pair = undefined;
        },
      };
      return offer;
    },
    accept(peerPublic, seed) {
      checkLength(set.name, peerPublic, set.publicKeyLength);
      const kem = implementation(seed);
      try {
        const { ciphertext, sharedSecret } = kem.encapsulate(peerPublic);
        return { publicValue: ciphertext, sharedSecret };
      } catch {
        throw invalidPublicValue(set.name, 'has a coefficient that is not reduced', 'FIPS 203 §7.2');
      }
    },
  };
}

/** @param seed d | z for key generation (FIPS 203 §7.1), of which an encapsulation takes the first 32 octets as m (§7.2). */
function noble(kem: typeof ml_kem768, seed?: Uint8Array): KemImplementation {
  return {
    provider: NOBLE,
    keygen() {
      const { publicKey, secretKey } = kem.keygen(seed);
      return { publicKey, decapsulate: (ciphertext) => kem.decapsulate(ciphertext, secretKey), destroy: () => secretKey.fill(0) };
    },
    encapsulate(publicKey) {
      const { cipherText, sharedSecret } = kem.encapsulate(publicKey, seed?.subarray(0, 32));
      return { ciphertext: cipherText, sharedSecret };
    },
  };
}

const SEED_LENGTH = 64;
const NOBLE = '@noble/post-quantum';

const PARAMETER_SETS: readonly ParameterSet[] = [
  { id: 35, name: 'ML_KEM_512', kem: ml_kem512, publicKeyLength: 800, ciphertextLength: 768 },
  { id: 36, name: 'ML_KEM_768', kem: ml_kem768, publicKeyLength: 1184, ciphertextLength: 1088 },
  { id: 37, name: 'ML_KEM_1024', kem: ml_kem1024, publicKeyLength: 1568, ciphertextLength: 1568 },
];

const IMPLEMENTATIONS: ReadonlyMap<number, KemImplementation> = new Map(
  PARAMETER_SETS.map((set) => [set.id, nativeKem(set.id) ?? noble(set.kem)]),
);

export const KEM_METHODS: readonly KeyExchangeMethod[] = PARAMETER_SETS.map(mlKem);
