import { ApiMisuse, PeerViolation } from '../../bytes/errors.ts';

/** What the standard answers to a KE payload that cannot be (RFC 7296 §3.10.1, INVALID_SYNTAX). */
const INVALID_SYNTAX = 7;

export function invalidPublicValue(method: string, why: string, section: string): PeerViolation {
  return new PeerViolation(`the peer's public value for ${method} ${why}`, {
    code: 'INVALID_PUBLIC_VALUE',
    notify: INVALID_SYNTAX,
    section,
    hint: 'A conforming peer never sends this: suspect a broken implementation or an attack.',
  });
}

/** RFC 7296 §3.4: the length of the value follows from the method. */
export function checkLength(method: string, value: Uint8Array, expected: number): void {
  if (value.length !== expected) throw invalidPublicValue(method, `has ${value.length} octets instead of ${expected}`, 'RFC 7296 §3.4');
}

export function checkSeed(method: string, seed: Uint8Array, expected: number): void {
  if (seed.length !== expected)
    throw new ApiMisuse(`a seed for ${method} has ${expected} octets, not ${seed.length}`, { code: 'SEED_LENGTH' });
}

export const destroyedOffer = (): ApiMisuse => new ApiMisuse('this key exchange offer was destroyed', { code: 'OFFER_DESTROYED' });
