import { concat, isIpv6, parseIp } from '../core/bytes/index.ts';
import {
  IPV4_HEADER,
  IPV6_HEADER,
  LinkType,
  pcapngHeader,
  pcapngPacket,
  UDP_HEADER,
  writeIpv4,
  writeIpv6,
  writeUdp,
} from '../core/packet/index.ts';
import type { PacketCapture } from './capture.ts';
import type { Packet } from './network.ts';

/**
 * A capture as pcapng, for Wireshark: raw IP packets with the virtual time, what became of each as its comment.
 * @param network only of this one; absent: all, each packet once per network that it crossed.
 */
export function capturePcapng(capture: PacketCapture, network?: string): Uint8Array {
  const blocks = capture.packets
    .filter((entry) => network === undefined || entry.network === network)
    .map((entry) => pcapngPacket(entry.at, toIp(entry.packet), `${entry.network}: ${entry.fate}`));
  return concat(pcapngHeader(LinkType.RAW), ...blocks);
}

/** The IP packet as it would be on the wire, checksums and all. */
function toIp(packet: Packet): Uint8Array {
  const [source, destination] = [parseIp(packet.source.ip), parseIp(packet.destination.ip)];
  const v6 = isIpv6(packet.source.ip);
  const header = v6 ? IPV6_HEADER : IPV4_HEADER;
  const udp = packet.protocol === 'udp' ? UDP_HEADER : 0;
  const octets = new Uint8Array(header + udp + packet.data.length);
  const protocol = packet.protocol === 'udp' ? UDP : ESP;
  octets.set(packet.data, header + udp);
  if (v6)
    writeIpv6(octets, 0, {
      payloadLength: octets.length - header,
      nextHeader: protocol,
      source,
      destination,
      hopLimit: 64,
      trafficClass: 0,
      flowLabel: 0,
    });
  else
    writeIpv4(octets, 0, {
      length: octets.length,
      protocol,
      source,
      destination,
      hopLimit: 64,
      identification: 0,
      dontFragment: false,
      moreFragments: false,
      fragmentOffset: 0,
      trafficClass: 0,
    });
  if (udp > 0) writeUdp(octets, header, source, packet.source.port, destination, packet.destination.port, packet.data.length);
  return octets;
}

const UDP = 17;
const ESP = 50;
