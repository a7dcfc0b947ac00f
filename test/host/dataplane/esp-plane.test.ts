import { describe, expect, test } from 'vitest';
import { DataPlaneError } from '../../../src/core/bytes/index.ts';
import type { Observation } from '../../../src/core/ike/effects.ts';
import { IpView, ipv4HeaderValid, pseudoHeaderSum, sum16 } from '../../../src/core/packet/index.ts';
import { formatSelector } from '../../../src/core/wire/index.ts';
import { childPair, espPair, installBoth, suites } from '../support/esp-pair.ts';
import { echoRequest, packet, selector } from '../support/packets.ts';

const A4 = '10.0.0.1';
const B4 = '10.0.1.1';
const A6 = 'fd00:a::1';
const B6 = 'fd00:b::1';

describe('packets', () => {
  test.each(Object.entries(suites))('pass both ways, IPv4 and IPv6, under %s', (_name, suite) => {
    const { a, b } = espPair({ suite });
    const there = [packet(A4, B4), packet(A6, B6, { size: 1400 }), echoRequest(A4, B4)];
    const back = [packet(B4, A4, { size: 61 }), packet(B6, A6)];
    for (const p of there) expect(a.plane.send(p)).toBe(true);
    for (const p of back) expect(b.plane.send(p)).toBe(true);
    expect(b.delivered).toEqual(there);
    expect(a.delivered).toEqual(back);
  });

  test('nothing of the inner packet shows on the wire', () => {
    const { a } = espPair({});
    const inner = packet(A4, B4, { size: 600 });
    a.plane.send(inner);
    expect(Buffer.from(a.wire[0]!).includes(Buffer.from(inner.subarray(28, 60)))).toBe(false);
  });

  test('the buffer that is sent from may be used again', () => {
    const { a, b } = espPair({});
    const buffer = packet(A4, B4);
    const first = buffer.slice();
    a.plane.send(buffer);
    buffer.fill(0);
    expect(b.delivered).toEqual([first]);
  });

  test('what lies behind the packet’s own length is left out', () => {
    const { a, b } = espPair({});
    const inner = packet(A4, B4);
    const padded = new Uint8Array(inner.length + 10);
    padded.set(inner);
    a.plane.send(padded);
    expect(b.delivered).toEqual([inner]);
  });

  test('counters tell packets, octets and the last use of each direction', () => {
    const { a, b, clock } = espPair({});
    clock.run(500);
    a.plane.send(packet(A4, B4, { size: 100 }));
    clock.run(900);
    a.plane.send(packet(A4, B4, { size: 200 }));
    expect(a.plane.counters(1)).toMatchObject({
      outbound: { packets: 2, bytes: 300, lastUse: 900 },
      inbound: { packets: 0, bytes: 0, lastUse: undefined },
    });
    expect(b.plane.counters(1)).toMatchObject({ inbound: { packets: 2, bytes: 300, lastUse: 900 }, outbound: { packets: 0 } });
  });
});

