import { describe, expect, test } from 'vitest';
import { formatIp, parseIp } from '../../../src/core/bytes/index.ts';
import { integrityTransforms } from '../../../src/core/crypto/index.ts';
import { IpView, ipv4HeaderValid, putU16, setTrafficClass } from '../../../src/core/packet/index.ts';
import { childPair, type EspPair, espPair, type PairChild } from '../support/esp-pair.ts';
import { packet } from '../support/packets.ts';

const A4 = '10.0.0.1';
const B4 = '10.0.1.1';
const A6 = 'fd00:a::1';
const B6 = 'fd00:b::1';
const OUTER = {
  4: { a: { ip: '198.51.100.2', port: 500 }, b: { ip: '203.0.113.7', port: 500 } },
  6: { a: { ip: '2001:db8::a', port: 500 }, b: { ip: '2001:db8::b', port: 500 } },
} as const;

interface WholeChild extends PairChild {
  readonly version?: 4 | 6;
  readonly protocol?: 'ESP' | 'AH';
  /** Of AH, IANA Transform Type 3. */
  readonly integrity?: number;
}

function wholePair({ version = 4, protocol = 'ESP', integrity = 12, more = {}, ...child }: WholeChild): EspPair {
  const pair = espPair();
  pair.whole = true;
  const { a, b } = childPair({ ...child, more: { ...more, encap: false, protocol } });
  const mac = new Uint8Array(integrityTransforms().find(({ id }) => id === integrity)!.keyLength);
  const keyed = (spec: typeof a): typeof a => {
    if (protocol === 'ESP') return spec;
    const half = (keys: typeof a.inbound) => ({ ...keys, integrity, integrityKey: mac.slice().fill(keys.spi & 0xff) });
    return { ...spec, inbound: half(spec.inbound), outbound: half(spec.outbound) };
  };
  const ends = OUTER[version];
  pair.a.plane.install({ ...keyed(a), local: ends.a, remote: ends.b });
  pair.b.plane.install({ ...keyed(b), local: ends.b, remote: ends.a });
  return pair;
}

function parsed(data: Uint8Array): IpView {
  const view = new IpView();
  expect([view.parse(data), view.fault]).toEqual([true, undefined]);
  return view;
}

const address = ({ data, addressLength }: IpView, at: number): string => formatIp(data.subarray(at, at + addressLength));
const drops = (pair: EspPair) => pair.b.plane.counters(1)!.drops;

