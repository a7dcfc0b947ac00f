import { parseIp } from '../../../src/core/bytes/index.ts';
import { checksum, pseudoHeaderSum, putU16, writeIcmp, writeIpv4, writeIpv6 } from '../../../src/core/packet/index.ts';
import type { AddressRangeSelector } from '../../../src/core/wire/payloads/types.ts';

export interface UdpPacketOptions {
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly size?: number;
  readonly hopLimit?: number;
  /** 6 makes it look like TCP to whoever reads ports only. */
  readonly protocol?: number;
  readonly fragmentOffset?: number;
}

/** An inner packet of either family, by its addresses, with the beginnings of UDP. */
export function packet(from: string, to: string, options: UdpPacketOptions = {}): Uint8Array {
  const { sourcePort = 4000, destinationPort = 7, size = 64, hopLimit = 64, protocol = 17, fragmentOffset = 0 } = options;
  const source = parseIp(from);
  const header = source.length === 4 ? 20 : 40;
  const data = new Uint8Array(Math.max(size, header + 8));
  putU16(data, header, sourcePort);
  putU16(data, header + 2, destinationPort);
  putU16(data, header + 4, data.length - header);
  for (let i = header + 8; i < data.length; i++) data[i] = i;
  ipHeader(data, from, to, protocol, hopLimit, fragmentOffset);
  const length = data.length - header;
  const seed = pseudoHeaderSum(source, 0, parseIp(to), 0, source.length, protocol, length);
  if (protocol === 17) putU16(data, header + 6, checksum(data, header, data.length, seed) || 0xffff);
  return data;
}

export function echoRequest(from: string, to: string, hopLimit = 64): Uint8Array {
  const v4 = !from.includes(':');
  const header = v4 ? 20 : 40;
  const data = new Uint8Array(header + 16);
  ipHeader(data, from, to, v4 ? 1 : 58, hopLimit);
  writeIcmp(data, header, v4 ? 8 : 128, 0, 0x00010001, 8, parseIp(from), parseIp(to));
  return data;
}

function ipHeader(data: Uint8Array, from: string, to: string, protocol: number, hopLimit: number, fragmentOffset = 0): void {
  const addresses = { source: parseIp(from), destination: parseIp(to), hopLimit, trafficClass: 0 };
  if (addresses.source.length === 4) {
    const whole = { identification: 1, dontFragment: false, moreFragments: false, fragmentOffset };
    writeIpv4(data, 0, { ...addresses, ...whole, length: data.length, protocol });
  } else writeIpv6(data, 0, { ...addresses, payloadLength: data.length - 40, nextHeader: protocol, flowLabel: 0 });
}

/** `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `fd00::/64`, each with `[protocol/port]` or `[protocol/first-last]` behind it if wanted. */
export function selector(text: string): AddressRangeSelector {
  const [, range = '', protocol = '0', ports = '0-65535'] = /^([^[]+)(?:\[(\d+)(?:\/([\d-]+))?\])?$/.exec(text) ?? [];
  const [startPort = 0, endPort = startPort] = ports.split('-').map(Number);
  const [start, end] = range.includes('-') ? range.split('-').map(parseIp) : bounds(range);
  return { type: start!.length === 4 ? 7 : 8, protocol: Number(protocol), startPort, endPort, start: start!, end: end! };
}

function bounds(prefix: string): [Uint8Array, Uint8Array] {
  const [ip = '', length] = prefix.split('/');
  const start = parseIp(ip);
  const end = start.slice();
  for (let bit = length === undefined ? start.length * 8 : Number(length); bit < start.length * 8; bit++)
    end[bit >>> 3]! |= 0x80 >>> (bit & 7);
  return [start, end];
}
