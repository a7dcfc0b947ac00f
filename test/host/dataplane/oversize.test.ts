import { describe, expect, test } from 'vitest';
import { parseIp } from '../../../src/core/bytes/index.ts';
import {
  checksum,
  getU16,
  getU32,
  IcmpView,
  IpView,
  ipv4HeaderValid,
  pseudoHeaderSum,
  putU16,
  QuotedPacket,
  setTrafficClass,
  sum16,
} from '../../../src/core/packet/index.ts';
import { childPair, type EspPair, espPair, type PairChild } from '../support/esp-pair.ts';
import { echoRequest, packet } from '../support/packets.ts';

const A4 = '10.0.0.1';
const B4 = '10.0.1.1';
const A6 = 'fd00:a::1';
const B6 = 'fd00:b::1';
/** 1500 − 28 outside; ESP takes 8, 8 of IV, 16 of tag, and 2 behind the payload, which ends on a multiple of 4. */
const MTU = 1438;

function parsed(data: Uint8Array): IpView {
  const view = new IpView();
  expect(view.parse(data)).toBe(true);
  return view;
}

function withDf(data: Uint8Array): Uint8Array {
  putU16(data, 6, 0x4000);
  putU16(data, 10, 0);
  putU16(data, 10, checksum(data, 0, 20));
  return data;
}

/** What A's sender was told, if it was an ICMP message that stands. */
function answerOf(pair: EspPair): { icmp: IcmpView; ip: IpView; quoted: QuotedPacket } | undefined {
  const last = pair.a.delivered.at(-1);
  if (last === undefined) return undefined;
  const ip = parsed(last);
  const icmp = new IcmpView();
  expect(icmp.parse(ip)).toBe(true);
  if (ip.version === 4) expect(ipv4HeaderValid(ip)).toBe(true);
  const quoted = new QuotedPacket();
  expect(quoted.parse(last, icmp.start, icmp.end)).toBe(true);
  return { icmp, ip, quoted };
}

function syn(from: string, to: string, mss: number): Uint8Array {
  const data = packet(from, to, { protocol: 6, size: (from.includes(':') ? 40 : 20) + 24 });
  const at = from.includes(':') ? 40 : 20;
  data[at + 12] = 0x60;
  data[at + 13] = 0x02;
  data.set([2, 4, mss >> 8, mss & 0xff], at + 20);
  putU16(data, at + 16, 0);
  const length = data.length - at;
  putU16(data, at + 16, checksum(data, at, data.length, pseudoHeaderSum(parseIp(from), 0, parseIp(to), 0, at === 20 ? 4 : 16, 6, length)));
  return data;
}

const mssOf = (data: Uint8Array): number => getU16(data, (data[0]! >>> 4 === 4 ? 20 : 40) + 22);

function checksumHolds(data: Uint8Array): boolean {
  const ip = parsed(data);
  const seed = pseudoHeaderSum(data, ip.sourceAt, data, ip.destinationAt, ip.addressLength, 6, ip.end - ip.payload);
  return sum16(data, ip.payload, ip.end, seed) === 0xffff;
}