describe.each([
  ['ESP', 50],
  ['AH', 51],
] as const)('whole packets of %s', (protocol, number) => {
  test.each([4, 6] as const)('tunnel over IPv%i: IPv4 and IPv6 inside, both ways, under a header of ours', (version) => {
    const pair = wholePair({ version, protocol });
    const there = [packet(A4, B4), packet(A6, B6, { size: 1400 })];
    const back = [packet(B4, A4, { size: 61 }), packet(B6, A6)];
    for (const one of there) expect(pair.a.plane.send(one)).toBe(true);
    for (const one of back) expect(pair.b.plane.send(one)).toBe(true);
    expect([pair.b.delivered, pair.a.delivered]).toEqual([there, back]);
    for (const whole of pair.a.wire) {
      const outer = parsed(whole);
      expect([outer.version, outer.protocol, outer.hopLimit, outer.end]).toEqual([version, number, 64, whole.length]);
      const { a, b } = OUTER[version];
      expect([address(outer, outer.sourceAt), address(outer, outer.destinationAt)]).toEqual([a.ip, b.ip]);
      if (version === 4) expect([ipv4HeaderValid(outer), outer.identification > 0]).toEqual([true, true]);
    }
  });

  test.each([
    [4, A4, B4],
    [6, A6, B6],
  ] as const)('transport over IPv%i: the header is the packet’s own', (_version, from, to) => {
    const pair = espPair();
    pair.whole = true;
    const made = wholePair({ protocol, localTs: [from], remoteTs: [to], more: { mode: 'transport' } });
    const inner = packet(from, to, { size: 300, hopLimit: 17 });
    setTrafficClass(parsed(inner), 0xb8);
    expect(made.a.plane.send(inner)).toBe(true);
    const outer = parsed(made.a.wire[0]!);
    expect([outer.protocol, outer.hopLimit, outer.trafficClass, address(outer, outer.destinationAt)]).toEqual([number, 17, 0xb8, to]);
    expect(made.b.delivered).toEqual([inner]);
  });

  test('what routers do on the way is no fault, and congestion comes through', () => {
    const pair = wholePair({ protocol });
    pair.connected = false;
    const inner = packet(A4, B4);
    setTrafficClass(parsed(inner), 0x02);
    pair.a.plane.send(inner);
    const whole = pair.a.wire[0]!;
    whole[8]! -= 5;
    setTrafficClass(parsed(whole), 0x03);
    pair.b.plane.receiving.receiveWhole(whole);
    expect(pair.b.delivered.map((one) => parsed(one).trafficClass)).toEqual([3]);
  });

  test('once, and never changed', () => {
    const pair = wholePair({ protocol });
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!;
    for (let at = 36; at < whole.length; at += 5) {
      const bent = whole.slice();
      bent[at]! ^= 4;
      pair.b.plane.receiving.receiveWhole(bent);
    }
    expect([pair.b.delivered, pair.b.observed]).toEqual([[], []]);
    pair.b.plane.receiving.receiveWhole(whole.slice());
    pair.b.plane.receiving.receiveWhole(whole.slice());
    expect([pair.b.delivered.length, drops(pair).replay]).toEqual([1, 1]);
  });

  test('cut at every length, in pieces, or under another protocol it is dropped and counted', () => {
    const pair = wholePair({ protocol });
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!;
    for (let length = 0; length < whole.length; length++) pair.b.plane.receiving.receiveWhole(whole.slice(0, length));
    expect(pair.b.plane.drops()['outer packet']).toBe(whole.length);
    for (const [at, value] of [
      [6, 0x20],
      [7, 0x01],
      [9, 17],
      [0, 0x75],
    ] as const) {
      const bent = whole.slice();
      bent[at] = value;
      expect(pair.b.plane.receiving.receiveWhole(bent)).toBe(false);
    }
    expect([pair.b.delivered, pair.b.plane.drops()['outer packet']]).toEqual([[], whole.length + 4]);
  });

  test('the SPI of an SA of the other protocol is nobody’s', () => {
    const pair = wholePair({ protocol });
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!.slice();
    const other = wholePair({ protocol: protocol === 'ESP' ? 'AH' : 'ESP' });
    other.b.plane.receiving.receiveWhole(whole);
    expect([other.b.delivered, other.b.plane.drops()['unknown SPI']]).toEqual([[], 1]);
  });

  test('a limit and counters are those of any SA', () => {
    const limits = { softBytes: 0, hardBytes: 0, softPackets: 2, hardPackets: 3 };
    const pair = wholePair({ protocol, more: { limits } });
    for (let i = 0; i < 5; i++) pair.a.plane.send(packet(A4, B4, { size: 100 }));
    expect(pair.a.observed.map(({ kind }) => kind)).toEqual(['soft-expire', 'hard-expire']);
    expect(pair.a.plane.counters(1)).toMatchObject({ outbound: { packets: 3, bytes: 300 }, drops: { expired: 2 } });
  });

  test('larger than the tunnel takes: as inside UDP, with more room', () => {
    const pair = wholePair({ protocol });
    const large = packet(A4, B4, { size: 1500 });
    putU16(large, 6, 0x4000);
    expect(pair.a.plane.send(large)).toBe(false);
    const mtu = protocol === 'ESP' ? 1446 : 1500 - 20 - 28;
    expect((pair.a.delivered[0]![26]! << 8) | pair.a.delivered[0]![27]!).toBe(mtu);
    expect(pair.a.plane.send(packet(A4, B4, { size: mtu }))).toBe(true);
    expect(pair.a.wire.at(-1)!.length).toBeGreaterThan(1496);
    expect(pair.a.wire.at(-1)!.length).toBeLessThanOrEqual(1500);
  });

  test.each([4, 6] as const)('over an IPv%i path that is too narrow for 1280 octets inside, the outer packet goes in pieces', (version) => {
    const pair = wholePair({ version, protocol });
    pair.connected = false;
    pair.a.plane.learnPathMtu(OUTER[version].b.ip, 1280);
    expect(pair.a.plane.send(packet(A6, B6, { size: 1280 }))).toBe(true);
    const pieces = pair.a.wire.map(parsed);
    expect(pieces.map(({ end, moreFragments }) => [end <= 1280, moreFragments])).toEqual([
      [true, true],
      [true, false],
    ]);
    expect(pieces[0]!.identification).toBe(pieces[1]!.identification);
    // the kernel of the other end puts them together
    const fragmentable = pieces.flatMap(({ data, payload, end }) => [...data.subarray(payload, end)]);
    const header = pair.a.wire[0]!.slice(0, version === 4 ? 20 : 40);
    const whole = Uint8Array.from([...header, ...fragmentable]);
    putU16(whole, version === 4 ? 2 : 4, version === 4 ? whole.length : whole.length - 40);
    if (version === 4) putU16(whole, 6, 0);
    else whole[6] = protocol === 'ESP' ? 50 : 51;
    pair.b.plane.receiving.receiveWhole(whole);
    expect(pair.b.delivered).toEqual([packet(A6, B6, { size: 1280 })]);
  });
});

