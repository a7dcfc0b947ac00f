import type { PacketBurst } from './packet-burst.ts';

/**
 * What protects one direction of an SA. An IKE message with an SK payload (RFC 7296 §3.14) and an ESP packet (RFC 4303 §2)
 * have the same shape, so one interface serves both:
 *
 *     head | IV | body | ICV
 *
 * `head` is authenticated only (IKE header … SK generic header; SPI and sequence number), `body` is encrypted, ICV covers
 * both. The buffer is worked on in place; nothing is allocated per packet beyond what node:crypto itself needs.
 */
export interface PacketCipher {
  /** Octets of the explicit IV on the wire; 0 where there is none. */
  readonly ivLength: number;
  /** Octets of the ICV (AEAD tag or truncated MAC). */
  readonly icvLength: number;
  /** `body` must be a multiple of this many octets (1 for AEAD and CTR; the caller aligns ESP to 4 by itself). */
  readonly blockLength: number;
  /**
   * `counter`: the IV must never repeat under one key (AEAD, CTR). `random`: it must be unpredictable (CBC). `none`: NULL.
   * `implicit`: it is the sequence number in the head, which therefore must never repeat, and takes no room (RFC 8750 §4).
   */
  readonly ivKind: 'counter' | 'random' | 'none' | 'implicit';

  /**
   * Encrypts `buffer[start+headLength+ivLength, end)` in place and writes the ICV at `end`. The IV stands in the buffer already.
   * @param esnHigh high 32 bits of an extended sequence number, part of what is authenticated but not sent (RFC 4303 §2.2.1);
   *   absent without ESN. AEAD then authenticates SPI | high | low (RFC 4106 §5), a MAC covers the high word behind the body.
   * @returns the offset behind the ICV. The buffer must have room for it.
   */
  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number;

  /**
   * Verifies the ICV in constant time, then decrypts in place.
   * @param end offset behind the ICV
   * @returns the offset behind the body (where the ICV began), or -1 when the ICV is wrong or lengths do not fit. Never throws for bad bytes.
   */
  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number;

  /** As `seal` for every packet of the burst, where it costs less than one by one. @throws what `seal` does; then none of them may be sent */
  sealBurst?(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void;

  /** As `open` for every packet of the burst, where it costs less than one by one: what `open` would return goes to `burst.opened`. */
  openBurst?(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void;

  /** Overwrites the key material; the cipher is unusable afterwards. */
  destroy(): void;
}

export interface CipherKeys {
  /** IANA ENCR id. */
  readonly encryption: number;
  /** Bits, for transforms that carry the Key Length attribute. */
  readonly keyLength?: number | undefined;
  /** Key followed by its salt, where the transform has one (RFC 5282 §7.1, RFC 4106 §8.1). Copied; the caller zeroises its own. */
  readonly encryptionKey: Uint8Array;
  /** IANA INTEG id; absent or 0 for AEAD. */
  readonly integrity?: number | undefined;
  readonly integrityKey?: Uint8Array | undefined;
}