describe('what is dropped, and counted', () => {
  test('a packet no SA covers never leaves', () => {
    const { a } = espPair({ remoteTs: ['10.0.1.0/24'], localTs: ['10.0.0.0/24'] });
    expect(a.plane.send(packet(A4, '192.0.2.1'))).toBe(false);
    expect(a.plane.send(packet('192.0.2.1', B4))).toBe(false);
    expect(a.plane.send(packet(A6, B6))).toBe(false);
    expect([a.wire.length, a.plane.drops()]).toEqual([0, expect.objectContaining({ 'no outbound SA': 3 })]);
  });

  test('what is no IP packet never leaves', () => {
    const { a } = espPair({});
    for (const bad of [new Uint8Array(0), Uint8Array.of(0x45, 0), new Uint8Array(40).fill(0x45), new Uint8Array(60)]) a.plane.send(bad);
    expect([a.wire.length, a.plane.drops()['not an IP packet']]).toEqual([0, 4]);
  });

  test('of packets with unknown SPIs a few are told, none of them shorter than an answer', () => {
    const { a, clock } = espPair({});
    const local = { ip: '192.0.2.1', port: 4500 };
    const told = () => a.observed.filter(({ kind }) => kind === 'unknown-spi');
    clock.run(1000);
    a.plane.receive(new Uint8Array(39).fill(7), '203.0.113.7', 4500, local);
    expect(told()).toEqual([]);
    for (let i = 0; i < 100; i++) a.plane.receive(new Uint8Array(64).fill(7), '203.0.113.7', 60_001, local);
    expect(told()).toEqual([{ kind: 'unknown-spi', spi: 0x0707_0707, local, remote: { ip: '203.0.113.7', port: 60_001 }, encap: true }]);
    clock.run(1200);
    a.plane.receive(new Uint8Array(64).fill(8), '203.0.113.8', 4500, local);
    expect(told()).toHaveLength(2);
  });

  test('an unknown SPI, and what is too short to have one', () => {
    const { a } = espPair({});
    a.plane.receive(new Uint8Array(64).fill(7), '203.0.113.7', 4500);
    a.plane.receive(Uint8Array.of(1, 2, 3), '203.0.113.7', 4500);
    expect(a.plane.drops()['unknown SPI']).toBe(2);
  });

  test('a replayed packet', () => {
    const { a, b } = espPair({});
    a.plane.send(packet(A4, B4));
    b.plane.receive(a.wire[0]!.slice(), '198.51.100.2', 4500);
    expect([b.delivered.length, b.plane.counters(1)!.drops.replay]).toEqual([1, 1]);
  });

  test('any flipped bit', () => {
    const pair = espPair({});
    pair.connected = false;
    pair.a.plane.send(packet(A4, B4));
    const whole = pair.a.wire[0]!;
    for (let at = 4; at < whole.length; at += 7) {
      const bad = whole.slice();
      bad[at]! ^= 0x10;
      pair.b.plane.receive(bad, '198.51.100.2', 4500);
    }
    expect(pair.b.delivered).toEqual([]);
    expect(pair.b.observed).toEqual([]); // unauthentic packets are no traffic
    pair.b.plane.receive(whole, '198.51.100.2', 4500);
    expect(pair.b.delivered.length).toBe(1);
  });

  test('an authentic packet from outside the selectors', () => {
    const { a, b } = childPair({ localTs: ['10.0.0.0/24'], remoteTs: ['10.0.1.0/24'] });
    const { b: wide } = childPair({ localTs: ['0.0.0.0/0'], remoteTs: ['0.0.0.0/0'] });
    const pair = espPair();
    pair.a.plane.install(a);
    pair.b.plane.install(wide); // a peer that does not keep to what was agreed
    pair.b.plane.send(packet(B4, A4));
    pair.b.plane.send(packet('192.0.2.1', A4));
    pair.b.plane.send(packet(B4, '192.0.2.1'));
    expect([pair.a.delivered.length, pair.a.plane.counters(1)!.drops.selectors]).toEqual([1, 2]);
    expect(b.localTs).toEqual(a.remoteTs);
  });
});

