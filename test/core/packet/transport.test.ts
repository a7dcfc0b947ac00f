import { describe, expect, test } from 'vitest';
import { concat, fromHex, parseIp } from '../../../src/core/bytes/index.ts';
import {
  clampTcpMss,
  getU16,
  IcmpType,
  IcmpView,
  Icmpv6Type,
  IpProtocol,
  IpView,
  isIcmpError,
  offersMssAbove,
  QuotedPacket,
  sealTcp,
  TcpFlag,
  TcpView,
  UdpView,
  writeIcmp,
  writeIpv4,
  writeIpv6,
  writeTcp,
  writeUdp,
} from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

const ip = new IpView();
const ADDRESSES = {
  4: [parseIp('192.0.2.1'), parseIp('198.51.100.2')],
  6: [parseIp('2001:db8::1'), parseIp('2001:db8::2')],
} as const;

/** A packet with room of `length` octets for the upper layer, and where that begins. */
function packetFor(
  version: 4 | 6,
  protocol: number,
  length: number,
): { packet: Uint8Array; at: number; source: Uint8Array; destination: Uint8Array } {
  const [source, destination] = ADDRESSES[version];
  const at = version === 4 ? 20 : 40;
  const packet = new Uint8Array(at + length);
  if (version === 6) {
    writeIpv6(packet, 0, { payloadLength: length, nextHeader: protocol, source, destination, hopLimit: 64, trafficClass: 0, flowLabel: 0 });
  } else {
    writeIpv4(packet, 0, {
      length: packet.length,
      protocol,
      source,
      destination,
      hopLimit: 64,
      identification: 0,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      trafficClass: 0,
    });
  }
  return { packet, at, source, destination };
}

function tcp(version: 4 | 6, options: Uint8Array, text: Uint8Array, flags: number = TcpFlag.ACK): Uint8Array {
  const header = 20 + options.length;
  const { packet, at, source, destination } = packetFor(version, IpProtocol.TCP, header + text.length);
  packet.set(options, at + 20);
  packet.set(text, at + header);
  writeTcp(packet, at, { sourcePort: 5000, destinationPort: 80, seq: -2, ack: 0x7fffffff, flags, window: 4096 }, header);
  sealTcp(packet, at, packet.length, source, destination);
  return packet;
}

