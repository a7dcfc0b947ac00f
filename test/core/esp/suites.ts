import { concat } from '../../../src/core/bytes/index.ts';
import {
  type CipherKeys,
  createPacketCipher,
  encryptionTransforms,
  integrityTransforms,
  type PacketCipher,
} from '../../../src/core/crypto/index.ts';

export interface Suite {
  readonly name: string;
  /** IANA Transform Type 1. */
  readonly encryption: number;
  /** Depend on the suite alone. */
  readonly keys: CipherKeys;
  /** A fresh cipher under these keys. */
  create(): PacketCipher;
}

/** Every combination that can be negotiated: each cipher with each key length, those without a tag with each MAC. */
export function everySuite(): readonly Suite[] {
  const suites: Suite[] = [];
  for (const transform of encryptionTransforms()) {
    for (const bits of transform.keyLengths) {
      const encryptionKey = concat(new Uint8Array(bits / 8).fill(0x6b), new Uint8Array(transform.saltLength).fill(0x73));
      const base = { encryption: transform.id, keyLength: transform.keyLengthAttribute === 'required' ? bits : undefined, encryptionKey };
      const name = `${transform.name}${bits > 0 ? `-${bits}` : ''}`;
      if (transform.aead) suites.push(suite(name, base));
      else {
        for (const mac of integrityTransforms().filter(({ forEsp }) => forEsp)) {
          const integrityKey = new Uint8Array(mac.keyLength).fill(0x61);
          suites.push(suite(`${name} ${mac.name}`, { ...base, integrity: mac.id, integrityKey }));
        }
      }
    }
  }
  return suites;
}

const suite = (name: string, keys: CipherKeys): Suite => ({
  name,
  encryption: keys.encryption,
  keys,
  create: () => createPacketCipher(keys),
});

/** Differs from draw to draw, the same in every run. */
export function countingRandom(): { cbcIv(length: number): Uint8Array; readonly draws: number } {
  let draws = 0;
  let state = 1;
  return {
    cbcIv(length) {
      draws++;
      return new Uint8Array(length).map(() => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state >>> 24;
      });
    },
    get draws() {
      return draws;
    },
  };
}
