import { createWriteStream, type WriteStream } from 'node:fs';
import { type Address, isIpv6, parseIp } from '../../core/bytes/index.ts';
import {
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  LinkType,
  pcapngHeader,
  pcapngPacket,
  UDP_HEADER,
  writeIpv4,
  writeIpv6,
  writeUdp,
} from '../../core/packet/index.ts';
import { unwritable } from './unwritable.ts';

/**
 * A capture of our own datagrams as pcapng. A socket never shows the headers around its datagrams, so they are made anew: addresses, ports
 * and lengths are true, TTL and identification are not.
 */
export class UdpCapture {
  readonly #stream: WriteStream;
  readonly #path: string;
  #failure: NodeJS.ErrnoException | undefined;

  /** @param path is made anew, mode 0600: a capture tells who speaks with whom */
  constructor(path: string) {
    this.#path = path;
    this.#stream = createWriteStream(path, { mode: 0o600 });
    this.#stream.on('error', (error) => {
      this.#failure = error;
    });
    this.#stream.write(pcapngHeader(LinkType.RAW));
  }

  /** @param at milliseconds since 1970 UTC @param payload what UDP carries; copied */
  record(at: number, source: Address, destination: Address, payload: Uint8Array): void {
    if (this.#failure === undefined) this.#stream.write(pcapngPacket(at, udpPacket(source, destination, payload)));
  }

  /** Resolves when everything is in the file. @throws DataPlaneError `FILE_UNWRITABLE` when it could not be written */
  async close(): Promise<void> {
    if (!this.#stream.closed) await new Promise<void>((resolve) => this.#stream.end().once('close', resolve));
    if (this.#failure !== undefined) throw unwritable(this.#path, this.#failure);
  }
}

function udpPacket(source: Address, destination: Address, payload: Uint8Array): Uint8Array {
  const [from, to] = [parseIp(source.ip), parseIp(destination.ip)];
  const header = isIpv6(source.ip) ? IPV6_HEADER : IPV4_HEADER;
  const packet = new Uint8Array(header + UDP_HEADER + payload.length);
  packet.set(payload, header + UDP_HEADER);
  writeUdp(packet, header, from, source.port, to, destination.port, payload.length);
  const ends = { source: from, destination: to, hopLimit: 64, trafficClass: 0 };
  if (header === IPV6_HEADER)
    writeIpv6(packet, 0, { ...ends, payloadLength: packet.length - header, nextHeader: IpProtocol.UDP, flowLabel: 0 });
  else {
    const whole = { identification: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(packet, 0, { ...ends, ...whole, length: packet.length, protocol: IpProtocol.UDP });
  }
  return packet;
}