describe('which SA a packet takes', () => {
  const sent = (pair: ReturnType<typeof espPair>): number[] => pair.a.wire.map((p) => p[3]!);

  test('D26: protocol and port decide among three children of one IKE SA', () => {
    const pair = espPair(
      { id: 1, remoteTs: ['10.0.1.0/24[6/80]'] },
      { id: 2, remoteTs: ['10.0.1.0/24[17/5000-5099]'] },
      { id: 3, remoteTs: ['10.0.1.0/24[1]'] },
    );
    pair.a.plane.send(packet(A4, B4, { protocol: 6, destinationPort: 80 }));
    pair.a.plane.send(packet(A4, B4, { destinationPort: 5050 }));
    pair.a.plane.send(echoRequest(A4, B4));
    pair.a.plane.send(packet(A4, B4, { destinationPort: 5100 })); // nobody's
    pair.a.plane.send(packet(A4, B4, { protocol: 6, destinationPort: 81 })); // nobody's
    expect(sent(pair)).toEqual([1, 2, 3]);
    expect(pair.b.delivered.length).toBe(3);
    // the answers have the ports the other way round
    pair.b.plane.send(packet(B4, A4, { sourcePort: 5050 }));
    pair.b.plane.send(packet(B4, A4, { protocol: 6, sourcePort: 80 }));
    expect(pair.b.wire.map((p) => p[3])).toEqual([2, 1]);
  });

  test('the narrower selectors win, whatever came first', () => {
    const pair = espPair({ id: 1, remoteTs: ['10.0.1.0/24'] }, { id: 2, remoteTs: ['0.0.0.0/0'] }, { id: 3, remoteTs: ['10.0.1.1'] });
    for (const to of [B4, '10.0.1.2', '192.0.2.1']) pair.a.plane.send(packet(A4, to));
    expect(sent(pair)).toEqual([3, 1, 2]);
  });

  test('of equal ones the newest', () => {
    const pair = espPair({ id: 1 }, { id: 2 });
    pair.a.plane.send(packet(A4, B4));
    expect(sent(pair)).toEqual([2]);
  });

  test('many clients with one address each, IPv4 and IPv6', () => {
    const clients = Array.from({ length: 50 }, (_, i) => ({
      id: i + 1,
      localTs: ['0.0.0.0/0', '::/0'],
      remoteTs: [`10.66.0.${i + 1}`, `fd66::${(i + 1).toString(16)}`],
    }));
    const pair = espPair(...clients);
    for (const i of [1, 25, 50]) {
      pair.a.plane.send(packet(A4, `10.66.0.${i}`));
      pair.a.plane.send(packet(A6, `fd66::${i.toString(16)}`));
    }
    pair.a.plane.send(packet(A4, '10.66.0.51'));
    expect(sent(pair)).toEqual([1, 1, 25, 25, 50, 50]);
    pair.a.plane.remove(25);
    expect(pair.a.plane.send(packet(A4, '10.66.0.25'))).toBe(false);
    expect(pair.a.plane.send(packet(A4, '10.66.0.26'))).toBe(true);
  });

  test('a later fragment shows no port: only selectors for any port and for OPAQUE fit it', () => {
    const later = packet(A4, B4, { fragmentOffset: 8 });
    const withPort = espPair({ remoteTs: ['10.0.1.0/24[17/7]'] });
    expect(withPort.a.plane.send(later)).toBe(false);
    const opaque = espPair({ localTs: ['0.0.0.0/0[17/65535-0]'], remoteTs: ['10.0.1.0/24[17/65535-0]'] });
    expect(opaque.a.plane.send(later)).toBe(true);
    expect(opaque.a.plane.send(packet(A4, B4))).toBe(false);
    expect(espPair({}).a.plane.send(later)).toBe(true);
  });
});