describe('a packet that is larger than the tunnel takes', () => {
  test('IPv4 with DF: its sender hears the MTU (RFC 1191 §4)', () => {
    const pair = espPair({});
    const large = withDf(packet(A4, B4, { size: MTU + 1 }));
    expect(pair.a.plane.send(large)).toBe(false);
    const { icmp, ip, quoted } = answerOf(pair)!;
    expect([icmp.type, icmp.code, icmp.rest]).toEqual([3, 4, MTU]);
    expect([ip.data.slice(ip.destinationAt, ip.destinationAt + 4), quoted.claimedLength]).toEqual([parseIp(A4), MTU + 1]);
    expect([pair.a.wire.length, pair.a.plane.counters(1)!.drops['too big']]).toEqual([0, 1]);
    expect(pair.a.plane.send(withDf(packet(A4, B4, { size: MTU })))).toBe(true);
  });

  test('IPv6: Packet Too Big (RFC 4443 §3.2), of 1280 octets at most', () => {
    const pair = espPair({});
    pair.a.plane.send(packet(A6, B6, { size: MTU + 1 }));
    const { icmp, ip } = answerOf(pair)!;
    expect([icmp.type, icmp.code, icmp.rest, ip.end]).toEqual([2, 0, MTU, 1280]);
  });

  test('IPv4 without DF: it is cut first, and whole again behind the tunnel', () => {
    const pair = espPair({});
    const large = packet(A4, B4, { size: 4000 });
    expect(pair.a.plane.send(large)).toBe(true);
    expect(pair.a.delivered).toEqual([]);
    const pieces = pair.b.delivered.map(parsed);
    expect(pieces.map((piece) => [piece.end <= MTU, piece.moreFragments])).toEqual([
      [true, true],
      [true, true],
      [true, false],
    ]);
    expect(pieces.flatMap(({ data, payload }) => [...data.subarray(payload)])).toEqual([...large.subarray(20)]);
    expect(pair.a.wire.every(({ length }) => length <= 1472)).toBe(true);
  });

  test('DF that is cleared outside: the packet goes whole, and routers may cut it', () => {
    const pair = espPair({ more: { packets: { df: 'clear' } } });
    expect(pair.a.plane.send(withDf(packet(A4, B4, { size: 3000 })))).toBe(true);
    expect([pair.a.delivered.length, pair.b.delivered.length]).toEqual([0, 1]);
  });

  test('an IPv6 packet of 1280 octets always passes, whatever the path (RFC 8200 §5)', () => {
    const pair = espPair({});
    pair.a.plane.learnPathMtu('203.0.113.7', 576);
    expect(pair.a.plane.send(packet(A6, B6, { size: 1280 }))).toBe(true);
    expect(pair.a.plane.send(packet(A6, B6, { size: 1281 }))).toBe(false);
    expect(answerOf(pair)!.icmp.rest).toBe(1280);
  });

  test('nobody is told about ICMP errors, later fragments, and packets of nobody in particular', () => {
    const pair = espPair({});
    const error = withDf(packet(A4, B4, { size: 1500, protocol: 1 }));
    error[20] = 3;
    const later = packet(A6, B6, { size: 1500, protocol: 44 });
    later.set([17, 0, 0, 8, 0, 0, 0, 1], 40);
    for (const silent of [error, later, withDf(packet('0.0.0.0', B4, { size: 1500 })), withDf(packet('224.0.0.1', B4, { size: 1500 }))])
      expect(pair.a.plane.send(silent)).toBe(false);
    expect([pair.a.delivered, pair.a.plane.counters(1)!.drops['too big']]).toEqual([[], 4]);
  });

  test('answers are bounded (RFC 4443 §2.4 (f))', () => {
    const pair = espPair({});
    const large = withDf(packet(A4, B4, { size: 1500 }));
    for (let i = 0; i < 1000; i++) pair.a.plane.send(large);
    expect(pair.a.delivered.length).toBe(200);
    pair.clock.run(1000);
    pair.a.plane.send(large);
    expect(pair.a.delivered.length).toBe(201);
  });

  test('in transport mode it goes whole unless it says DF', () => {
    const transport: PairChild = { localTs: [A4], remoteTs: [B4], more: { mode: 'transport' } };
    const pair = espPair(transport);
    expect(pair.a.plane.send(packet(A4, B4, { size: 2000 }))).toBe(true);
    expect(pair.a.plane.send(withDf(packet(A4, B4, { size: 2000 })))).toBe(false);
    expect(answerOf(pair)!.icmp.rest).toBe(MTU + 20);
  });
});

describe('the path MTU', () => {
  const REMOTE = '203.0.113.7';
  const espTo = (spi: number): Uint8Array => Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi, 0, 0, 0, 9);

  test('is learnt for the SA whose packet is quoted, and told', () => {
    const pair = espPair({});
    expect(pair.a.plane.learnPathMtu(REMOTE, 1300, espTo(0xb001))).toBe(true);
    expect(pair.a.plane.mtu).toBe(MTU - 200);
    expect(pair.a.observed).toEqual([{ kind: 'path-mtu', remote: { ip: REMOTE, port: 0 }, mtu: 1300 }]);
    pair.a.plane.send(withDf(packet(A4, B4, { size: 1239 })));
    expect(answerOf(pair)!.icmp.rest).toBe(1238);
  });

  test('is not learnt from who does not quote a packet of ours, knows another peer, or promises more (RFC 4301 §8.2.1)', () => {
    const pair = espPair({});
    for (const quoted of [espTo(0xa001), espTo(0xb002), Uint8Array.of(0xb0, 1), new Uint8Array(0)])
      expect(pair.a.plane.learnPathMtu(REMOTE, 1300, quoted)).toBe(false);
    expect(pair.a.plane.learnPathMtu('203.0.113.8', 1300, espTo(0xb001))).toBe(false);
    for (const mtu of [1500, 1501, 65_535]) expect(pair.a.plane.learnPathMtu(REMOTE, mtu, espTo(0xb001))).toBe(false);
    expect([pair.a.plane.mtu, pair.a.observed]).toEqual([MTU, []]);
  });

  test('has a floor that no message goes below', () => {
    const pair = espPair({});
    for (const mtu of [0, 1, 68, 575]) pair.a.plane.learnPathMtu(REMOTE, mtu, espTo(0xb001));
    expect(pair.a.plane.mtu).toBe(514);
    expect(pair.a.observed).toHaveLength(1);
  });

  test('is forgotten after ten minutes, and with the path', () => {
    const pair = espPair({});
    pair.a.plane.learnPathMtu(REMOTE, 1300);
    const large = withDf(packet(A4, B4, { size: MTU }));
    pair.clock.run(599_999);
    expect(pair.a.plane.send(large)).toBe(false);
    pair.clock.run(600_000);
    expect(pair.a.plane.send(large)).toBe(true);
    expect(pair.a.plane.mtu).toBe(MTU);
    pair.a.plane.learnPathMtu(REMOTE, 1300);
    const addresses = { local: { ip: '198.51.100.2', port: 4500 }, remote: { ip: '203.0.113.99', port: 4500 }, encap: true };
    pair.a.plane.update(1, { kind: 'addresses', ...addresses });
    expect(pair.a.plane.mtu).toBe(MTU);
  });
});

