import { describe, expect, test } from 'vitest';
import { concat, fromHex, parseIp } from '../../../src/core/bytes/index.ts';
import {
  checksum,
  IpProtocol,
  IpView,
  ipv4HeaderValid,
  putU16,
  writeIpv4,
  writeIpv6,
  writeIpv6Fragment,
} from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

function ipv4(payload: Uint8Array, change: Partial<Parameters<typeof writeIpv4>[2]> = {}): Uint8Array {
  const packet = new Uint8Array(20 + payload.length);
  packet.set(payload, 20);
  writeIpv4(packet, 0, {
    length: packet.length,
    protocol: IpProtocol.UDP,
    source: parseIp('192.0.2.1'),
    destination: parseIp('198.51.100.2'),
    hopLimit: 64,
    identification: 0x1234,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    trafficClass: 0,
    ...change,
  });
  return packet;
}

function ipv6(nextHeader: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + payload.length);
  packet.set(payload, 40);
  writeIpv6(packet, 0, {
    payloadLength: payload.length,
    nextHeader,
    source: parseIp('2001:db8::1'),
    destination: parseIp('2001:db8::2'),
    hopLimit: 64,
    trafficClass: 0xb8,
    flowLabel: 0x12345,
  });
  return packet;
}

const view = new IpView();
const bytes = (text: string): Uint8Array => fromHex(text);

describe('IPv4 (RFC 791 §3.1)', () => {
  test('what is written parses to the same', () => {
    const packet = ipv4(new Uint8Array(11), { trafficClass: 0x2e, dontFragment: true });
    expect(view.parse(packet)).toBe(true);
    expect(view).toMatchObject({
      version: 4,
      protocol: 17,
      payload: 20,
      end: 31,
      hopLimit: 64,
      trafficClass: 0x2e,
      identification: 0x1234,
      dontFragment: true,
      fragment: false,
    });
    expect(ipv4HeaderValid(view)).toBe(true);
  });

  test('a wrong header checksum is seen', () => {
    const packet = ipv4(new Uint8Array(4));
    packet[8] = 1;
    expect(view.parse(packet)).toBe(true);
    expect(ipv4HeaderValid(view)).toBe(false);
  });

  test('options are skipped', () => {
    const packet = concat(ipv4(new Uint8Array(0)), bytes('01 01 01 00'), bytes('aa bb'));
    packet[0] = 0x46;
    putU16(packet, 2, packet.length);
    expect(view.parse(packet)).toBe(true);
    expect(packet.subarray(view.payload, view.end)).toEqual(bytes('aa bb'));
  });

  test('padding behind the total length does not belong to it', () => {
    const packet = concat(ipv4(bytes('01 02')), new Uint8Array(24));
    expect(view.parse(packet)).toBe(true);
    expect(view.end).toBe(22);
  });

  test.each([
    ['nothing', new Uint8Array(0), 'truncated'],
    ['half a header', ipv4(new Uint8Array(0)).subarray(0, 19), 'truncated'],
    ['a version that is none', Uint8Array.of(0x55, ...new Uint8Array(30)), 'version'],
    ['a header shorter than 20', Uint8Array.of(0x44, ...ipv4(new Uint8Array(8)).subarray(1)), 'header-length'],
    ['a total length below the header', ipv4(new Uint8Array(8), { length: 19 }), 'header-length'],
    ['a total length beyond what is there', ipv4(new Uint8Array(8), { length: 29 }), 'total-length'],
    ['a middle fragment that is not whole eights', ipv4(new Uint8Array(9), { moreFragments: true }), 'total-length'],
    ['a fragment without data', ipv4(new Uint8Array(0), { fragmentOffset: 8 }), 'total-length'],
    ['a fragment beyond 65535', ipv4(new Uint8Array(32), { fragmentOffset: 65520 }), 'total-length'],
  ])('%s does not parse', (_what, packet, fault) => {
    expect(view.parse(packet)).toBe(false);
    expect(view.fault).toBe(fault);
  });

  test('fragments are told apart from whole packets', () => {
    expect(view.parse(ipv4(new Uint8Array(16), { moreFragments: true }))).toBe(true);
    expect(view).toMatchObject({ fragment: true, fragmentOffset: 0, moreFragments: true });
    expect(view.parse(ipv4(new Uint8Array(5), { fragmentOffset: 1480 }))).toBe(true);
    expect(view).toMatchObject({ fragment: true, fragmentOffset: 1480, moreFragments: false });
    expect(view.parse(ipv4(new Uint8Array(5)))).toBe(true);
    expect(view.fragment).toBe(false);
  });
});