describe('rekeying', () => {
  function rekeyed() {
    const pair = espPair({ id: 1 });
    const next = childPair({ id: 2, more: { replaces: 1 } });
    return { pair, next };
  }

  test('the new SA receives at once, and sends when it is told to; the old one receives until it goes', () => {
    const { pair, next } = rekeyed();
    const { a, b } = pair;
    b.plane.install({ ...next.b, outboundActive: false });
    a.plane.install(next.a); // the initiator of the rekey sends on it at once
    b.plane.send(packet(B4, A4)); // still on the old one
    a.plane.send(packet(A4, B4));
    expect([b.wire.at(-1)![3], a.wire.at(-1)![3]]).toEqual([1, 2]);
    expect([a.delivered.length, b.delivered.length]).toEqual([1, 1]);
    b.plane.update(2, { kind: 'activate-outbound' });
    b.plane.send(packet(B4, A4));
    expect(b.wire.at(-1)![3]).toBe(2);
    const late = a.wire.length;
    a.plane.remove(1);
    b.plane.remove(1);
    a.plane.send(packet(A4, B4));
    expect([a.wire.length - late, a.delivered.length, b.delivered.length]).toEqual([1, 2, 2]);
  });

  test('one that the peer has closed receives until it goes, and what was to take over from it sends at once', () => {
    const { pair, next } = rekeyed();
    const { a, b } = pair;
    a.plane.install({ ...next.a, outboundActive: false });
    b.plane.send(packet(B4, A4));
    a.plane.update(1, { kind: 'stop-outbound' });
    a.plane.send(packet(A4, B4));
    expect([a.wire.at(-1)![3], a.delivered.length]).toEqual([2, 1]);
    a.plane.update(2, { kind: 'stop-outbound' });
    const sent = a.wire.length;
    expect(a.plane.send(packet(A4, B4))).toBe(false);
    b.plane.send(packet(B4, A4));
    expect([a.wire.length - sent, a.delivered.length]).toEqual([0, 2]);
  });

  test('of two that send for the same traffic the one sends that was told last', () => {
    const { pair, next } = rekeyed();
    const { a } = pair;
    const sentOn = () => {
      a.plane.send(packet(A4, B4));
      return a.wire.at(-1)![3];
    };
    a.plane.install({ ...next.a, replaces: undefined });
    expect(sentOn()).toBe(2);
    a.plane.update(1, { kind: 'activate-outbound' });
    expect(sentOn()).toBe(1);
    a.plane.remove(1);
    expect(sentOn()).toBe(2);
  });

  test('what gave way before it ever sent does not begin when what it was to replace goes', () => {
    const { pair, next } = rekeyed();
    const { a } = pair;
    const third = { ...next.a, id: 3, replaces: 2, inbound: { ...next.a.inbound, spi: 0x2003 }, outbound: { ...next.a.outbound, spi: 3 } };
    a.plane.install({ ...next.a, outboundActive: false });
    a.plane.install(third);
    a.plane.remove(1);
    a.plane.send(packet(A4, B4));
    expect(a.wire.at(-1)![3]).toBe(3);
  });

  test('nor when what stood in for it has been replaced in its turn by then', () => {
    const { pair, next } = rekeyed();
    const { a } = pair;
    const later = (id: number, replaces: number) => ({
      ...next.a,
      id,
      replaces,
      inbound: { ...next.a.inbound, spi: 0x2000 + id },
      outbound: { ...next.a.outbound, spi: id },
    });
    a.plane.install({ ...next.a, outboundActive: false });
    for (const id of [3, 4]) a.plane.install(later(id, id - 1));
    for (const gone of [1, 3, 2]) {
      a.plane.remove(gone);
      a.plane.send(packet(A4, B4));
      expect(a.wire.at(-1)![3]).toBe(4);
    }
  });

  test('what takes over from one that goes takes its place, and not that of another one for the same traffic that was told later', () => {
    const { pair, next } = rekeyed();
    const { a } = pair;
    const sentOn = () => {
      a.plane.send(packet(A4, B4));
      return a.wire.at(-1)![3];
    };
    const other = { ...next.a, id: 3, inbound: { ...next.a.inbound, spi: 0x2003 }, outbound: { ...next.a.outbound, spi: 3 } };
    a.plane.install({ ...next.a, outboundActive: false });
    a.plane.install({ ...other, replaces: undefined });
    a.plane.remove(1);
    expect(sentOn()).toBe(3);
    a.plane.remove(3);
    expect(sentOn()).toBe(2);
  });

  test('what was under way on the old SA still comes in after the switch', () => {
    const { pair, next } = rekeyed();
    pair.connected = false;
    pair.b.plane.send(packet(B4, A4));
    pair.a.plane.install(next.a);
    pair.a.plane.receive(pair.b.wire[0]!, '203.0.113.7', 4500);
    expect(pair.a.delivered.length).toBe(1);
  });

  test('an SA that loses its predecessor before it was told to send does not leave us mute', () => {
    const { pair, next } = rekeyed();
    pair.a.plane.install({ ...next.a, outboundActive: false });
    pair.a.plane.remove(1);
    expect(pair.a.plane.send(packet(A4, B4))).toBe(true);
    expect(pair.a.wire.at(-1)![3]).toBe(2);
  });

  test('the first traffic on the new SA is told at once: the peer has switched', () => {
    const { pair, next } = rekeyed();
    pair.a.plane.send(packet(A4, B4));
    pair.b.plane.install({ ...next.b, outboundActive: false });
    pair.a.plane.install(next.a);
    pair.a.plane.send(packet(A4, B4));
    expect(pair.b.observed).toEqual([
      { kind: 'inbound-traffic', child: 1 },
      { kind: 'inbound-traffic', child: 2 },
    ]);
  });
});

