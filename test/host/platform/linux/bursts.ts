import { expect } from 'vitest';
import type { PacketCipher } from '../../../../src/core/crypto/index.ts';
import { MOST_IN_BURST, openBurst, openEach, PacketBurst, sealBurst, sealEach } from '../../../../src/core/crypto/packet-burst.ts';

/** Packets, a seed that their lengths and octets come of, and whether sequence numbers are extended. */
export const BURSTS: readonly (readonly [count: number, seed: number, esn: boolean])[] = [
  [1, 3, false],
  [2, 7, true],
  [9, 16, true],
  [45, 311, false],
  [MOST_IN_BURST, 97, true],
];

/** SPI and sequence number. */
const HEAD = 8;
const TAG = 16;

/** Packets of many lengths in one buffer, to be opened and to be sealed; what stands between them is nobody's. */
export function burstOf(
  cipher: PacketCipher,
  count: number,
  seed: number,
): { buffer: Uint8Array; burst: PacketBurst; bodies: PacketBurst } {
  const burst = new PacketBurst();
  const bodies = new PacketBurst();
  let at = 5;
  for (let i = 0; i < count; i++) {
    const end = at + HEAD + cipher.ivLength + ((i * seed) % 1500);
    bodies.add(at, end, i * 0x01000193 + seed);
    burst.add(at, end + TAG, i * 0x01000193 + seed);
    at = end + TAG + (i % 3);
  }
  return { buffer: Uint8Array.from({ length: at + 7 }, (_, i) => i * seed + (i >> 8)), burst, bodies };
}

/** Places in a burst of so many that are changed on their way. */
export const bentOf = (count: number): readonly number[] =>
  count === 1 ? [] : [...new Set([0, 1, 7, 17, count - 1])].filter((i) => i < count).sort((a, b) => a - b);

/** Under the same key: a burst of the one is the packets of the other, sealed, and opened with some that were changed. */
export function expectSameBursts(ours: PacketCipher, theirs: PacketCipher, count: number, seed: number, esn: boolean): void {
  const { buffer, burst, bodies } = burstOf(ours, count, seed);
  const expected = buffer.slice();
  sealBurst(ours, buffer, bodies, HEAD, esn);
  sealEach(theirs, expected, bodies, HEAD, esn);
  expect(Buffer.compare(buffer, expected)).toBe(0);
  const bent = bentOf(count);
  for (const i of bent) for (const packets of [buffer, expected]) packets[burst.ends[i]! - 1 - (i % 20)]! ^= 0x20;
  openEach(theirs, expected, burst, HEAD, esn);
  const ends = burst.opened.slice(0, count);
  burst.opened.fill(4711);
  openBurst(ours, buffer, burst, HEAD, esn);
  expect([...burst.opened.subarray(0, count)]).toEqual([...ends]);
  expect([...ends.entries()].filter(([, end]) => end === -1).map(([i]) => i)).toEqual(bent);
  expect(Buffer.compare(buffer, expected)).toBe(0);
}
