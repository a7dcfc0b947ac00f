import { parseIpv4 } from './ipv4.ts';
import { parseIpv6 } from './ipv6.ts';

/** Why a packet did not parse: stable words for counters. */
export type IpFault =
  | 'version'
  | 'truncated'
  | 'header-length'
  | 'total-length'
  | 'extension-headers'
  /** An IPv6 option whose type says: discard, and maybe tell the sender (RFC 8200 §4.2). */
  | 'option'
  /** A Routing header with segments left (RFC 8200 §4.4). */
  | 'routing';

/**
 * One IP packet, seen in place: parsed into fields of an object that is used again for the next one. Offsets are into `data`.
 * A packet whose lengths lie does not parse; whether its header checksum holds is `ipv4HeaderValid`'s question.
 */
export class IpView {
  data: Uint8Array = NONE;
  start = 0;
  /** Behind the last octet by the packet's own length field; padding of the link lies beyond. */
  end = 0;
  version: 4 | 6 = 4;
  trafficClass = 0;
  hopLimit = 0;
  /** Offsets and size of the addresses. */
  sourceAt = 0;
  destinationAt = 0;
  addressLength: 4 | 16 = 4;
  /** What `payload` holds: the protocol, or the next header behind all extension headers that were walked. */
  protocol = 0;
  payload = 0;
  /** IPv6: offset of the octet that holds `protocol`. */
  nextHeaderAt = 0;
  dontFragment = false;
  /** Part of a fragmented packet. `payload` is then the fragment's data. */
  fragment = false;
  /** Octets into the original's fragmentable part. */
  fragmentOffset = 0;
  moreFragments = false;
  identification = 0;
  /** IPv6: offset of the octet that names the Fragment header, and of that header; 0 without one. */
  fragmentNextHeaderAt = 0;
  fragmentHeaderAt = 0;
  fault: IpFault | undefined = undefined;
  /** IPv6: what to say in a Parameter Problem, -1 for nothing (RFC 4443 §3.4). The pointer counts from the packet's start. */
  problemCode = -1;
  problemPointer = 0;

  /** @returns false, with `fault` set, for what is not a whole IPv4 or IPv6 packet. */
  parse(data: Uint8Array, start = 0, limit = data.length): boolean {
    this.data = data;
    this.start = start;
    this.end = limit;
    this.fault = undefined;
    this.problemCode = -1;
    this.fragment = false;
    this.fragmentOffset = 0;
    this.moreFragments = false;
    this.fragmentHeaderAt = 0;
    if (limit - start < 1) return this.fail('truncated');
    const version = data[start]! >>> 4;
    if (version === 4) return parseIpv4(this, limit);
    if (version === 6) return parseIpv6(this, limit);
    return this.fail('version');
  }

  fail(fault: IpFault): false {
    this.fault = fault;
    return false;
  }
}

const NONE = new Uint8Array(0);