describe('what the core is told', () => {
  test('traffic, at a pace that does not grow with it', () => {
    const { a, b, clock } = espPair({});
    for (let i = 0; i < 50; i++) {
      clock.run(clock.now + 10);
      a.plane.send(packet(A4, B4));
    }
    expect(b.observed.length).toBeGreaterThanOrEqual(4);
    expect(b.observed.length).toBeLessThanOrEqual(6);
  });

  test('a NAT that gave the peer another port, once, and only by the newest packet', () => {
    const pair = espPair({});
    const { a, b } = pair;
    const mappings = (): unknown[] => b.observed.filter(({ kind }) => kind === 'mapping-changed');
    a.plane.send(packet(A4, B4));
    expect(mappings()).toEqual([]);
    pair.connected = false;
    a.plane.send(packet(A4, B4)); // late
    pair.connected = true;
    a.address = { ip: '198.51.100.2', port: 61_000 };
    a.plane.send(packet(A4, B4));
    a.plane.send(packet(A4, B4));
    b.plane.receive(a.wire[1]!, '198.51.100.2', 4500);
    expect(b.delivered.length).toBe(4);
    expect(mappings()).toEqual([{ kind: 'mapping-changed', child: 1, remote: { ip: '198.51.100.2', port: 61_000 } }]);
    b.plane.update(1, { kind: 'addresses', local: { ip: '203.0.113.7', port: 4500 }, remote: a.address, encap: true });
    a.plane.send(packet(A4, B4));
    expect(mappings().length).toBe(1);
  });

  test.each([
    ['packets', { softPackets: 3, hardPackets: 5, softBytes: 0, hardBytes: 0 }],
    ['octets', { softPackets: 0, hardPackets: 0, softBytes: 300, hardBytes: 500 }],
  ])('limits in %s: soft once, hard once, and then nothing passes', (_unit, limits) => {
    const { a, b } = espPair({ more: { limits } });
    for (let i = 0; i < 8; i++) a.plane.send(packet(A4, B4, { size: 100 }));
    expect(a.observed).toEqual([
      { kind: 'soft-expire', child: 1 },
      { kind: 'hard-expire', child: 1 },
    ]);
    expect(a.wire.length).toBe(5);
    expect(a.plane.counters(1)!.drops.expired).toBe(3);
    expect(b.observed.map(({ kind }) => kind)).toEqual(['inbound-traffic', 'soft-expire', 'hard-expire']);
  });

  test('a receiver at its hard limit hands nothing on', () => {
    const pair = espPair();
    const limits = { softPackets: 1, hardPackets: 2, softBytes: 0, hardBytes: 0 };
    const { a, b } = childPair({});
    pair.a.plane.install(a);
    pair.b.plane.install({ ...b, limits });
    for (let i = 0; i < 4; i++) pair.a.plane.send(packet(A4, B4));
    expect(pair.b.delivered.length).toBe(1);
  });
});