describe('IPv6 (RFC 8200)', () => {
  test('what is written parses to the same', () => {
    expect(view.parse(ipv6(IpProtocol.TCP, new Uint8Array(20)))).toBe(true);
    expect(view).toMatchObject({
      version: 6,
      protocol: 6,
      payload: 40,
      end: 60,
      trafficClass: 0xb8,
      hopLimit: 64,
      dontFragment: true,
      nextHeaderAt: 6,
    });
  });

  test('§4.1: hop-by-hop, destination options and a finished routing header are walked over', () => {
    const headers = concat(
      bytes('3c 00 01 04 00 00 00 00'), // hop-by-hop: PadN; next: destination options
      bytes('2b 01 00 00 00 00 00 00 1e 06 00 00 00 00 00 00'), // Pad1 and an unknown option that may be skipped; next: routing
      bytes('06 00 04 00 00 00 00 00'), // routing, no segments left; next: TCP
    );
    expect(view.parse(ipv6(IpProtocol.HOPOPT, concat(headers, new Uint8Array(20))))).toBe(true);
    expect(view).toMatchObject({ protocol: 6, payload: 72, nextHeaderAt: 64 });
  });

  test('§4.5: a fragment stops the walk', () => {
    const header = new Uint8Array(8);
    writeIpv6Fragment(header, 0, IpProtocol.UDP, 1448, true, 0xdeadbeef);
    expect(view.parse(ipv6(IpProtocol.IPV6_FRAG, concat(header, new Uint8Array(16))))).toBe(true);
    expect(view).toMatchObject({
      fragment: true,
      fragmentOffset: 1448,
      moreFragments: true,
      identification: 0xdeadbeef,
      protocol: 17,
      payload: 48,
      fragmentHeaderAt: 40,
      fragmentNextHeaderAt: 6,
    });
  });

  test('RFC 6946: a fragment that is the whole packet is a packet', () => {
    const header = new Uint8Array(8);
    writeIpv6Fragment(header, 0, IpProtocol.UDP, 0, false, 7);
    expect(view.parse(ipv6(IpProtocol.IPV6_FRAG, concat(header, new Uint8Array(12))))).toBe(true);
    expect(view).toMatchObject({ fragment: false, protocol: 17, payload: 48 });
  });

  test.each([
    ['a payload length beyond what is there', ipv6(6, new Uint8Array(8)).subarray(0, 47), 'total-length', -1, 0],
    [
      '§4: hop-by-hop options in second place',
      ipv6(60, bytes('00 00 01 04 00 00 00 00 06 00 01 04 00 00 00 00')),
      'extension-headers',
      1,
      40,
    ],
    ['an extension header that is cut off', ipv6(60, bytes('06 01 01 04 00 00 00 00')), 'extension-headers', -1, 0],
    ['§4.2: an unknown option of type 01: discard in silence', ipv6(60, bytes('06 00 41 04 00 00 00 00')), 'option', -1, 0],
    ['§4.2: of type 10: discard and tell', ipv6(60, bytes('06 00 81 04 00 00 00 00')), 'option', 2, 42],
    ['§4.2: of type 11: discard and tell, unless multicast', ipv6(60, bytes('06 00 c2 04 00 00 00 00')), 'option', 2, 42],
    ['an option that runs out of its header', ipv6(60, bytes('06 00 01 09 00 00 00 00')), 'extension-headers', -1, 0],
    ['§4.4: a routing header with segments left', ipv6(43, bytes('06 00 00 01 00 00 00 00')), 'routing', 0, 42],
    ['§4.5: a middle fragment that is not whole eights', ipv6(44, bytes('11 00 00 01 00 00 00 01 aa')), 'total-length', 0, 4],
    ['§4.5: a fragment beyond 65535', ipv6(44, bytes('11 00 ff f8 00 00 00 01 aa bb cc dd ee ff 00 11 22')), 'total-length', 0, 42],
  ])('%s', (_what, packet, fault, code, pointer) => {
    expect(view.parse(packet)).toBe(false);
    expect({ fault: view.fault, code: view.problemCode }).toEqual({ fault, code });
    if (code >= 0) expect(view.problemPointer).toBe(pointer);
  });

  test('a chain without end is given up', () => {
    const link = bytes('3c 00 01 04 00 00 00 00');
    expect(view.parse(ipv6(60, concat(...new Array<Uint8Array>(9).fill(link))))).toBe(false);
    expect(view.fault).toBe('extension-headers');
  });

  test('§4.2: multicast destinations are spared type 11', () => {
    const packet = ipv6(60, bytes('06 00 c2 04 00 00 00 00'));
    packet[24] = 0xff;
    expect(view.parse(packet)).toBe(false);
    expect(view.problemCode).toBe(-1);
  });
});

test('whatever the bytes, parsing ends, and offsets stay inside', () => {
  const random = new SeededRandom('ip');
  const seeds = [
    ipv4(new Uint8Array(40)),
    ipv6(60, concat(bytes('2c 00 01 04 00 00 00 00'), bytes('06 00 00 00 00 00 00 01'), new Uint8Array(40))),
  ];
  for (let i = 0; i < 20_000; i++) {
    const packet = new Uint8Array(random.pick(seeds));
    for (let k = random.between(0, 6); k > 0; k--) packet[random.between(0, packet.length - 1)] = random.between(0, 255);
    const cut = packet.subarray(0, random.between(0, packet.length));
    if (!view.parse(cut)) continue;
    expect(view.payload).toBeLessThanOrEqual(view.end);
    expect(view.end).toBeLessThanOrEqual(cut.length);
    expect(view.destinationAt + view.addressLength).toBeLessThanOrEqual(cut.length);
  }
});

test('the header checksum over a received header is what was sent', () => {
  const packet = ipv4(new Uint8Array(0));
  expect(checksum(packet, 0, 20)).toBe(0);
});
