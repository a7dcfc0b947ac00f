import {
  checksum,
  getU16,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  type IpView,
  pseudoHeaderSum,
  putU16,
  writeIpv4,
  writeIpv6,
} from '../../core/packet/index.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';

/**
 * Transport mode (RFC 4303 §3.1.1) for a host whose IP layer is here, too: the IP header is not sent but known at both ends, since the SA
 * stands between exactly two addresses.
 */
export class TransportMode {
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly #scratch = new Uint8Array(LARGEST_PACKET);

  /** @returns undefined when the selectors are not one address at each end, of one family */
  static between(localTs: readonly TrafficSelector[], remoteTs: readonly TrafficSelector[]): TransportMode | undefined {
    const local = onlyAddress(localTs);
    const remote = onlyAddress(remoteTs);
    return local === undefined || remote?.length !== local.length ? undefined : new TransportMode(local, remote);
  }

  private constructor(local: Uint8Array, remote: Uint8Array) {
    this.local = local;
    this.remote = remote;
  }

  /** Octets of the header that is not sent. */
  get saved(): number {
    return this.local.length === 4 ? IPV4_HEADER : IPV6_HEADER;
  }

  /** RFC 4303 §3.1.1: whole datagrams only. An IPv6 packet with extension headers would need them in front of ESP. */
  carries(packet: IpView): boolean {
    return !packet.fragment && (packet.version === 4 || packet.payload === packet.start + IPV6_HEADER);
  }

  /**
   * Puts the header back in front of a payload. The view is valid until the next call.
   * @param translated a NAT may have changed addresses on the way, which the peer's checksums cover: they are made anew (RFC 3948 §3.1.2);
   *   what ESP authenticated needs them no longer
   * @param trafficClass of the header that the packet came with
   */
  restore(payload: Uint8Array, protocol: number, translated: boolean, trafficClass = 0): Uint8Array {
    const { saved, local, remote } = this;
    const packet = this.#scratch.subarray(0, saved + payload.length);
    packet.set(payload, saved);
    const addresses = { source: remote, destination: local, hopLimit: 64, trafficClass };
    if (saved === IPV4_HEADER) {
      const whole = { identification: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0 };
      writeIpv4(packet, 0, { ...addresses, ...whole, length: packet.length, protocol });
    } else writeIpv6(packet, 0, { ...addresses, payloadLength: payload.length, nextHeader: protocol, flowLabel: 0 });
    if (translated) this.#mendChecksum(packet, protocol);
    return packet;
  }

  /** Puts a payload behind the header that came with it, which named ESP or AH. The view is valid until the next call. */
  rejoin({ data, start, payload: headerEnd, version, nextHeaderAt }: IpView, payload: Uint8Array, protocol: number): Uint8Array {
    const header = headerEnd - start;
    const packet = this.#scratch.subarray(0, header + payload.length);
    packet.set(data.subarray(start, headerEnd));
    packet.set(payload, header);
    if (version === 4) {
      putU16(packet, 2, packet.length);
      packet[9] = protocol;
      putU16(packet, 10, 0);
      putU16(packet, 10, checksum(packet, 0, header));
    } else {
      putU16(packet, 4, packet.length - IPV6_HEADER);
      packet[nextHeaderAt - start] = protocol;
    }
    return packet;
  }

  #mendChecksum(packet: Uint8Array, protocol: number): void {
    const { saved, local, remote } = this;
    const at = CHECKSUM_AT[protocol];
    const length = packet.length - saved;
    if (at === undefined || length < at + 2) return;
    const field = saved + at;
    // RFC 768: zero means that none was computed.
    if (protocol === IpProtocol.UDP && getU16(packet, field) === 0) return;
    putU16(packet, field, 0);
    const sum = checksum(packet, saved, packet.length, pseudoHeaderSum(remote, 0, local, 0, local.length, protocol, length));
    putU16(packet, field, sum === 0 && protocol === IpProtocol.UDP ? 0xffff : sum);
  }
}

function onlyAddress(selectors: readonly TrafficSelector[]): Uint8Array | undefined {
  const [first, ...others] = selectors.filter((ts): ts is AddressRangeSelector => 'start' in ts);
  const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((octet, i) => octet === b[i]);
  if (first === undefined || !same(first.start, first.end)) return undefined;
  return others.every(({ start, end }) => same(start, first.start) && same(end, first.start)) ? first.start : undefined;
}

/** Where the checksum stands that covers the pseudo header. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { [IpProtocol.TCP]: 16, [IpProtocol.UDP]: 6, [IpProtocol.IPV6_ICMP]: 2 };
const LARGEST_PACKET = 65_535 + IPV6_HEADER;
