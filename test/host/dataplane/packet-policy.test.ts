import { describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, OutboundSa } from '../../../src/core/esp/index.ts';
import { fragmentIpv4, IpView } from '../../../src/core/packet/index.ts';
import { childPair, type EspPair, espPair, type PairChild } from '../support/esp-pair.ts';
import { packet } from '../support/packets.ts';

const A4 = '10.0.0.1';
const B4 = '10.0.1.1';
const A6 = 'fd00:a::1';
const B6 = 'fd00:b::1';
const HERE = ['198.51.100.2', 4500] as const;

const drops = (pair: EspPair) => pair.b.plane.counters(1)!.drops;

/** Of one octet over and over, so that it compresses. */
function plain(from: string, to: string, size: number): Uint8Array {
  const data = packet(from, to, { size, protocol: 99 });
  data.fill(7, from.includes(':') ? 40 : 20);
  return data;
}

function pieces(size: number, step: number, options = {}): Uint8Array[] {
  const view = new IpView();
  view.parse(packet(A4, B4, { size, ...options }));
  const all: Uint8Array[] = [];
  fragmentIpv4(view, step, (piece) => all.push(piece));
  return all;
}

/** An authentic ESP packet of A's, whatever it holds. */
function forged(payload: Uint8Array, nextHeader: number): Uint8Array {
  const { a } = childPair();
  const sa = new OutboundSa({ spi: a.outbound.spi, esn: true, cipher: createPacketCipher(a.outbound) });
  const out = new Uint8Array(sa.sealedLength(payload.length));
  sa.seal(payload, nextHeader, out, 0);
  return out;
}

describe('IPComp', () => {
  const agreed = (inboundCpi: number, outboundCpi: number) => ({ ipcomp: { inboundCpi, outboundCpi } });
  function compressing(child: PairChild = {}): EspPair {
    const pair = espPair();
    pair.a.plane.install({ ...childPair(child).a, ...agreed(0x1001, 0x1002) });
    pair.b.plane.install({ ...childPair(child).b, ...agreed(0x1002, 0x1001) });
    return pair;
  }

  test('tunnel mode, IPv4 and IPv6, both ways: what compresses does, the rest goes as it is', () => {
    const pair = compressing();
    const there = [plain(A4, B4, 1400), plain(A6, B6, 1400), packet(A4, B4, { size: 60 })];
    const back = [plain(B4, A4, 800), plain(B6, A6, 800)];
    for (const one of there) pair.a.plane.send(one.slice());
    for (const one of back) pair.b.plane.send(one.slice());
    expect(pair.b.delivered).toEqual(there);
    expect(pair.a.delivered).toEqual(back);
    expect(pair.a.wire.map(({ length }) => length < 150)).toEqual([true, true, true]);
  });

  test('transport mode', () => {
    const pair = compressing({ localTs: [A4], remoteTs: [B4], more: { mode: 'transport' } });
    pair.a.plane.send(plain(A4, B4, 1200));
    expect(pair.a.wire[0]!.length).toBeLessThan(150);
    expect([...pair.b.delivered[0]!.subarray(20)]).toEqual([...plain(A4, B4, 1200).subarray(20)]);
  });

  test('what comes out is held against the selectors like any packet', () => {
    const pair = compressing();
    const strict = espPair();
    strict.b.plane.install({ ...childPair({ localTs: ['10.9.0.0/16'] }).b, ...agreed(0x1002, 0x1001) });
    pair.connected = false;
    pair.a.plane.send(plain(A4, B4, 1400));
    strict.b.plane.receive(pair.a.wire[0]!, ...HERE);
    expect([strict.b.delivered, strict.b.plane.counters(1)!.drops.selectors]).toEqual([[], 1]);
  });

  test('compressed where nothing was agreed, or not as was agreed: dropped, counted', () => {
    const sender = compressing();
    sender.connected = false;
    sender.a.plane.send(plain(A4, B4, 1400));
    const unaware = espPair({});
    unaware.b.plane.receive(sender.a.wire[0]!.slice(), ...HERE);
    expect([unaware.b.delivered, drops(unaware).ipcomp]).toEqual([[], 1]);
    for (const payload of [
      new Uint8Array(0),
      Uint8Array.of(4, 0, 0x10, 2),
      Uint8Array.of(4, 0, 0x10, 9, 1, 0, 0, 255, 255),
      new Uint8Array(40),
    ]) {
      const pair = compressing();
      pair.b.plane.receive(forged(payload, 108), ...HERE);
      expect([pair.b.delivered, drops(pair).ipcomp]).toEqual([[], 1]);
    }
  });

  test('what is inside must be what IPComp says it is', () => {
    const pair = compressing();
    const inside = plain(A4, B4, 300);
    const stored = concat(Uint8Array.of(41, 0, 0x10, 2, 1, 300 & 255, 300 >> 8, ~300 & 255, (~300 >> 8) & 255), inside);
    pair.b.plane.receive(forged(stored, 108), ...HERE);
    expect([pair.b.delivered, drops(pair).inner]).toEqual([[], 1]);
  });
});