describe('traps', () => {
  const trap = { connection: 'road', child: 'net', localTs: [selector('0.0.0.0/0')], remoteTs: [selector('10.0.1.0/24')] };

  test('the first packet asks once; what waited goes out when the SA stands', () => {
    const pair = espPair();
    pair.a.plane.setTraps([trap]);
    const early = [packet(A4, B4, { size: 100 }), packet(A4, B4, { size: 101 })];
    for (const p of early) expect(pair.a.plane.send(p)).toBe(true);
    expect(pair.a.plane.send(packet(A4, '192.0.2.1'))).toBe(false);
    const [asked, ...more] = pair.a.observed;
    expect(asked).toMatchObject({ kind: 'acquire', connection: 'road', child: 'net' });
    expect(more).toEqual([]);
    // RFC 7296 §2.9: the packet itself, its protocol and its ports
    const told = asked as Extract<Observation, { kind: 'acquire' }>;
    expect([told.packet!.local, told.packet!.remote].map(formatSelector)).toEqual([
      expect.stringMatching(/^10\.0\.0\.1\[udp\/\d+\]$/),
      expect.stringMatching(/^10\.0\.1\.1\[udp\/\d+\]$/),
    ]);
    installBoth(pair, {});
    // B is installed second, so what A sent at once is lost there; on the wire it is
    expect(pair.a.wire.length).toBe(2);
    expect(pair.a.plane.drops()['no outbound SA']).toBe(1);
  });

  test('what waited too long is forgotten, and it is asked again after a while', () => {
    const pair = espPair();
    pair.a.plane.setTraps([trap]);
    pair.a.plane.send(packet(A4, B4));
    pair.clock.run(10_000);
    pair.a.plane.send(packet(A4, B4));
    expect(pair.a.observed.length).toBe(2);
    pair.clock.run(14_000);
    installBoth(pair, {});
    expect(pair.a.wire).toEqual([]);
  });

  test('only a few packets wait', () => {
    const pair = espPair();
    pair.a.plane.setTraps([trap]);
    const held = Array.from({ length: 40 }, () => pair.a.plane.send(packet(A4, B4))).filter(Boolean).length;
    expect(held).toBe(16);
    expect(pair.a.plane.drops()['no outbound SA']).toBe(24);
  });
});

describe('transport mode', () => {
  const between = (local: string, remote: string) => ({ localTs: [local], remoteTs: [remote], more: { mode: 'transport' } }) as const;

  test.each([
    [A4, B4],
    [A6, B6],
  ])('carries packets between two hosts, without their IP header (%s)', (from, to) => {
    const pair = espPair({ ...between(from, to) });
    const tunnel = espPair({ localTs: [from], remoteTs: [to] });
    const there = packet(from, to, { size: 200 });
    for (const { a } of [pair, tunnel]) expect(a.plane.send(there)).toBe(true);
    pair.b.plane.send(echoRequest(to, from));
    const header = from === A4 ? 20 : 40;
    expect(pair.b.delivered[0]!.subarray(header)).toEqual(there.subarray(header));
    expect(pair.a.delivered[0]!.subarray(header)).toEqual(echoRequest(to, from).subarray(header));
    expect(tunnel.a.wire[0]!.length - pair.a.wire[0]!.length).toBeGreaterThanOrEqual(header - 3); // padding to 4
    expect(pair.a.plane.mtu! - tunnel.a.plane.mtu!).toBe(header);
  });

  test('the header that is put back is whole: addresses, length, checksum', () => {
    const { a, b } = espPair({ ...between(A4, B4) });
    a.plane.send(packet(A4, B4, { size: 100 }));
    const view = new IpView();
    expect(view.parse(b.delivered[0]!)).toBe(true);
    expect(ipv4HeaderValid(view)).toBe(true);
    expect([view.end, [...b.delivered[0]!.subarray(12, 20)]]).toEqual([100, [10, 0, 0, 1, 10, 0, 1, 1]]);
  });

  test('checksums that a NAT made wrong are made anew (RFC 3948 §3.1.2)', () => {
    const pair = espPair();
    const { a } = childPair({ ...between(A4, B4) }); // what A thinks its address is
    const { b } = childPair({ ...between('192.0.2.9', B4) }); // what B sees of it
    pair.a.plane.install(a);
    pair.b.plane.install(b);
    pair.a.plane.send(packet(A4, B4, { size: 100 }));
    const view = new IpView();
    expect(view.parse(pair.b.delivered[0]!)).toBe(true);
    const seed = pseudoHeaderSum(view.data, view.sourceAt, view.data, view.destinationAt, 4, 17, view.end - view.payload);
    expect(sum16(view.data, view.payload, view.end, seed)).toBe(0xffff);
    expect([...view.data.subarray(12, 16)]).toEqual([192, 0, 2, 9]);
  });

  test('only whole datagrams, and only what the selectors allow', () => {
    const { a, b } = espPair({ localTs: [`${A4}[17]`], remoteTs: [`${B4}[17/7]`], more: { mode: 'transport' } });
    expect(a.plane.send(packet(A4, B4))).toBe(true);
    expect(a.plane.send(packet(A4, B4, { destinationPort: 8 }))).toBe(false);
    expect(a.plane.send(packet(A4, B4, { fragmentOffset: 8 }))).toBe(false);
    expect(b.delivered.length).toBe(1);
  });
});