describe('AH', () => {
  test.each(integrityTransforms().map(({ id, name }) => [name, id] as const))(
    '%s in tunnel and transport mode, ESN and not',
    (_name, integrity) => {
      for (const esn of [true, false])
        for (const [mode, from, to] of [
          ['tunnel', A4, B4],
          ['transport', A6, B6],
        ] as const) {
          const pair = wholePair({ protocol: 'AH', integrity, localTs: [from], remoteTs: [to], more: { mode, esn } });
          pair.a.plane.send(packet(from, to, { size: 99 }));
          expect(pair.b.delivered).toEqual([packet(from, to, { size: 99 })]);
        }
    },
  );

  test('covers addresses: a packet that a NAT or an attacker sent on is refused', () => {
    const pair = wholePair({ protocol: 'AH' });
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!;
    whole.set(parseIp('192.0.2.99'), 12);
    pair.b.plane.receiving.receiveWhole(whole);
    expect([pair.b.delivered, drops(pair).icv]).toEqual([[], 1]);
  });

  test('of ESP from another address than the peer’s it is told that the peer may not hear us', () => {
    const pair = wholePair({});
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!;
    whole.set(parseIp('192.0.2.99'), 12);
    pair.b.plane.receiving.receiveWhole(whole);
    expect([pair.b.delivered.length, pair.b.observed]).toEqual([1, [{ kind: 'inbound-traffic', child: 1, elsewhere: true }]]);
  });

  test('goes neither inside UDP nor where nobody writes outer headers', () => {
    const pair = espPair();
    const { a } = childPair({ more: { protocol: 'AH' } });
    expect(() => pair.a.plane.install(a)).toThrow(/inside UDP/);
    expect(() => pair.a.plane.install({ ...a, encap: false })).toThrow(/writes no IP headers/);
    pair.whole = true;
    const keys = { integrity: 4711, integrityKey: new Uint8Array(32) };
    const unknown = { ...a, encap: false, inbound: { ...a.inbound, ...keys }, outbound: { ...a.outbound, ...keys } };
    expect(() => pair.a.plane.install(unknown)).toThrow(expect.objectContaining({ code: 'CIPHER_UNSUPPORTED' }));
  });

  test('compresses what it protects, where that was agreed', () => {
    const pair = wholePair({ protocol: 'AH', more: { ipcomp: { inboundCpi: 300, outboundCpi: 300 } } });
    const inner = packet(A4, B4, { size: 1400, protocol: 99 });
    inner.fill(3, 20);
    pair.a.plane.send(inner);
    expect([pair.a.wire[0]!.length < 200, pair.b.delivered]).toEqual([true, [inner]]);
  });

  test('inside UDP it is nothing', () => {
    const pair = wholePair({ protocol: 'AH' });
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    pair.b.plane.receive(pair.a.wire[0]!.subarray(24).slice(), '198.51.100.2', 4500);
    expect(pair.b.delivered).toEqual([]);
  });
});
