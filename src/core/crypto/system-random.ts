import { randomFillSync } from 'node:crypto';
import type { RandomSource } from './random.ts';

/** The operating system's generator behind the labelled draws. */
export function systemRandom(): RandomSource {
  return {
    nonce: draw,
    ikeSpi() {
      // RFC 7296 §3.1: the initiator's SPI must not be zero, and zero stands for "not chosen yet" in the responder's place.
      for (;;) {
        const spi = draw(8);
        if (spi.some((octet) => octet !== 0)) return spi;
      }
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

function draw(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length));
}

function u32(): number {
  const [value] = randomFillSync(new Uint32Array(1));
  return value!;
}
