import type { Packet } from './network.ts';

/** What became of a packet. */
export type Fate =
  | 'under way'
  | 'delivered'
  | 'lost'
  | 'too big'
  | 'queue full'
  | 'cut'
  | 'partitioned'
  | 'no such host'
  | 'no socket'
  | 'intercepted'
  | 'no mapping'
  | 'filtered'
  | 'no hairpin'
  | 'no ports left'
  | 'not translatable';

export interface CapturedPacket {
  readonly at: number;
  readonly network: string;
  readonly packet: Packet;
  readonly fate: Fate;
  /** When each copy was delivered. */
  readonly deliveries: readonly number[];
}

/** Every packet as it was sent, in order, on every network it crossed. */
export class PacketCapture {
  readonly #packets: Entry[] = [];
  readonly #limit: number;
  #dropped = 0;

  /** @param limit older packets are forgotten beyond this many. */
  constructor(limit = 100_000) {
    this.#limit = limit;
  }

  get packets(): readonly CapturedPacket[] {
    return this.#packets;
  }

  /** Packets that were forgotten because the limit was reached. */
  get forgotten(): number {
    return this.#dropped;
  }

  clear(): void {
    this.#packets.length = 0;
  }

  record(at: number, network: string, packet: Packet): { readonly settle: (fate: Fate, at?: number) => void } {
    const entry: Entry = { at, network, packet, fate: 'under way', deliveries: [] };
    this.#packets.push(entry);
    if (this.#packets.length > this.#limit) {
      this.#packets.splice(0, this.#limit >>> 1);
      this.#dropped += this.#limit >>> 1;
    }
    const settle = (fate: Fate, deliveredAt?: number): void => {
      // One copy of a duplicated packet may be lost and the other arrive: that it arrived counts.
      if (entry.fate !== 'delivered') entry.fate = fate;
      if (fate === 'delivered' && deliveredAt !== undefined) entry.deliveries.push(deliveredAt);
    };
    return { settle };
  }
}

interface Entry extends CapturedPacket {
  fate: Fate;
  readonly deliveries: number[];
}
