import { describe, expect, test } from 'vitest';
import { Ready, Stack, type StackOptions } from '../../../src/core/netstack/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { describePacket, fragment, icmpPacket, udpDatagram, udpPacket } from './support/packets.ts';

const OWN = '10.1.0.1';
const OWN6 = 'fd01::1';
const PEER = '10.1.0.2';
const PEER6 = 'fd01::2';
const IN = { from: PEER, to: OWN };

function stack(options: Partial<StackOptions> = {}): Stack {
  const random = new SeededRandom('udp');
  return new Stack({ addresses: [OWN, OWN6], mtu: 1500, random: { secret: (length) => random.bytes(length) }, ...options });
}

function drain(host: Stack): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let packet = host.poll(0); packet !== undefined; packet = host.poll(0)) packets.push(packet.slice());
  return packets;
}

const octets = (length: number): Uint8Array => new SeededRandom(length).bytes(length);

describe('UDP', () => {
  test.each([
    { own: OWN, peer: PEER },
    { own: OWN6, peer: PEER6 },
  ])('datagrams arrive and leave: $own', ({ own, peer }) => {
    const host = stack();
    const udp = host.bindUdp({ port: 53 });
    const data = octets(77);
    host.receive(udpPacket({ from: peer, to: own }, 1234, 53, data), 0);
    expect(udp.takeEvents()).toBe(Ready.READABLE);
    expect(udp.receive()).toEqual({ local: { ip: own, port: 53 }, remote: { ip: peer, port: 1234 }, data });
    expect(udp.receive()).toBeUndefined();
    expect(udp.send(octets(9), { ip: peer, port: 1234 })).toBe(true);
    expect(drain(host).map(describePacket)).toEqual([`UDP ${own}:53 > ${peer}:1234 (9)`]);
  });

  test('what is received is a copy', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 53 });
    const packet = Buffer.from(udpPacket(IN, 1, 53, octets(10)));
    host.receive(packet, 0);
    packet.fill(0);
    expect(udp.receive()!.data).toEqual(octets(10));
  });

  test('an endpoint on one address does not hear of the other', () => {
    const host = stack({ addresses: [OWN, '10.1.0.9'] });
    const udp = host.bindUdp({ ip: '10.1.0.9', port: 53 });
    host.receive(udpPacket(IN, 1, 53, octets(1)), 0);
    expect(udp.receive()).toBeUndefined();
    host.receive(udpPacket({ from: PEER, to: '10.1.0.9' }, 1, 53, octets(1)), 0);
    expect(udp.receive()).toBeDefined();
  });

  test('with a remote only that one is heard', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 53, remote: { ip: PEER, port: 7 } });
    host.receive(udpPacket(IN, 8, 53, octets(1)), 0);
    host.receive(udpPacket(IN, 7, 53, octets(1)), 0);
    expect(udp.receive()!.remote.port).toBe(7);
    expect(udp.receive()).toBeUndefined();
    expect(drain(host).map(describePacket)).toEqual([`ICMP 3/3 ${OWN} > ${PEER} (29)`]);
  });

  test('the queue is bounded; what does not fit is counted', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 53, receiveBuffer: 5000 });
    for (let i = 0; i < 10; i++) host.receive(udpPacket(IN, 1, 53, octets(1000)), 0);
    for (let i = 0; i < 1000; i++) host.receive(udpPacket(IN, 1, 53, new Uint8Array(0)), 0);
    let count = 0;
    while (udp.receive() !== undefined) count++;
    expect(count).toBeLessThan(20);
    expect(host.counters.udpReceiveFull).toBe(1010 - count);
  });

  test('so is what waits to leave; WRITABLE tells when there is room', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 53 });
    let sent = 0;
    while (udp.send(octets(1400), { ip: PEER, port: 9 })) sent++;
    expect(sent).toBeGreaterThan(500);
    expect(sent).toBeLessThan(1000);
    expect(udp.takeEvents()).toBe(0);
    expect(drain(host)).toHaveLength(sent);
    expect(udp.takeEvents()).toBe(Ready.WRITABLE);
  });

  test('RFC 8200 §4.5: out in fragments, in by fragments, in any order', () => {
    const [a, b] = [stack({ mtu: 1280 }), stack({ addresses: [PEER, PEER6] })];
    const [from, to] = [a.bindUdp({ port: 1 }), b.bindUdp({ port: 2 })];
    for (const ip of [PEER, PEER6]) {
      const data = octets(20_000);
      from.send(data, { ip, port: 2 });
      const packets = new SeededRandom(ip).shuffle(drain(a));
      expect(packets.length).toBeGreaterThan(15);
      for (const packet of packets) {
        expect(packet.length).toBeLessThanOrEqual(1280);
        b.receive(packet, 0);
      }
      expect(to.receive()!.data).toEqual(data);
    }
  });

  test('the largest datagrams there are', () => {
    const [a, b] = [stack(), stack({ addresses: [PEER, PEER6] })];
    const [from, to] = [a.bindUdp({ port: 1 }), b.bindUdp({ port: 2 })];
    for (const [ip, size] of [
      [PEER, 65507],
      [PEER6, 65527],
    ] as const) {
      from.send(octets(size), { ip, port: 2 });
      for (const packet of drain(a)) b.receive(packet, 0);
      expect(to.receive()!.data).toEqual(octets(size));
      expect(() => from.send(octets(size + 1), { ip, port: 2 })).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
    }
  });

  test('RFC 1122 §4.1.3.3: an ICMP error is reported to whoever sent', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 5000 });
    udp.send(octets(10), { ip: PEER, port: 9 });
    const [packet] = drain(host);
    host.receive(icmpPacket(IN, 3, 3, 0, packet!), 0);
    expect(udp.takeEvents()).toBe(Ready.ERROR);
    expect(udp.takeError()).toEqual({ code: 'ECONNREFUSED', remote: { ip: PEER, port: 9 } });
    expect(udp.takeError()).toBeUndefined();
    // About a port that nobody uses.
    packet![21] = 1;
    host.receive(icmpPacket(IN, 3, 3, 0, packet!), 0);
    expect(host.counters.icmpErrorsImplausible).toBe(1);
  });

  test('addresses and ports that cannot be used', () => {
    const host = stack({ addresses: [OWN] });
    host.bindUdp({ port: 53 });
    expect(() => host.bindUdp({ port: 53 })).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
    expect(() => host.bindUdp({ ip: '10.9.9.9', port: 1 })).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
    const udp = host.bindUdp({});
    expect(udp.local.port).toBeGreaterThanOrEqual(49152);
    expect(() => udp.send(octets(1), { ip: PEER6, port: 1 })).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
    udp.close();
    expect(host.bindUdp({ port: udp.local.port }).local.port).toBe(udp.local.port);
  });

  test('promiscuous: every address and port, answered from there', () => {
    const host = stack({ promiscuous: true });
    const all = host.bindUdp({ port: 'any' });
    const dns = host.bindUdp({ port: 53 });
    host.receive(udpPacket({ from: PEER, to: '198.51.100.7' }, 4000, 443, octets(3)), 0);
    host.receive(udpPacket({ from: PEER, to: '198.51.100.7' }, 4000, 53, octets(3)), 0);
    const datagram = all.receive()!;
    expect(datagram.local).toEqual({ ip: '198.51.100.7', port: 443 });
    expect(dns.receive()!.local.ip).toBe('198.51.100.7');
    all.send(octets(5), datagram.remote, datagram.local);
    expect(drain(host).map(describePacket)).toEqual([`UDP 198.51.100.7:443 > ${PEER}:4000 (5)`]);
  });
});