describe('TFC padding (RFC 4303 §2.7)', () => {
  const sizes = (pair: EspPair) => new Set(pair.a.wire.map(({ length }) => length));

  test('makes all packets alike, and is gone at the other end', () => {
    const pair = espPair({ more: { packets: { tfc: 'mtu' } } });
    const sent = [packet(A4, B4, { size: 28 }), packet(A4, B4, { size: 700 }), packet(A6, B6, { size: 1438 })];
    for (const one of sent) pair.a.plane.send(one);
    expect([...sizes(pair)]).toEqual([1472]);
    expect(pair.b.delivered).toEqual(sent);
    expect(pair.a.plane.counters(1)!.outbound.bytes).toBe(28 + 700 + 1438);
  });

  test('up to a size: longer packets stay as they are', () => {
    const pair = espPair({ more: { packets: { tfc: 576 } } });
    for (const size of [28, 500, 576, 800]) pair.a.plane.send(packet(A4, B4, { size }));
    expect(pair.a.wire.map(({ length }) => length)).toEqual([612, 612, 612, 836]);
  });

  test('follows the path', () => {
    const pair = espPair({ more: { packets: { tfc: 'mtu' } } });
    pair.a.plane.learnPathMtu('203.0.113.7', 1300);
    pair.a.plane.send(packet(A4, B4));
    expect([...sizes(pair)]).toEqual([1272]);
  });

  test('is not for a peer that takes none, nor for transport mode', () => {
    for (const more of [{ unpadded: true }, { mode: 'transport' }] as const) {
      const pair = espPair({ localTs: [A4], remoteTs: [B4], more: { ...more, packets: { tfc: 'mtu' } } });
      pair.a.plane.send(packet(A4, B4));
      expect(pair.a.wire[0]!.length).toBeLessThan(110);
    }
  });
});

