import type { IkeSaStatus } from '../../host/engine/engine.ts';
import type { SpiCount } from './messages.ts';

/** Remembers what every SPI carried, those included that a rekey has replaced meanwhile. Look often enough: a child lives on for seconds. */
export class SpiLedger {
  readonly #counts = new Map<string, SpiCount>();

  look(ikeSas: readonly IkeSaStatus[]): void {
    for (const child of ikeSas.flatMap((sa) => sa.children)) {
      const { counters } = child;
      if (counters === undefined) continue;
      const dropped = Object.values(counters.drops).reduce((sum, n) => sum + n, 0);
      this.#note({ spi: child.inboundSpi, direction: 'in', packets: counters.inbound.packets, bytes: counters.inbound.bytes, dropped });
      this.#note({
        spi: child.outboundSpi,
        direction: 'out',
        packets: counters.outbound.packets,
        bytes: counters.outbound.bytes,
        dropped: 0,
      });
    }
  }

  /** In the order in which they were first seen. */
  get counts(): readonly SpiCount[] {
    return [...this.#counts.values()];
  }

  #note(count: SpiCount): void {
    this.#counts.set(`${count.direction} ${count.spi}`, count);
  }
}
