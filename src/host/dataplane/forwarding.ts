import { getU16, type IpView, putU16, updateChecksum } from '../../core/packet/index.ts';
import { isRoutable } from './icmp-answers.ts';

export { timeExceeded } from './icmp-answers.ts';

/**
 * What a router does to a packet before it passes it on: one hop less (RFC 1812 §5.3.1, RFC 8200 §3).
 * @returns false when no hop is left: the packet ends here
 */
export function takeHop(packet: IpView): boolean {
  const { data, start, version, hopLimit } = packet;
  if (hopLimit <= 1) return false;
  if (version === 6) {
    data[start + 7] = hopLimit - 1;
    return true;
  }
  const before = getU16(data, start + 8);
  data[start + 8] = hopLimit - 1;
  putU16(data, start + 10, updateChecksum(getU16(data, start + 10), before, getU16(data, start + 8)));
  return true;
}

/** Only what has one sender and one receiver beyond the link is passed on (RFC 1812 §5.3.7, RFC 4291 §2.5.6). */
export function mayPassOn(packet: IpView): boolean {
  return isRoutable(packet, packet.sourceAt) && isRoutable(packet, packet.destinationAt);
}
