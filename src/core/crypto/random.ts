/**
 * Randomness as an argument, drawn under a label, so that a test can script exactly one kind of draw. AEAD and CTR IVs are
 * counters of the SA and are never drawn.
 */
export interface RandomSource {
  /** Ni, Nr: 16 to 256 octets (RFC 7296 §2.10). */
  nonce(length: number): Uint8Array;
  /** An IKE SPI: 8 octets, not all zero. */
  ikeSpi(): Uint8Array;
  /** An ESP or AH SPI: above 255 (RFC 4303 §2.1). */
  childSpi(): number;
  cbcIv(length: number): Uint8Array;
  /**
   * Seed of a key pair or encapsulation for a key exchange method, `length` octets; undefined lets the platform generate it,
   * which is faster and the normal case. The simulator returns seeded bytes.
   */
  keySeed(method: number, length: number): Uint8Array | undefined;
  /** Uniform in [0, 1): lifetimes, retransmission. */
  jitter(): number;
  /** Anything else that must be unpredictable: cookie secrets, COOKIE2, tokens. */
  secret(length: number): Uint8Array;
}
