import { basename } from 'node:path';
import { getU16, IpProtocol, IpView, ipPacketOf, readCapture } from '../../src/core/packet/index.ts';
import { listShared, readShared } from './shared.ts';

export interface CapturedDatagram {
  /** Of the frame, from 1. */
  readonly frame: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** UDP data, as it is. */
  readonly data: Uint8Array;
}

/** Every capture file below the shared captures, as paths relative to the shared root. */
export const captureFiles = (): string[] => [...listShared('vectors/captures', '.pcap'), ...listShared('vectors/captures', '.pcapng')];

export const captureNamed = (name: string): string => captureFiles().find((path) => basename(path) === name) ?? `vectors/captures/${name}`;

/** The UDP datagrams of a capture, checksums not looked at: a capture on the sending machine has none yet. */
export function udpDatagrams(path: string): CapturedDatagram[] {
  const datagrams: CapturedDatagram[] = [];
  const view = new IpView();
  let frame = 0;
  for (const packet of readCapture(readShared(path))) {
    frame++;
    const ip = ipPacketOf(packet.linkType, packet.data);
    if (ip === undefined || !view.parse(ip) || view.protocol !== IpProtocol.UDP || view.fragment) continue;
    const at = view.payload;
    datagrams.push({
      frame,
      sourcePort: getU16(ip, at),
      destinationPort: getU16(ip, at + 2),
      data: ip.slice(at + 8, at + getU16(ip, at + 4)),
    });
  }
  return datagrams;
}

/** The IKE messages of a capture: non-ESP markers taken off, ESP and keepalives left out. */
export function ikeDatagrams(path: string): CapturedDatagram[] {
  return udpDatagrams(path).flatMap((datagram) => {
    const { sourcePort, destinationPort, data } = datagram;
    if (sourcePort !== 4500 && destinationPort !== 4500) return sourcePort === 500 || destinationPort === 500 ? [datagram] : [];
    const marked = data.length > 4 && data.subarray(0, 4).every((octet) => octet === 0);
    return marked ? [{ ...datagram, data: data.subarray(4) }] : [];
  });
}