describe('reassembly', () => {
  const upper = udpDatagram(IN, 1, 53, octets(100));
  const piece = (start: number, end: number, identification = 7): Uint8Array =>
    fragment(IN, 17, upper.subarray(start, end), start, end < upper.length, identification);

  function listening(): { host: Stack; got: () => Uint8Array | undefined } {
    const host = stack();
    const udp = host.bindUdp({ port: 53 });
    return { host, got: () => udp.receive()?.data };
  }

  test('RFC 791 §3.2: pieces in any order', () => {
    const { host, got } = listening();
    for (const packet of [piece(64, 108), piece(0, 32), piece(32, 64)]) host.receive(packet, 0);
    expect(got()).toEqual(octets(100));
    expect(host.nextDeadline()).toBeUndefined();
  });

  test('RFC 8200 §4.5: an exact copy is dropped and does no harm', () => {
    const { host, got } = listening();
    for (const packet of [piece(0, 32), piece(0, 32), piece(32, 108)]) host.receive(packet, 0);
    expect(got()).toEqual(octets(100));
  });

  test.each([
    ['from the left', [0, 40], [32, 108]],
    ['from the right', [32, 108], [0, 40]],
    ['inside', [0, 64], [8, 16]],
    ['around', [8, 16], [0, 64]],
  ] as const)('RFC 5722 §4: an overlap %s condemns the packet, and what is still to come', (_how, first, second) => {
    const { host, got } = listening();
    host.receive(piece(first[0], first[1]), 0);
    host.receive(piece(second[0], second[1]), 0);
    for (const packet of [piece(0, 32), piece(32, 64), piece(64, 108)]) host.receive(packet, 0);
    expect(got()).toBeUndefined();
    expect(host.counters.reassemblyFailed).toBe(1);
    // Another packet of the same sender is not concerned.
    for (const packet of [piece(0, 64, 8), piece(64, 108, 8)]) host.receive(packet, 0);
    expect(got()).toEqual(octets(100));
  });

  test('two different ends, or a piece behind the end, condemn it too', () => {
    const { host, got } = listening();
    host.receive(fragment(IN, 17, upper.subarray(64, 100), 64, false, 7), 0);
    host.receive(piece(64, 108), 0);
    host.receive(piece(0, 64), 0);
    expect(got()).toBeUndefined();
    host.receive(fragment(IN, 17, upper.subarray(32, 40), 32, false, 9), 0);
    host.receive(fragment(IN, 17, upper.subarray(40, 80), 40, true, 9), 0);
    expect(host.counters.reassemblyFailed).toBe(2);
  });

  test('pieces of different packets, protocols and senders do not mix', () => {
    const { host, got } = listening();
    host.receive(piece(0, 64, 1), 0);
    host.receive(piece(64, 108, 2), 0);
    host.receive(fragment({ from: '10.1.0.3', to: OWN }, 17, upper.subarray(64), 64, false, 1), 0);
    host.receive(fragment(IN, 6, upper.subarray(64), 64, false, 1), 0);
    expect(got()).toBeUndefined();
  });

  test('RFC 8200 §4.5: after a minute it is given up', () => {
    const { host, got } = listening();
    host.receive(piece(0, 64), 0);
    host.expire(59_999);
    host.expire(60_000);
    host.receive(piece(64, 108), 60_000);
    expect(got()).toBeUndefined();
    expect(host.counters.reassemblyFailed).toBe(1);
  });

  test('a flood of first fragments holds no more than a bounded amount', () => {
    const { host, got } = listening();
    const random = new SeededRandom('flood');
    for (let i = 0; i < 5000; i++) host.receive(fragment(IN, 17, random.bytes(1400), 0, true, i), i / 100);
    expect(host.counters.reassemblyFailed).toBeGreaterThanOrEqual(5000 - 64);
    for (const packet of [piece(0, 64, 60_000), piece(64, 108, 60_000)]) host.receive(packet, 100);
    expect(got()).toEqual(octets(100));
  });

  test('so does a flood of small pieces of one packet', () => {
    const { host } = listening();
    for (let at = 0; at < 60_000; at += 16) host.receive(fragment(IN, 17, octets(8), at, true, 3), 0);
    expect(host.counters.reassemblyFailed).toBe(1);
  });
});
