import { parseIp } from '../../core/bytes/index.ts';
import { dontFragment, outerClass } from '../../core/esp/index.ts';
import {
  checksum,
  fragmentIpv4,
  fragmentIpv6,
  IPV4_HEADER,
  IPV6_HEADER,
  IpView,
  type Ipv4Fields,
  type Ipv6Fields,
  putU16,
  writeIpv4,
  writeIpv6,
} from '../../core/packet/index.ts';
import type { ChildEntry } from './child-entry.ts';

/**
 * Outer headers that we write ourselves, where the way takes whole IP packets (RFC 4301 §5.1.2), and the cutting of what is larger than its
 * path (RFC 4303 §3.3.4, RFC 4302 §3.3.4).
 */
export class OuterPackets {
  readonly #view = new IpView();
  #identification: number;

  /** @param identification where counting begins, drawn by chance */
  constructor(identification: number) {
    this.#identification = identification;
  }

  /** Octets of the header that stands in front of ESP or AH. */
  headerLength(entry: ChildEntry, inner: IpView): number {
    return entry.transport === undefined ? this.tunnelHeader(entry) : inner.payload - inner.start;
  }

  tunnelHeader({ remoteOctets }: ChildEntry): number {
    return remoteOctets.length === 4 ? IPV4_HEADER : IPV6_HEADER;
  }

  /**
   * Writes the header of an outer packet that stands in `[0, length)`.
   * @param inner the packet inside; undefined for one without content
   */
  write(entry: ChildEntry, inner: IpView | undefined, protocol: number, out: Uint8Array, length: number): void {
    if (entry.transport !== undefined && inner !== undefined) return rewrite(inner, protocol, out, length);
    const trafficClass = outerClass(inner?.trafficClass ?? 0, entry.outer);
    const { localOctets: source, remoteOctets: destination } = entry;
    if (destination.length === 4) {
      v4.length = length;
      v4.protocol = protocol;
      v4.source = source;
      v4.destination = destination;
      v4.trafficClass = trafficClass;
      v4.dontFragment = dontFragment(
        inner === undefined || (inner.version === 6 ? length <= entry.pathMtu : inner.dontFragment),
        entry.outer,
      );
      v4.identification = this.#next() & 0xffff || 1;
      writeIpv4(out, 0, v4);
    } else {
      v6.payloadLength = length - IPV6_HEADER;
      v6.nextHeader = protocol;
      v6.source = source;
      v6.destination = destination;
      v6.trafficClass = trafficClass;
      // RFC 6438 §3: packets of one SA take one path
      v6.flowLabel = entry.outbound.spi & 0xfffff;
      writeIpv6(out, 0, v6);
    }
  }

  /** @param packet an outer packet. @returns false when it was dropped */
  send({ path, pathMtu }: ChildEntry, packet: Uint8Array): boolean {
    const { sendWhole } = path;
    if (sendWhole === undefined) return false;
    if (packet.length <= pathMtu) return sendWhole(packet);
    const view = this.#view;
    if (!view.parse(packet) || (view.version === 4 && view.dontFragment)) return false;
    let sent = true;
    const take = (piece: Uint8Array): void => {
      if (!sendWhole(piece)) sent = false;
    };
    if (view.version === 4) return fragmentIpv4(view, pathMtu, take) && sent;
    fragmentIpv6(view, pathMtu, this.#next(), take);
    return sent;
  }

  #next(): number {
    this.#identification = (this.#identification + 1) >>> 0;
    return this.#identification;
  }
}

/** The address of one end, as it goes into headers. */
export const octetsOf = (ip: string): Uint8Array => parseIp(ip.split('%')[0]!);

/** Transport mode: the header of the packet itself, which names ESP or AH from here on (RFC 4303 §3.1.1). */
function rewrite({ data, start, payload, version }: IpView, protocol: number, out: Uint8Array, length: number): void {
  const header = payload - start;
  for (let i = 0; i < header; i++) out[i] = data[start + i]!;
  if (version === 4) {
    putU16(out, 2, length);
    out[9] = protocol;
    putU16(out, 10, 0);
    putU16(out, 10, checksum(out, 0, header));
  } else {
    putU16(out, 4, length - IPV6_HEADER);
    out[6] = protocol;
  }
}

// Filled in again for every packet.
const v4: { -readonly [K in keyof Ipv4Fields]: Ipv4Fields[K] } = {
  length: 0,
  protocol: 0,
  source: new Uint8Array(4),
  destination: new Uint8Array(4),
  hopLimit: 64,
  identification: 0,
  dontFragment: true,
  moreFragments: false,
  fragmentOffset: 0,
  trafficClass: 0,
};
const v6: { -readonly [K in keyof Ipv6Fields]: Ipv6Fields[K] } = {
  payloadLength: 0,
  nextHeader: 0,
  source: new Uint8Array(16),
  destination: new Uint8Array(16),
  hopLimit: 64,
  trafficClass: 0,
  flowLabel: 0,
};
