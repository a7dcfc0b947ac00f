import type { Address } from '../../../core/bytes/index.ts';
import { classifyEncapsulated, type EncapsulatedKind, MOST_IN_BURST, spiOf } from '../../../core/esp/index.ts';
import type { PacketBuffer } from '../../../core/packet/offload/index.ts';
import type { EspPlane } from '../esp-plane.ts';

export interface InboundPumpOptions {
  readonly esp: EspPlane;
  /** IKE that came to the socket of the plane, the non-ESP marker in front: the octets are the receiver's own. */
  readonly onIke: (datagram: Uint8Array, local: Address, ip: string, port: number) => void;
}

/** Counted by what was found (RFC 3948 §2.2). */
export type EncapsulatedCounts = Record<EncapsulatedKind, number>;

/** From the sockets to ESP: datagrams that the kernel has put together (UDP_GRO) are taken apart, and told from IKE and keepalives. */
export class InboundPump {
  readonly counts: EncapsulatedCounts = { esp: 0, ike: 0, keepalive: 0, invalid: 0 };
  readonly #options: InboundPumpOptions;

  constructor(options: InboundPumpOptions) {
    this.#options = options;
  }

  /**
   * Takes the datagrams that stand in `[start, end)`, each of `segment` octets but the last.
   * @param ip of the sender
   * @param trafficClass DSCP and ECN of the outer headers, -1 where nobody tells
   */
  take(from: PacketBuffer, start: number, end: number, segment: number, local: Address, ip: string, port: number, trafficClass = -1): void {
    const step = segment > 0 ? segment : end - start;
    for (let at = start, behind = at; at < end; at = behind) {
      behind = burstEnd(from.octets, at, end, step);
      if (behind === at) {
        behind = Math.min(at + step, end);
        this.#one(from, at, behind, local, ip, port);
      } else {
        this.counts.esp += Math.ceil((behind - at) / step);
        this.#options.esp.receiveBurst(from.octets, at, behind, step, ip, port, local, trafficClass);
      }
    }
  }

  /** What is not ESP. */
  #one({ octets }: PacketBuffer, start: number, end: number, local: Address, ip: string, port: number): void {
    const kind = classifyEncapsulated(octets, start, end);
    this.counts[kind]++;
    if (kind === 'ike') this.#options.onIke(octets.slice(start, end), local, ip, port);
  }
}

/** Behind the packets from `start` on that are ESP of one SPI; `start` when the first is not ESP. */
function burstEnd(octets: Uint8Array, start: number, end: number, step: number): number {
  if (classifyEncapsulated(octets, start, Math.min(start + step, end)) !== 'esp') return start;
  const most = Math.min(end, start + MOST_IN_BURST * step);
  const spi = spiOf(octets, start);
  let at = start + step;
  // the last one may be too short to be ESP
  while (at < most && spiOf(octets, at) === spi && classifyEncapsulated(octets, at, Math.min(at + step, end)) === 'esp') at += step;
  return Math.min(at, most);
}
