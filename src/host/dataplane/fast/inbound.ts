import type { Address } from '../../../core/bytes/index.ts';
import { classifyEncapsulated, type EncapsulatedKind } from '../../../core/esp/index.ts';
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
    for (let at = start; at < end; at += step) this.#one(from, at, Math.min(at + step, end), local, ip, port, trafficClass);
  }

  #one(from: PacketBuffer, start: number, end: number, local: Address, ip: string, port: number, trafficClass: number): void {
    const { octets } = from;
    const kind = classifyEncapsulated(octets, start, end);
    this.counts[kind]++;
    if (kind === 'esp') this.#options.esp.receiveAt(octets, start, end, ip, port, local, 'udp', trafficClass);
    else if (kind === 'ike') this.#options.onIke(octets.slice(start, end), local, ip, port);
  }
}