describe('the MSS of TCP', () => {
  test.each([
    [A4, B4, MTU - 40],
    [A6, B6, MTU - 60],
  ])('from %s comes down to what the tunnel takes, and the checksum holds', (from, to, most) => {
    const pair = espPair({});
    pair.a.plane.send(syn(from, to, 1460));
    expect([mssOf(pair.b.delivered[0]!), checksumHolds(pair.b.delivered[0]!)]).toEqual([most, true]);
    pair.a.plane.send(syn(from, to, 1000));
    expect(mssOf(pair.b.delivered[1]!)).toBe(1000);
  });

  test('comes down where the other end did not care', () => {
    const pair = espPair();
    pair.a.plane.install(espPairSpec('a', {}));
    pair.b.plane.install(espPairSpec('b', { packets: { clampMss: false } }));
    pair.b.plane.send(syn(B4, A4, 1460));
    expect([mssOf(pair.a.delivered[0]!), checksumHolds(pair.a.delivered[0]!)]).toEqual([MTU - 40, true]);
  });

  test('stays where it was said so, or comes down further', () => {
    const off = espPair({ more: { packets: { clampMss: false } } });
    off.a.plane.send(syn(A4, B4, 1460));
    expect(mssOf(off.b.delivered[0]!)).toBe(1460);
    const low = espPair({ more: { packets: { clampMss: 1200 } } });
    low.a.plane.send(syn(A4, B4, 1460));
    expect(mssOf(low.b.delivered[0]!)).toBe(1200);
  });

  test('follows the path', () => {
    const pair = espPair({});
    pair.a.plane.learnPathMtu('203.0.113.7', 1300);
    pair.a.plane.send(syn(A4, B4, 1460));
    expect(mssOf(pair.b.delivered[0]!)).toBe(MTU - 240);
  });
});

describe('the outer header', () => {
  const marked = (data: Uint8Array, trafficClass: number): Uint8Array => {
    setTrafficClass(parsed(data), trafficClass);
    return data;
  };

  test.each([
    ['tunnel', {}, 0xba],
    ['tunnel, own DSCP', { packets: { copyDscp: 'no', outerDscp: 8 } }, 0x22],
    ['tunnel, no marks', { packets: { copyEcn: false } }, 0xb8],
  ] as const)('in %s mode has the traffic class of the rules', (_mode, more, expected) => {
    const pair = espPair({ more });
    for (const data of [packet(A4, B4), packet(A6, B6)]) pair.a.plane.send(marked(data, 0xba));
    expect(pair.a.classes).toEqual([expected, expected]);
  });

  test('a mark that was met outside comes through, in IPv4 and IPv6', () => {
    const pair = espPair({});
    pair.connected = false;
    for (const data of [packet(A4, B4), packet(A6, B6)]) pair.a.plane.send(marked(data, 0xba));
    for (const esp of pair.a.wire) pair.b.plane.receiving.receiveAt(esp, 0, esp.length, '198.51.100.2', 4500, undefined, undefined, 0x13);
    expect(pair.b.delivered.map((data) => parsed(data).trafficClass)).toEqual([0xbb, 0xbb]);
    expect(ipv4HeaderValid(parsed(pair.b.delivered[0]!))).toBe(true);
  });

  test('a mark on what does not know marks drops it, counted (RFC 6040 §4.2)', () => {
    const pair = espPair({});
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    pair.a.plane.send(echoRequest(A4, B4));
    for (const esp of pair.a.wire) pair.b.plane.receiving.receiveAt(esp, 0, esp.length, '198.51.100.2', 4500, undefined, undefined, 0x03);
    expect([pair.b.delivered, pair.b.plane.counters(1)!.drops.ecn]).toEqual([[], 2]);
  });

  test('in transport mode there is one header, which keeps what it says', () => {
    const pair = espPair({ localTs: [A4], remoteTs: [B4], more: { mode: 'transport' } });
    pair.connected = false;
    pair.a.plane.send(marked(packet(A4, B4), 0xba));
    expect(pair.a.classes).toEqual([0xba]);
    const esp = pair.a.wire[0]!;
    pair.b.plane.receiving.receiveAt(esp, 0, esp.length, '198.51.100.2', 4500, undefined, undefined, 0xbb);
    expect(parsed(pair.b.delivered[0]!).trafficClass).toBe(0xbb);
  });

  test('a quote holds the packet as its sender made it', () => {
    const pair = espPair({});
    const large = withDf(packet(A4, B4, { size: 1500 }));
    pair.a.plane.send(large);
    const { icmp, ip } = answerOf(pair)!;
    expect([getU32(ip.data, icmp.start), ip.end]).toEqual([getU32(large, 0), 576]);
  });
});

function espPairSpec(end: 'a' | 'b', more: NonNullable<PairChild['more']>) {
  return childPair({ more })[end];
}