describe.each([4, 6] as const)('TCP over IPv%i (RFC 9293 §3.1)', (version) => {
  const view = new TcpView();

  test('what is written parses to the same', () => {
    const text = new SeededRandom(1).bytes(101);
    expect(ip.parse(tcp(version, new Uint8Array(0), text, TcpFlag.ACK | TcpFlag.PSH | TcpFlag.FIN))).toBe(true);
    expect(view.parse(ip)).toBe(true);
    expect(view).toMatchObject({
      sourcePort: 5000,
      destinationPort: 80,
      seq: -2,
      ack: 0x7fffffff,
      window: 4096,
      mss: -1,
      hasTimestamps: false,
    });
    expect(view.flags).toBe(TcpFlag.ACK | TcpFlag.PSH | TcpFlag.FIN);
    expect(view.length).toBe(102);
    expect(ip.data.subarray(view.start, view.end)).toEqual(text);
  });

  test('one wrong bit anywhere is seen', () => {
    const packet = tcp(version, new Uint8Array(0), new SeededRandom(2).bytes(30));
    for (let bit = (version === 4 ? 12 : 8) * 8; bit < packet.length * 8; bit++) {
      const broken = packet.slice();
      broken[bit >>> 3] = broken[bit >>> 3]! ^ (1 << (bit & 7));
      expect(ip.parse(broken) && view.parse(ip)).toBe(false);
    }
  });

  test('the options of a SYN', () => {
    const options = fromHex('02 04 05 b4 04 02 08 0a 00 00 00 07 00 00 00 00 01 03 03 0e');
    ip.parse(tcp(version, options, new Uint8Array(0), TcpFlag.SYN));
    expect(view.parse(ip)).toBe(true);
    expect(view).toMatchObject({ mss: 1460, sackPermitted: true, hasTimestamps: true, tsVal: 7, tsEcr: 0, windowScale: 14 });
  });

  test('RFC 2018 §3: SACK blocks, at most four', () => {
    const four = fromHex('01 01 05 22 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00 05 00 00 00 06 ff ff ff ff 00 00 00 08');
    ip.parse(tcp(version, four, new Uint8Array(0)));
    expect(view.parse(ip)).toBe(true);
    expect(view.sackBlocks).toBe(4);
    expect([...view.sack]).toEqual([1, 2, 3, 4, 5, 6, -1, 8]);
  });

  test('options of one segment do not leak into the next', () => {
    ip.parse(tcp(version, fromHex('08 0a 00 00 00 07 00 00 00 09 01 01'), new Uint8Array(0)));
    view.parse(ip);
    expect(view.hasTimestamps).toBe(true);
    ip.parse(tcp(version, fromHex('01 01 01 00'), new Uint8Array(0)));
    view.parse(ip);
    expect(view).toMatchObject({ hasTimestamps: false, sackBlocks: 0, mss: -1, windowScale: -1 });
  });

  test.each([
    ['a length of zero', '02 00 05 b4'],
    ['a length of one', '02 01 05 b4'],
    ['a length beyond the header', '01 01 02 08'],
    ['a kind without length', '01 01 01 02'],
    ['a known kind with a wrong length', '02 03 05 01'],
    ['END before MSS', '00 02 04 05'],
  ])('RFC 9293 MUST-7: %s in the options does no harm', (_what, options) => {
    ip.parse(tcp(version, fromHex(options), Uint8Array.of(1), TcpFlag.SYN));
    expect(view.parse(ip)).toBe(true);
    expect(view.mss).toBe(-1);
    expect(view.length).toBe(2);
  });

  test('a data offset below five or beyond the segment does not parse', () => {
    for (const words of [4, 15]) {
      const packet = tcp(version, new Uint8Array(0), new Uint8Array(4));
      packet[(version === 4 ? 20 : 40) + 12] = words << 4;
      ip.parse(packet);
      expect(view.parse(ip)).toBe(false);
    }
  });

  test.each([
    ['at an even offset', '02 04 05 b4', 2],
    ['behind a NOP, at an odd one', '01 02 04 05 b4 01 01 01', 3],
  ])('RFC 6691: the MSS of a SYN is lowered %s and the checksum still holds', (_what, options, at) => {
    const packet = tcp(version, fromHex(options), new Uint8Array(0), TcpFlag.SYN);
    ip.parse(packet);
    expect(clampTcpMss(ip, 1300)).toBe(true);
    expect(getU16(packet, ip.payload + 20 + at)).toBe(1300);
    expect(view.parse(ip)).toBe(true);
    expect(view.mss).toBe(1300);
    expect(clampTcpMss(ip, 1400)).toBe(false);
  });

  test.each([
    ['both are too large', '02 04 05 b4 02 04 05 dc', '02 04 05 14 02 04 05 14'],
    ['the second alone is, at an odd offset', '02 04 02 18 01 02 04 05 b4 01 01 01', '02 04 02 18 01 02 04 05 14 01 01 01'],
    ['what follows cannot be an option', '02 04 05 b4 02 04 05 b4 02 01 05 b4', '02 04 05 14 02 04 05 14 02 01 05 b4'],
    ['END stands before the second', '02 04 05 b4 00 02 04 05 b4 00 00 00', '02 04 05 14 00 02 04 05 b4 00 00 00'],
  ])('every MSS option of a SYN is lowered: %s', (_what, before, after) => {
    const packet = tcp(version, fromHex(before), new Uint8Array(0), TcpFlag.SYN);
    ip.parse(packet);
    expect(offersMssAbove(ip, 1300)).toBe(true);
    expect(clampTcpMss(ip, 1300)).toBe(true);
    expect(offersMssAbove(ip, 1300)).toBe(false);
    expect(view.parse(ip), 'the checksum holds').toBe(true);
    expect(packet.subarray(ip.payload + 20, view.start)).toEqual(fromHex(after));
    expect(clampTcpMss(ip, 1300)).toBe(false);
  });

  test('forty octets of MSS options end the work, and an option cut off by the header is left alone', () => {
    const packet = tcp(version, fromHex('02 04 ff ff '.repeat(10)), new Uint8Array(0), TcpFlag.SYN);
    ip.parse(packet);
    expect(clampTcpMss(ip, 1300)).toBe(true);
    expect(view.parse(ip)).toBe(true);
    expect([...packet.subarray(ip.payload + 20)]).toEqual(Array.from({ length: 10 }, () => [2, 4, 1300 >>> 8, 1300 & 0xff]).flat());
    ip.parse(tcp(version, fromHex('01 01 01 02'), fromHex('04 05 b4'), TcpFlag.SYN));
    expect(clampTcpMss(ip, 1300)).toBe(false);
  });

  test('only SYNs are clamped', () => {
    ip.parse(tcp(version, fromHex('02 04 05 b4'), new Uint8Array(0), TcpFlag.ACK));
    expect(offersMssAbove(ip, 1000)).toBe(false);
    expect(clampTcpMss(ip, 1000)).toBe(false);
  });
});

