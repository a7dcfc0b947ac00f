import type { IkeSaStatus } from '../host/engine/engine.ts';

/** What one ESP SA carried. */
export interface SpiCount {
  readonly spi: number;
  readonly direction: 'in' | 'out';
  readonly packets: number;
  /** Octets of inner packets; of what is left of them where they are compressed. */
  readonly bytes: number;
  /** Packets that were dropped on it, whatever the cause; inbound only. */
  readonly dropped: number;
}

/** Remembers what every SPI carried, those included that a rekey has replaced meanwhile. Look often enough: a child lives on for seconds. */
export class SpiLedger {
  readonly #before = new Map<string, SpiCount>();
  readonly #counts = new Map<string, SpiCount>();

  /** @param before what they had carried by then is not counted */
  constructor(before: readonly IkeSaStatus[] = []) {
    for (const count of countsOf(before)) this.#before.set(keyOf(count), count);
  }

  look(ikeSas: readonly IkeSaStatus[]): void {
    for (const count of countsOf(ikeSas)) this.#counts.set(keyOf(count), count);
  }

  /** In the order in which they were first seen. */
  get counts(): readonly SpiCount[] {
    return [...this.#counts].map(([key, count]) => {
      const { packets = 0, bytes = 0, dropped = 0 } = this.#before.get(key) ?? {};
      return { ...count, packets: count.packets - packets, bytes: count.bytes - bytes, dropped: count.dropped - dropped };
    });
  }
}

function countsOf(ikeSas: readonly IkeSaStatus[]): SpiCount[] {
  return ikeSas
    .flatMap((sa) => sa.children)
    .flatMap(({ inboundSpi, outboundSpi, counters }): SpiCount[] => {
      if (counters === undefined) return [];
      const { inbound, outbound, drops } = counters;
      const dropped = Object.values(drops).reduce((sum, n) => sum + n, 0);
      return [
        { spi: inboundSpi, direction: 'in', packets: inbound.packets, bytes: inbound.bytes, dropped },
        { spi: outboundSpi, direction: 'out', packets: outbound.packets, bytes: outbound.bytes, dropped: 0 },
      ];
    });
}

const keyOf = ({ spi, direction }: SpiCount): string => `${direction} ${spi}`;
