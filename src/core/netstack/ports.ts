import type { KeyedHash } from './keyed-hash.ts';

/** RFC 6335 §6: the dynamic ports. */
const FIRST = 49152;
const COUNT = 65536 - FIRST;

/** Chooses local ports after RFC 6056 §3.3.3: unpredictable from outside, each sequence its own per destination. */
export class EphemeralPorts {
  readonly #hash: KeyedHash;
  #next = 0;

  constructor(hash: KeyedHash) {
    this.#hash = hash;
  }

  /** @param ends what the port shall depend on. @returns undefined when every port is taken. */
  choose(ends: Uint8Array, isFree: (port: number) => boolean): number | undefined {
    const offset = this.#hash.hash(ends) >>> 0;
    for (let tries = 0; tries < COUNT; tries++) {
      const port = FIRST + ((offset + this.#next++) % COUNT);
      if (isFree(port)) return port;
    }
    return undefined;
  }
}