describe('what cannot be installed', () => {
  test.each([
    ['without UDP', { encap: false }, 'ENCAPSULATION_NEEDED'],
    ['AH', { protocol: 'AH' }, 'AH_UNSUPPORTED'],
    ['transport mode between networks', { mode: 'transport' }, 'TRANSPORT_SELECTORS'],
    [
      'an unknown cipher',
      {
        outbound: {
          spi: 1000,
          encryption: 4711,
          keyLength: undefined,
          encryptionKey: new Uint8Array(16),
          integrity: 0,
          integrityKey: new Uint8Array(0),
        },
      },
      'CIPHER_UNSUPPORTED',
    ],
  ] as const)('%s is refused with the way out, and leaves nothing behind', (_what, more, code) => {
    const { a } = espPair();
    const { a: spec } = childPair({});
    let refused: unknown;
    try {
      a.plane.install({ ...spec, ...more });
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(DataPlaneError);
    expect(refused).toMatchObject({ code, hint: expect.any(String), backend: 'test' });
    a.plane.install(spec);
    expect(a.plane.counters(1)).toBeDefined();
  });

  test('a second SA with the same number or SPI', () => {
    const { a } = espPair({});
    expect(() => a.plane.install(childPair({}).a)).toThrow(/stands/);
    expect(() => a.plane.install({ ...childPair({}).a, id: 9 })).toThrow(/inbound SPI/);
  });
});

test('the MTU is that of the SA with the most overhead', () => {
  const { a } = espPair({ id: 1, suite: suites.aes128gcm16 }, { id: 2, suite: suites['aes256-sha256'] });
  // 1500 − 28 outer − 8 ESP − 8 IV − 16 ICV, on a multiple of 4, less 2; 16 IV and 16 ICV on a multiple of 16, less 2
  expect(a.plane.mtu).toBe(1422);
  a.plane.remove(2);
  expect(a.plane.mtu).toBe(1438);
  a.plane.close();
  expect(a.plane.mtu).toBeUndefined();
});

test('keys are copied: the caller overwrites its own at once', () => {
  const pair = espPair();
  const { a, b } = childPair({ suite: suites['aes256-sha256'] });
  pair.a.plane.install(a);
  pair.b.plane.install(b);
  for (const { encryptionKey, integrityKey } of [a.inbound, a.outbound, b.inbound, b.outbound]) {
    encryptionKey.fill(0);
    integrityKey.fill(0);
  }
  pair.a.plane.send(packet(A4, B4));
  expect(pair.b.delivered.length).toBe(1);
});

test('after the end nothing passes', () => {
  const { a, b } = espPair({});
  a.plane.send(packet(A4, B4));
  b.plane.close();
  a.plane.send(packet(A4, B4));
  expect([b.delivered.length, b.plane.drops()['unknown SPI'], b.plane.send(packet(B4, A4))]).toEqual([1, 1, false]);
});
