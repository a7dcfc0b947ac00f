import { isAllZero, type KeyExchangeMethod } from '../../../core/crypto/index.ts';
import type { Native, NativeBuffer } from './ffi.ts';
import type { Evp } from './openssl.ts';
import { isDefaultProvidersExchange } from './provider.ts';

/** Octets of one key exchange, of up to 56 each: where they stand in the place that native code works on. */
export const MONTGOMERY = { private: 0, peer: 64, public: 128, secret: 192, length: 256, end: 264 } as const;

/**
 * Makes the public value and the secret, of the private one and the peer's, all in the place.
 * @returns false where the secret would be zero: the peer's value is of low order
 */
export type Agreement = () => boolean;

/**
 * What OpenSSL's default provider does X25519 and X448 with, below EVP: two calls that work on octets where they stand, and no key, no context, and no
 * look-up of either by its name, all of which EVP has in each exchange. Used where `isDefaultProvidersExchange` allows it, after a pair and a secret
 * were those of `core/crypto` and a value of low order was refused.
 * @returns undefined for what is left to EVP
 */
export function providerAgreement(native: Native, evp: Evp, place: NativeBuffer, plain: KeyExchangeMethod): Agreement | undefined {
  const curve = CURVES[plain.id];
  if (curve === undefined || !isDefaultProvidersExchange(native, evp, curve)) return undefined;
  const calls = callsOf(native, `ossl_${curve.toLowerCase()}`);
  if (calls === undefined) return undefined;
  const { address } = place;
  const agree = (): boolean => {
    calls.multiplyBase(address + MONTGOMERY.public, address + MONTGOMERY.private);
    return calls.multiply(address + MONTGOMERY.secret, address + MONTGOMERY.private, address + MONTGOMERY.peer) === 1;
  };
  return agreesAs(agree, place, plain) ? agree : undefined;
}

interface Calls {
  /** @returns 0 where all of the result is zero */
  multiply(to: number, scalar: number, point: number): number;
  multiplyBase(to: number, scalar: number): void;
}

/** Undefined where this Node is linked against a library that keeps them to itself. */
function callsOf(native: Native, name: string): Calls | undefined {
  const { dlsym } = native.functions<{ dlsym(everywhere: 0, name: string): number }>(DLSYM);
  const [multiply, multiplyBase] = [dlsym(0, name), dlsym(0, `${name}_public_from_private`)];
  if (multiply === 0 || multiplyBase === 0) return undefined;
  return {
    multiply: native.functionAt(multiply, 'int (uintptr_t to, uintptr_t scalar, uintptr_t point)'),
    multiplyBase: native.functionAt(multiplyBase, 'void (uintptr_t to, uintptr_t scalar)'),
  };
}

/** With values that are known: what `core/crypto` makes of them, and nothing with one of low order. */
function agreesAs(agree: Agreement, { octets }: NativeBuffer, plain: KeyExchangeMethod): boolean {
  const length = plain.responderLength;
  const [own, other] = [5, 11].map((by) => Uint8Array.from({ length }, (_, i) => 1 + by * i)) as [Uint8Array, Uint8Array];
  const peer = plain.offer(other).publicValue;
  const { publicValue, sharedSecret } = plain.accept(peer, own);
  const holds = (at: number, expected: Uint8Array): boolean => expected.every((octet, i) => octets[at + i] === octet);
  try {
    octets.set(own, MONTGOMERY.private);
    octets.set(peer, MONTGOMERY.peer);
    if (!agree() || !holds(MONTGOMERY.public, publicValue) || !holds(MONTGOMERY.secret, sharedSecret)) return false;
    octets.fill(0, MONTGOMERY.peer, MONTGOMERY.peer + length);
    return !agree() && isAllZero(octets.subarray(MONTGOMERY.secret, MONTGOMERY.secret + length));
  } finally {
    octets.fill(0, 0, MONTGOMERY.end);
  }
}

const DLSYM = { dlsym: 'uintptr_t dlsym(uintptr_t everywhere, const char *name)' };

/** OpenSSL's names, by the id of the method; its functions take octets of one length each (RFC 7748 §5). */
const CURVES: Readonly<Record<number, string | undefined>> = { 31: 'X25519', 32: 'X448' };
