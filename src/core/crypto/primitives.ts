import type { CipherKeys, PacketCipher } from './packet-cipher.ts';
import { createPacketCipher } from './packet-ciphers.ts';
import { type PrfTransform, prf } from './transforms.ts';

/** What an SA computes with, by the ids that were negotiated. An argument where a simulation brings its own; lengths are those of the registry in any case. */
export interface Primitives {
  /** Undefined for an id that nobody here knows. */
  readonly prf: (id: number) => PrfTransform | undefined;
  readonly createPacketCipher: (keys: CipherKeys) => PacketCipher;
}

/** The real ones. */
export const PRIMITIVES: Primitives = { prf, createPacketCipher };
