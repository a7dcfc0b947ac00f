import { createPacketCipher } from '../core/crypto/index.ts';
import { OutboundSa } from '../core/esp/index.ts';
import type { ChildSaSpec } from '../core/ike/index.ts';

/** What an attacker on the path, or a peer that does not keep to what was agreed, may send to the receiving end of a CHILD_SA. */
export const HOSTILE = ['replayed', 'truncated', 'bit flipped', 'wrong SPI', 'out of window', 'outside the selectors', 'clear'] as const;
export type Hostile = (typeof HOSTILE)[number];

/**
 * Makes ESP packets that a receiver must drop, as many as are wanted, each another one; the same in every run under one seed. The receiver gets
 * a few honest ones first, from `prelude`, so that there is something to repeat.
 */
export class PacketGenerator {
  readonly #spec: ChildSaSpec;
  readonly #sender: OutboundSa;
  readonly #honest: readonly Uint8Array[];
  readonly #old: readonly Uint8Array[];
  readonly #stray: (i: number) => Uint8Array;
  readonly #out = new Uint8Array(2048);
  #state: number;

  /**
   * @param spec as the sender has it
   * @param inner a packet that lies within the selectors
   * @param stray one that does not, by number
   */
  constructor(spec: ChildSaSpec, inner: Uint8Array, stray: (i: number) => Uint8Array, seed = 1) {
    this.#spec = spec;
    this.#stray = stray;
    this.#state = seed >>> 0 || 1;
    this.#sender = new OutboundSa({ spi: spec.outbound.spi, cipher: createPacketCipher(spec.outbound), esn: spec.esn });
    const sealed = (): Uint8Array => this.#seal(inner).slice();
    this.#old = Array.from({ length: 64 }, sealed);
    // as many in between as the receiver's window holds, and then some
    this.#sender.skipAhead(4 * Math.max(64, spec.replayWindow));
    this.#honest = Array.from({ length: 64 }, sealed);
  }

  /** Honest packets, to be taken in by the receiver first. */
  prelude(): readonly Uint8Array[] {
    return this.#honest.map((packet) => packet.slice());
  }

  /** Number `i` of a kind; a view that is valid until the next call. */
  make(kind: Hostile, i: number): Uint8Array {
    const honest = this.#honest[i % this.#honest.length]!;
    switch (kind) {
      case 'replayed':
        return this.#copy(honest);
      case 'out of window':
        return this.#copy(this.#old[i % this.#old.length]!);
      case 'truncated':
        return this.#copy(honest).subarray(0, this.#below(honest.length));
      case 'bit flipped': {
        // behind the SPI; of a number that was not seen yet, so that the window does not answer for the cipher
        const packet = this.#copy(honest);
        packet[4] = 0;
        packet[5] = 1;
        packet[6] = this.#below(256);
        packet[7] = this.#below(256);
        packet[8 + this.#below(packet.length - 8)]! ^= 1 << this.#below(8);
        return packet;
      }
      case 'wrong SPI': {
        const packet = this.#copy(honest);
        const spi = (this.#below(2 ** 32) || 1) >>> 0;
        const other = spi === this.#spec.outbound.spi ? spi + 1 : spi;
        for (let at = 0; at < 4; at++) packet[at] = other >>> (24 - 8 * at);
        return packet;
      }
      case 'outside the selectors':
        return this.#seal(this.#stray(i));
      case 'clear':
        return this.#copy(this.#stray(i));
    }
  }

  destroy(): void {
    this.#sender.destroy();
  }

  #seal(inner: Uint8Array): Uint8Array {
    const length = this.#sender.seal(inner, inner[0]! >>> 4 === 4 ? IPV4 : IPV6, this.#out, 0);
    return this.#out.subarray(0, length);
  }

  #copy(packet: Uint8Array): Uint8Array {
    this.#out.set(packet);
    return this.#out.subarray(0, packet.length);
  }

  /** Numerical Recipes' generator: good enough to differ. */
  #below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
}

const [IPV4, IPV6] = [4, 41];
