import { updateChecksum } from './checksum.ts';
import type { IpView } from './ip.ts';
import { getU16, putU16 } from './octets.ts';

/** Writes DSCP and ECN into a packet's header, in place; the checksum of IPv4 is mended (RFC 1624). */
export function setTrafficClass(packet: IpView, trafficClass: number): void {
  const { data, start, version } = packet;
  if (version === 4) {
    const before = getU16(data, start);
    data[start + 1] = trafficClass;
    putU16(data, start + 10, updateChecksum(getU16(data, start + 10), before, getU16(data, start)));
  } else {
    data[start] = 0x60 | (trafficClass >>> 4);
    data[start + 1] = ((trafficClass & 0x0f) << 4) | (data[start + 1]! & 0x0f);
  }
  packet.trafficClass = trafficClass;
}
