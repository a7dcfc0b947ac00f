import type { Millis } from '../../../core/ike/effects.ts';
import type { DirectionCounters } from '../data-plane.ts';

/** What passed by the SAs of one direction, from what the kernel counts for each of them. */
export class Usage implements DirectionCounters {
  packets = 0;
  bytes = 0;
  lastUse: Millis | undefined;
  #seen: KernelUse = NOTHING;

  /** What the kernel says now. */
  read(use: KernelUse, now: Millis): void {
    const packets = Number(use.packets - this.#seen.packets);
    if (packets > 0) this.lastUse = now;
    this.packets += packets;
    this.bytes += Number(use.bytes - this.#seen.bytes);
    this.#seen = use;
  }

  /** An SA that was made anew counts from the beginning. */
  anew(): void {
    this.#seen = NOTHING;
  }

  told(): DirectionCounters {
    const { packets, bytes, lastUse } = this;
    return { packets, bytes, lastUse };
  }
}

interface KernelUse {
  readonly packets: bigint;
  readonly bytes: bigint;
}

const NOTHING: KernelUse = { packets: 0n, bytes: 0n };
