import type { PacketCipher } from './packet-cipher.ts';

/**
 * Packets of one SA that stand in one buffer, for a cipher to work on together: what it is told of each with `seal` and `open`, side by side.
 * Made once, and filled anew for every burst.
 */
export class PacketBurst {
  count = 0;
  /** Offset of the head. */
  readonly starts = new Int32Array(MOST_IN_BURST);
  /** To be sealed: offset behind the body; to be opened: behind the ICV. */
  readonly ends = new Int32Array(MOST_IN_BURST);
  /** High 32 bits of the sequence number; without ESN nobody asks. */
  readonly highs = new Uint32Array(MOST_IN_BURST);
  /** What `open` said of each: where the body ends, or -1. */
  readonly opened = new Int32Array(MOST_IN_BURST);

  /** The caller sees to it that there are no more than `MOST_IN_BURST`. */
  add(start: number, end: number, high: number): void {
    const i = this.count++;
    this.starts[i] = start;
    this.ends[i] = end;
    this.highs[i] = high;
  }
}

/** Seals all of them, by the cipher's own way for many if it has one. */
export function sealBurst(cipher: PacketCipher, buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
  if (cipher.sealBurst === undefined) sealEach(cipher, buffer, burst, headLength, esn);
  else cipher.sealBurst(buffer, burst, headLength, esn);
}

/** Opens all of them, each whatever becomes of the others: `burst.opened` says what. */
export function openBurst(cipher: PacketCipher, buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
  if (cipher.openBurst === undefined) openEach(cipher, buffer, burst, headLength, esn);
  else cipher.openBurst(buffer, burst, headLength, esn);
}

/** What `sealBurst` of a cipher comes to: one packet behind the other. */
export function sealEach(cipher: PacketCipher, buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
  const { starts, ends, highs, count } = burst;
  for (let i = 0; i < count; i++) cipher.seal(buffer, starts[i]!, headLength, ends[i]!, esn ? highs[i]! : undefined);
}

/** What `openBurst` of a cipher comes to. */
export function openEach(cipher: PacketCipher, buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
  const { starts, ends, highs, opened, count } = burst;
  for (let i = 0; i < count; i++) opened[i] = cipher.open(buffer, starts[i]!, headLength, ends[i]!, esn ? highs[i]! : undefined);
}

/** What the kernel takes, and joins, in one call. */
export const MOST_IN_BURST = 64;
