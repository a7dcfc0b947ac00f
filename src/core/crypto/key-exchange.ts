import { ECP_METHODS } from './key-exchange/ecp.ts';
import { KEM_METHODS } from './key-exchange/ml-kem.ts';
import { MODP_METHODS } from './key-exchange/modp.ts';
import { MONTGOMERY_METHODS } from './key-exchange/montgomery.ts';

/**
 * Transform Type 4 (and ADDKE1 to ADDKE7): one shape for Diffie-Hellman and KEM alike. The initiator makes an offer, the responder
 * accepts it, the initiator finishes with what came back.
 */
export interface KeyExchangeMethod {
  readonly id: number;
  /** As IANA registers it. */
  readonly name: string;
  readonly kind: 'modp' | 'ecp' | 'montgomery' | 'kem';
  /** Octets of KE data that the initiator sends. */
  readonly initiatorLength: number;
  /** Octets of KE data that the responder sends. */
  readonly responderLength: number;
  /** Octets of seed that `offer` and `accept` take to be deterministic. */
  readonly seedLength: number;
  /** What computes it here, where that is not OpenSSL alone. */
  readonly provider?: string;
  /** OpenSSL's names of the curves that it is made of. */
  readonly needs: readonly string[];
  /** @param seed for tests and simulations only; without one the platform's generator is used. */
  offer(seed?: Uint8Array): KeyExchangeOffer;
  /** Throws `PeerViolation` with code `INVALID_PUBLIC_VALUE` when the value is not one that a conforming peer sends (RFC 6989). */
  accept(peerPublic: Uint8Array, seed?: Uint8Array): { readonly publicValue: Uint8Array; readonly sharedSecret: Uint8Array };
}

export interface KeyExchangeOffer {
  /** IANA id. */
  readonly method: number;
  readonly publicValue: Uint8Array;
  /** The shared secret. Throws `PeerViolation` with code `INVALID_PUBLIC_VALUE` like `accept`. */
  finish(peerPublic: Uint8Array): Uint8Array;
  /** Forgets the private value. */
  destroy(): void;
}

export const keyExchange = (id: number): KeyExchangeMethod | undefined => METHODS.get(id);
export const keyExchangeMethods = (): readonly KeyExchangeMethod[] => [...METHODS.values()];

const METHODS: ReadonlyMap<number, KeyExchangeMethod> = new Map(
  [...MODP_METHODS, ...ECP_METHODS, ...MONTGOMERY_METHODS, ...KEM_METHODS].map((method) => [method.id, method]),
);