describe('dummy packets (RFC 4303 §2.6)', () => {
  function run(pair: EspPair, milliseconds: number): void {
    const end = pair.clock.now + milliseconds;
    while (pair.a.plane.due <= end) {
      pair.clock.run(pair.a.plane.due);
      pair.a.plane.runDue();
    }
    pair.clock.run(end);
  }

  test('leave at about the rate that was asked for, are dropped at the other end, and counted', () => {
    const pair = espPair({ more: { packets: { dummies: 10 } } });
    run(pair, 100_000);
    expect(pair.a.wire.length).toBeGreaterThan(800);
    expect(pair.a.wire.length).toBeLessThan(1200);
    expect([pair.b.delivered, drops(pair).dummy]).toEqual([[], pair.a.wire.length]);
    expect(new Set(pair.a.wire.map(({ length }) => length)).size).toBeGreaterThan(100);
  });

  test('look like the others where those are padded', () => {
    const pair = espPair({ more: { packets: { dummies: 10, tfc: 'mtu' } } });
    pair.a.plane.send(packet(A4, B4));
    run(pair, 10_000);
    expect([...new Set(pair.a.wire.map(({ length }) => length))]).toEqual([1472]);
  });

  test('show that the peer lives, and are no use of the SA', () => {
    const pair = espPair({ more: { packets: { dummies: 1 } } });
    run(pair, 10_000);
    expect(pair.b.observed.some(({ kind }) => kind === 'inbound-traffic')).toBe(true);
    expect(pair.b.plane.counters(1)!.inbound.lastUse).toBeUndefined();
    expect(pair.a.plane.counters(1)!.outbound.lastUse).toBeUndefined();
  });

  test('come from the SA that sends, and end with it', () => {
    const pair = espPair({ id: 1, more: { packets: { dummies: 1 } } });
    const next = childPair({ id: 2, more: { replaces: 1, packets: { dummies: 1 } } });
    pair.b.plane.install(next.b);
    pair.a.plane.install(next.a);
    run(pair, 10_000);
    expect(new Set(pair.a.wire.map((esp) => esp[3]))).toEqual(new Set([2]));
    pair.a.plane.remove(1);
    pair.a.plane.remove(2);
    expect(pair.a.plane.due).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('fragments behind the first, on an SA for certain ports (RFC 4301 §7.3)', () => {
  const ports: PairChild = { localTs: ['10.0.0.0/24'], remoteTs: ['10.0.1.0/24[17/7]'] };
  const agreed: PairChild = { ...ports, more: { laterFragments: true } };

  test('go the way of the first, and come through', () => {
    const pair = espPair(agreed);
    const all = pieces(3000, 1000);
    for (const piece of all) expect(pair.a.plane.send(piece)).toBe(true);
    expect(pair.b.delivered).toEqual(all);
  });

  test('answers, too', () => {
    const pair = espPair(agreed);
    const view = new IpView();
    view.parse(packet(B4, A4, { size: 2000, sourcePort: 7 }));
    const all: Uint8Array[] = [];
    fragmentIpv4(view, 800, (piece) => all.push(piece));
    for (const piece of all) pair.b.plane.send(piece);
    expect(pair.a.delivered).toEqual(all);
  });

  test('without agreement neither leave nor come in', () => {
    const [first, second] = pieces(1600, 1000);
    const pair = espPair(ports);
    expect([pair.a.plane.send(first!), pair.a.plane.send(second!)]).toEqual([true, false]);
    const willing = espPair(agreed);
    willing.connected = false;
    for (const piece of [first!, second!]) willing.a.plane.send(piece);
    const strict = espPair(ports);
    for (const esp of willing.a.wire) strict.b.plane.receive(esp.slice(), ...HERE);
    expect([strict.b.delivered.length, drops(strict).selectors]).toEqual([1, 1]);
  });

  test('of a packet for other ports, of another packet, and before their first one do not', () => {
    const pair = espPair(agreed);
    const [, orphan] = pieces(1600, 1000);
    expect(pair.a.plane.send(orphan!)).toBe(false);
    const [first] = pieces(1600, 1000);
    expect(pair.a.plane.send(first!)).toBe(true);
    orphan![5]! ^= 1;
    expect(pair.a.plane.send(orphan!)).toBe(false);
    const [other, rest] = pieces(1600, 1000, { destinationPort: 8 });
    rest![5]! ^= 2;
    other![5]! ^= 2;
    expect([pair.a.plane.send(other!), pair.a.plane.send(rest!)]).toEqual([false, false]);
  });

  test('are forgotten after a minute', () => {
    const pair = espPair(agreed);
    const [first, second] = pieces(1600, 1000);
    pair.a.plane.send(first!);
    pair.clock.run(60_000);
    expect(pair.a.plane.send(second!)).toBe(false);
  });

  test('a peer cannot slip in what its selectors rule out, by a first fragment that it never sent', () => {
    const pair = espPair(agreed);
    const [, second] = pieces(1600, 1000);
    pair.b.plane.receive(forgedOn(agreed, second!), ...HERE);
    expect([pair.b.delivered, drops(pair).selectors]).toEqual([[], 1]);
  });

  test('what is remembered is bounded: the oldest goes', () => {
    const pair = espPair(agreed);
    pair.connected = false;
    const [first, second] = pieces(1600, 1000);
    const numbered = (piece: Uint8Array, i: number) => {
      const copy = piece.slice();
      copy[4] = i >> 8;
      copy[5] = i;
      return copy;
    };
    for (let i = 1; i <= 1025; i++) pair.a.plane.send(numbered(first!, i));
    expect([1, 2, 1025].map((i) => pair.a.plane.send(numbered(second!, i)))).toEqual([false, true, true]);
  });

  test('a large packet is cut for it, and goes whole where the peer takes no pieces', () => {
    const willing = espPair(agreed);
    willing.a.plane.send(packet(A4, B4, { size: 3000 }));
    expect(willing.b.delivered).toHaveLength(3);
    const strict = espPair(ports);
    strict.a.plane.send(packet(A4, B4, { size: 3000 }));
    expect(strict.b.delivered).toEqual([packet(A4, B4, { size: 3000 })]);
  });
});

function forgedOn(child: PairChild, inner: Uint8Array): Uint8Array {
  const { a } = childPair(child);
  const sa = new OutboundSa({ spi: a.outbound.spi, esn: true, cipher: createPacketCipher(a.outbound) });
  const out = new Uint8Array(sa.sealedLength(inner.length));
  sa.seal(inner, 4, out, 0);
  return out;
}