describe.each([4, 6] as const)('UDP over IPv%i (RFC 768)', (version) => {
  const view = new UdpView();

  function udp(data: Uint8Array): Uint8Array {
    const { packet, at, source, destination } = packetFor(version, IpProtocol.UDP, 8 + data.length);
    packet.set(data, at + 8);
    writeUdp(packet, at, source, 53, destination, 4053, data.length);
    return packet;
  }

  test('what is written parses to the same', () => {
    const data = new SeededRandom(4).bytes(77);
    ip.parse(udp(data));
    expect(view.parse(ip)).toBe(true);
    expect(view).toMatchObject({ sourcePort: 53, destinationPort: 4053 });
    expect(ip.data.subarray(view.start, view.end)).toEqual(data);
  });

  test('a computed checksum of zero is sent as all ones', () => {
    // Two octets that bring the sum of everything else to all ones.
    const packet = udp(new Uint8Array(2));
    const at = version === 4 ? 20 : 40;
    const missing = getU16(packet, at + 6);
    const zero = udp(Uint8Array.of(missing >>> 8, missing & 0xff));
    expect(getU16(zero, at + 6)).toBe(0xffff);
    ip.parse(zero);
    expect(view.parse(ip)).toBe(true);
  });

  test(`without checksum: ${version === 4 ? 'taken' : 'refused (RFC 8200 §8.1)'}`, () => {
    const packet = udp(new Uint8Array(5));
    packet.fill(0, packet.length - 13 + 6, packet.length - 13 + 8);
    ip.parse(packet);
    expect(view.parse(ip)).toBe(version === 4);
  });

  test('a length that lies does not parse', () => {
    for (const length of [7, 14]) {
      const packet = udp(new Uint8Array(5));
      packet[packet.length - 13 + 5] = length;
      ip.parse(packet);
      expect(view.parse(ip)).toBe(false);
    }
  });
});

describe.each([4, 6] as const)('ICMP for IPv%i', (version) => {
  const view = new IcmpView();
  const protocol = version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP;

  test('what is written parses to the same', () => {
    const { packet, at, source, destination } = packetFor(version, protocol, 8 + 4);
    packet.set([1, 2, 3, 4], at + 8);
    writeIcmp(packet, at, version === 4 ? IcmpType.ECHO : Icmpv6Type.ECHO_REQUEST, 0, 0xabcd0102, 4, source, destination);
    ip.parse(packet);
    expect(view.parse(ip)).toBe(true);
    expect(view).toMatchObject({ code: 0, identifier: 0xabcd, sequence: 0x0102 });
    expect(ip.data.subarray(view.start, view.end)).toEqual(Uint8Array.of(1, 2, 3, 4));
    packet[at + 9] = 99;
    expect(view.parse(ip)).toBe(false);
  });

  test('the packet that an error quotes is found, cut off as it is', () => {
    const whole = tcp(version, new Uint8Array(0), new Uint8Array(500));
    const quoted = new QuotedPacket();
    const header = version === 4 ? 20 : 40;
    expect(quoted.parse(concat(new Uint8Array(8), whole.subarray(0, header + 8)), 8, 8 + header + 8)).toBe(true);
    expect(quoted).toMatchObject({ version, protocol: 6, payload: 8 + header, claimedLength: whole.length });
    expect(quoted.parse(whole, 0, header + 7)).toBe(false);
  });
});

test('QuotedPacket: a quoted fragment that is not the first names no port', () => {
  const quoted = new QuotedPacket();
  const packet = tcp(4, new Uint8Array(0), new Uint8Array(8));
  packet[7] = 1;
  expect(quoted.parse(packet, 0, packet.length)).toBe(false);
  const six = concat(tcp(6, new Uint8Array(0), new Uint8Array(0)).subarray(0, 40), fromHex('06 00 00 08 00 00 00 01'), new Uint8Array(20));
  six[6] = IpProtocol.IPV6_FRAG;
  expect(quoted.parse(six, 0, six.length)).toBe(false);
  six[43] = 1;
  expect(quoted.parse(six, 0, six.length)).toBe(true);
});

test('which messages are errors (RFC 1122 §3.2.2, RFC 4443 §2.1)', () => {
  expect([0, 3, 4, 5, 8, 11, 12, 13].filter((type) => isIcmpError(4, type))).toEqual([3, 4, 5, 11, 12]);
  expect([1, 2, 3, 4, 100, 127, 128, 129, 135, 255].filter((type) => isIcmpError(6, type))).toEqual([1, 2, 3, 4, 100, 127]);
});
