import type { Address } from '../../../core/bytes/index.ts';
import { classifyEncapsulated, type EncapsulatedKind, MOST_IN_BURST, NON_ESP_MARKER_LENGTH, spiOf } from '../../../core/esp/index.ts';
import type { PacketBuffer } from '../../../core/packet/offload/index.ts';
import type { EspReceiver } from '../esp-receiver.ts';

export interface InboundPumpOptions {
  readonly esp: EspReceiver;
  /** IKE that came to the socket of the plane, the non-ESP marker in front: the octets are the receiver's own. */
  readonly onIke: (datagram: Uint8Array, local: Address, ip: string, port: number) => void;
}

/** Counted by what was found (RFC 3948 §2.2). */
export type EncapsulatedCounts = Record<EncapsulatedKind, number>;

/** From the sockets to ESP: datagrams that came together are taken apart, and told from IKE and keepalives. */
export class InboundPump {
  readonly counts: EncapsulatedCounts = { esp: 0, ike: 0, keepalive: 0, invalid: 0 };
  readonly #options: InboundPumpOptions;

  constructor(options: InboundPumpOptions) {
    this.#options = options;
  }

  /**
   * Takes the datagrams that stand in `[start, end)`, one every `step` octets, each of `length` octets but the last.
   * @param ip of the sender
   * @param trafficClass DSCP and ECN of the outer headers, -1 where nobody tells
   */
  take(
    from: PacketBuffer,
    start: number,
    end: number,
    step: number,
    length: number,
    local: Address,
    ip: string,
    port: number,
    trafficClass: number,
  ): void {
    for (let at = start; at < end; ) {
      const count = burstLength(from.octets, at, end, step, length);
      if (count === 0) {
        this.#one(from, at, Math.min(at + length, end), local, ip, port);
        at += step;
      } else {
        const behind = at + count * step;
        this.counts.esp += count;
        this.#options.esp.receiveBurst(from.octets, at, Math.min(behind - step + length, end), step, length, ip, port, local, trafficClass);
        at = behind;
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

/** IKE behind its marker, from somebody who has no SPI of ours yet (RFC 7296 §3.1): anybody can send those. */
export const isFirst = (datagram: Uint8Array): boolean =>
  datagram.subarray(RESPONDER_SPI, RESPONDER_SPI + SPI_LENGTH).every((octet) => octet === 0);

/** How many packets from `start` on are ESP of one SPI. */
function burstLength(octets: Uint8Array, start: number, end: number, step: number, length: number): number {
  if (classifyEncapsulated(octets, start, Math.min(start + length, end)) !== 'esp') return 0;
  const spi = spiOf(octets, start);
  let count = 1;
  for (let at = start + step; at < end && count < MOST_IN_BURST; at += step, count++)
    // the last one may be too short to be ESP
    if (spiOf(octets, at) !== spi || classifyEncapsulated(octets, at, Math.min(at + length, end)) !== 'esp') break;
  return count;
}

/** Of IKE, behind the marker and the initiator's. */
const SPI_LENGTH = 8;
const RESPONDER_SPI = NON_ESP_MARKER_LENGTH + SPI_LENGTH;
