import { randomFillSync } from 'node:crypto';
import type { RandomSource } from './random.ts';

/** The operating system's generator behind the labelled draws. */
export function systemRandom(): RandomSource {
  return {
    nonce: draw,
    ikeSpi() {
      // RFC 7296 §3.1: the initiator's SPI must not be zero, and zero stands for "not chosen yet" in the responder's place.
      let spi = draw(8);
      while (spi.every((octet) => octet === 0)) spi = draw(8);
      return spi;
    },
    childSpi() {
      // RFC 4303 §2.1: 0 is for local use, 1 to 255 are reserved.
      for (;;) {
        const spi = u32();
        if (spi > 255) return spi;
      }
    },
    cbcIv: draw,
    keySeed: () => undefined,
    jitter: () => ((u32() >>> 5) * 2 ** 26 + (u32() >>> 6)) / 2 ** 53,
    secret: draw,
  };
}

/** Drawn in advance, given out once and overwritten: a call to the system for each nonce costs more than the nonce. */
const pool = new Uint8Array(4096);
let used = pool.length;

function draw(length: number): Uint8Array {
  if (length > pool.length / 4) return randomFillSync(new Uint8Array(length));
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const drawn = pool.slice(used, used + length);
  pool.fill(0, used, used + length);
  used += length;
  return drawn;
}

function u32(): number {
  const octets = draw(4);
  return ((octets[0]! << 24) | (octets[1]! << 16) | (octets[2]! << 8) | octets[3]!) >>> 0;
}
