import { type ChildEntry, ENTRY_DROPS } from '../child-entry.ts';
import type { ChildCounters, SequenceNumbers } from '../data-plane.ts';

/**
 * What a thread counts of each CHILD_SA, in memory that both threads see: whoever shows it waits for nobody. A number may be read between
 * two writes of one packet, so a row is as good as its last write, never torn within a number (aligned 64-bit stores).
 */
export class CounterSlots {
  readonly memory: SharedArrayBuffer;
  readonly #numbers: Float64Array;

  /** @param memory of the other thread's; its own unless given */
  constructor(memory = new SharedArrayBuffer(SLOTS * WIDTH * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#numbers = new Float64Array(memory);
  }

  clear(slot: number): void {
    this.#numbers.fill(0, slot * WIDTH, (slot + 1) * WIDTH);
  }

  write(slot: number, entry: ChildEntry): void {
    const numbers = this.#numbers;
    const { inbound, outbound, dropped } = entry;
    let at = slot * WIDTH;
    numbers[at++] = inbound.packets;
    numbers[at++] = inbound.bytes;
    numbers[at++] = entry.lastIn;
    numbers[at++] = outbound.packets;
    numbers[at++] = outbound.bytes;
    numbers[at++] = entry.lastOut;
    numbers[at++] = outbound.sequence;
    numbers[at++] = inbound.sequence;
    for (const cause of INBOUND_DROPS) numbers[at++] = inbound.drops[cause];
    for (const cause of ENTRY_DROPS) numbers[at++] = dropped[cause];
  }

  counters(slot: number): ChildCounters {
    const at = slot * WIDTH;
    const numbers = this.#numbers;
    const drops: Record<string, number> = {};
    [...INBOUND_DROPS, ...ENTRY_DROPS].forEach((cause, i) => {
      drops[cause] = numbers[at + 8 + i]!;
    });
    return {
      inbound: { packets: numbers[at]!, bytes: numbers[at + 1]!, lastUse: instant(numbers[at + 2]!) },
      outbound: { packets: numbers[at + 3]!, bytes: numbers[at + 4]!, lastUse: instant(numbers[at + 5]!) },
      drops,
    };
  }

  sequenceNumbers(slot: number): SequenceNumbers {
    const at = slot * WIDTH;
    return { outbound: halves(this.#numbers[at + 6]!), inbound: halves(this.#numbers[at + 7]!) };
  }
}

/** CHILD_SAs at once. The memory of those that were never there is not touched. */
export const SLOTS = 131_072;

const instant = (at: number): number | undefined => (Number.isNaN(at) || at === 0 ? undefined : at);

const halves = (sequence: number): { readonly sequenceHigh: number; readonly sequenceLow: number } => ({
  sequenceHigh: Math.floor(sequence / 2 ** 32),
  sequenceLow: sequence % 2 ** 32,
});

const INBOUND_DROPS = ['malformed', 'replay', 'icv', 'padding', 'dummy'] as const;
const WIDTH = 8 + INBOUND_DROPS.length + ENTRY_DROPS.length;
