import { checksum, pseudoHeaderSum, sum16 } from './checksum.ts';
import type { IpView } from './ip.ts';
import { IpProtocol } from './ip-protocol.ts';
import { getU16, putU16 } from './octets.ts';

export const UDP_HEADER = 8;

/** A UDP datagram inside an IP packet (RFC 768), seen in place. */
export class UdpView {
  sourcePort = 0;
  destinationPort = 0;
  /** Bounds of the data in `ip.data`. */
  start = 0;
  end = 0;

  /** @returns false when lengths lie or the checksum fails. A packet of IPv4 may come without checksum, one of IPv6 may not (RFC 8200 §8.1). */
  parse(ip: IpView): boolean {
    const { data, payload } = ip;
    const available = ip.end - payload;
    if (available < UDP_HEADER) return false;
    const length = getU16(data, payload + 4);
    if (length < UDP_HEADER || length > available) return false;
    this.sourcePort = getU16(data, payload);
    this.destinationPort = getU16(data, payload + 2);
    this.start = payload + UDP_HEADER;
    this.end = payload + length;
    if (getU16(data, payload + 6) === 0) return ip.version === 4;
    const seed = pseudoHeaderSum(data, ip.sourceAt, data, ip.destinationAt, ip.addressLength, IpProtocol.UDP, length);
    return sum16(data, payload, this.end, seed) === 0xffff;
  }
}

/** Writes the header at `at`; `length` octets of data stand behind it already. */
export function writeUdp(
  data: Uint8Array,
  at: number,
  source: Uint8Array,
  sourcePort: number,
  destination: Uint8Array,
  destinationPort: number,
  length: number,
): void {
  const total = UDP_HEADER + length;
  putU16(data, at, sourcePort);
  putU16(data, at + 2, destinationPort);
  putU16(data, at + 4, total);
  putU16(data, at + 6, 0);
  const seed = pseudoHeaderSum(source, 0, destination, 0, source.length, IpProtocol.UDP, total);
  // RFC 768: a computed zero is sent as all ones.
  putU16(data, at + 6, checksum(data, at, at + total, seed) || 0xffff);
}
