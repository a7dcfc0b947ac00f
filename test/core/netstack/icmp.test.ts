import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/index.ts';
import { type Endpoint, Ready, Stack, type StackOptions } from '../../../src/core/netstack/index.ts';
import { IcmpType, IcmpView, Icmpv6Type, IpProtocol, IpView } from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Drill } from './support/drill.ts';
import { describePacket, echoRequest, fragment, icmpMessage, icmpPacket, ipPacket, tooBig, udpPacket } from './support/packets.ts';

const OWN = { 4: '10.1.0.1', 6: 'fd01::1' } as const;
const PEER = { 4: '10.1.0.2', 6: 'fd01::2' } as const;
const ROUTER = { 4: '10.9.9.9', 6: 'fd09::9' } as const;
const FAMILIES = [4, 6] as const;

function stack(options: Partial<StackOptions> = {}): Stack {
  const random = new SeededRandom('icmp');
  return new Stack({ addresses: [OWN[4], OWN[6]], mtu: 1500, random: { secret: (length) => random.bytes(length) }, ...options });
}

function drain(host: Stack, now = 0): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let packet = host.poll(now); packet !== undefined; packet = host.poll(now)) packets.push(packet.slice());
  return packets;
}

const texts = (host: Stack, now = 0): string[] => drain(host, now).map(describePacket);

function events(endpoint: Endpoint): number {
  return endpoint.takeEvents();
}

describe.each(FAMILIES)('echo over IPv%i', (version) => {
  const envelope = { from: PEER[version], to: OWN[version] };

  test('RFC 1122 §3.2.2.6, RFC 4443 §4.2: a request is answered with its own data', () => {
    const host = stack();
    const data = new SeededRandom(1).bytes(99);
    host.receive(echoRequest(envelope, 0xabcd, data), 0);
    const [reply] = drain(host);
    const [ip, icmp] = [new IpView(), new IcmpView()];
    expect(ip.parse(reply!) && icmp.parse(ip)).toBe(true);
    expect(icmp).toMatchObject({ type: version === 4 ? IcmpType.ECHO_REPLY : Icmpv6Type.ECHO_REPLY, identifier: 0xabcd, sequence: 1 });
    expect(ip.data.subarray(icmp.start, icmp.end)).toEqual(data);
    expect(describePacket(reply!)).toContain(`${OWN[version]} > ${PEER[version]}`);
  });

  test('one to somebody else, or from an impossible source, is not', () => {
    const host = stack();
    host.receive(echoRequest({ from: PEER[version], to: ROUTER[version] }, 1, new Uint8Array(8)), 0);
    for (const from of version === 4
      ? ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', OWN[4]]
      : ['::', '::1', 'ff02::1', OWN[6]]) {
      host.receive(echoRequest({ from, to: OWN[version] }, 1, new Uint8Array(8)), 0);
    }
    expect(texts(host)).toEqual([]);
    expect(host.counters).toMatchObject({ ipNotOurs: 1, ipBadSource: version === 4 ? 5 : 4 });
  });

  test('ping: the answer is recognised, and how long it took', () => {
    const host = stack();
    const ping = host.ping({ ip: PEER[version], size: 20 }, 100);
    const [request] = drain(host, 100);
    const [ip, icmp] = [new IpView(), new IcmpView()];
    expect(ip.parse(request!) && icmp.parse(ip)).toBe(true);
    const reply = (identifier: number, from: string): Uint8Array =>
      icmpPacket({ from, to: OWN[version] }, version === 4 ? 0 : 129, 0, (identifier << 16) | 1, new Uint8Array(20));
    host.receive(reply(icmp.identifier + 1, PEER[version]), 110);
    host.receive(reply(icmp.identifier, ROUTER[version]), 115);
    expect(ping.done).toBe(false);
    host.receive(reply(icmp.identifier, PEER[version]), 123.5);
    expect(ping).toMatchObject({ rtt: 23.5, error: undefined, from: PEER[version] });
    expect(events(ping)).toBe(Ready.DONE);
    expect(host.nextDeadline()).toBeUndefined();
  });

  test('ping: nobody answers', () => {
    const host = stack();
    const ping = host.ping({ ip: PEER[version], timeout: 700 }, 0);
    expect(host.nextDeadline()).toBe(700);
    host.expire(699);
    expect(ping.done).toBe(false);
    host.expire(700);
    expect(ping.error).toBe('ETIMEDOUT');
  });

  test('ping: a router answers instead', () => {
    const host = stack();
    const ping = host.ping({ ip: PEER[version], hopLimit: 1 }, 0);
    const [request] = drain(host);
    expect(request![version === 4 ? 8 : 7]).toBe(1);
    host.receive(icmpPacket({ from: ROUTER[version], to: OWN[version] }, version === 4 ? 11 : 3, 0, 0, request!), 5);
    expect(ping).toMatchObject({ error: 'ETTL', from: ROUTER[version], rtt: undefined });
  });

  test('ping: too large for the interface and not to be fragmented', () => {
    const host = stack();
    expect(host.ping({ ip: PEER[version], size: 1480, dontFragment: true }, 0).error).toBe('EMSGSIZE');
    expect(texts(host)).toEqual([]);
  });

  test('ping: too large for the path', () => {
    const host = stack();
    const ping = host.ping({ ip: PEER[version], size: 1400, dontFragment: true }, 0);
    const [request] = drain(host);
    host.receive(tooBig({ from: ROUTER[version], to: OWN[version] }, 1380, request!), 1);
    expect(ping).toMatchObject({ error: 'EMSGSIZE', mtu: 1380 });
  });

  test('a large one leaves in fragments', () => {
    const host = stack({ mtu: 1280 });
    host.ping({ ip: PEER[version], size: 3000 }, 0);
    const packets = drain(host);
    expect(packets.map(describePacket).every((text) => text.startsWith('fragment'))).toBe(true);
    expect(packets.every((packet) => packet.length <= 1280)).toBe(true);
    const other = stack({ addresses: [PEER[version]] });
    for (const packet of packets.reverse()) other.receive(packet, 0);
    expect(other.counters.icmpEchoAnswered).toBe(1);
  });
});

describe('errors that are sent', () => {
  test('RFC 1122 §3.2.2.1: no such port; the packet is quoted', () => {
    const host = stack();
    const packet = udpPacket({ from: PEER[4], to: OWN[4] }, 1000, 2000, new Uint8Array(700));
    host.receive(packet, 0);
    const [error] = drain(host);
    expect(describePacket(error!)).toBe(`ICMP 3/3 ${OWN[4]} > ${PEER[4]} (548)`);
    expect(error!.subarray(28)).toEqual(packet.subarray(0, 548));
    expect(error!.length).toBe(576);
  });

  test('RFC 4443 §3.1: the same for IPv6, up to the minimum MTU', () => {
    const host = stack();
    host.receive(udpPacket({ from: PEER[6], to: OWN[6] }, 1000, 2000, new Uint8Array(1400)), 0);
    const [error] = drain(host);
    expect(describePacket(error!)).toBe(`ICMP 1/4 ${OWN[6]} > ${PEER[6]} (1232)`);
    expect(error!.length).toBe(1280);
  });

  test('RFC 1122 §3.2.2.1, RFC 8200 §4: no such protocol', () => {
    const host = stack();
    host.receive(ipPacket({ from: PEER[4], to: OWN[4] }, IpProtocol.ESP, new Uint8Array(20)), 0);
    host.receive(ipPacket({ from: PEER[6], to: OWN[6] }, IpProtocol.ESP, new Uint8Array(20)), 0);
    const packets = drain(host);
    expect(packets.map(describePacket)).toEqual([`ICMP 3/2 ${OWN[4]} > ${PEER[4]} (40)`, `ICMP 4/1 ${OWN[6]} > ${PEER[6]} (60)`]);
    // The pointer stands at the Next Header field.
    expect(packets[1]!.subarray(44, 48)).toEqual(Uint8Array.of(0, 0, 0, 6));
  });

  test('RFC 8200 §4.7: No Next Header is no error', () => {
    const host = stack();
    host.receive(ipPacket({ from: PEER[6], to: OWN[6] }, IpProtocol.IPV6_NONXT, new Uint8Array(4)), 0);
    expect(texts(host)).toEqual([]);
  });

  test('RFC 8200 §4.2, §4.4: Parameter Problem points at what is wrong', () => {
    const host = stack();
    host.receive(ipPacket({ from: PEER[6], to: OWN[6] }, IpProtocol.IPV6_OPTS, fromHex('06 00 81 04 00 00 00 00')), 0);
    host.receive(ipPacket({ from: PEER[6], to: OWN[6] }, IpProtocol.IPV6_ROUTE, fromHex('06 00 00 01 00 00 00 00')), 0);
    const packets = drain(host);
    expect(packets.map(describePacket)).toEqual([`ICMP 4/2 ${OWN[6]} > ${PEER[6]} (48)`, `ICMP 4/0 ${OWN[6]} > ${PEER[6]} (48)`]);
    expect(packets.map((packet) => packet[47])).toEqual([42, 42]);
  });

  test('RFC 1122 §3.2.2, RFC 4443 §2.4 (e): never about an error, a later fragment, or to nobody', () => {
    const host = stack();
    const quoted = udpPacket({ from: OWN[4], to: PEER[4] }, 1, 2, new Uint8Array(8));
    host.receive(icmpPacket({ from: PEER[4], to: OWN[4] }, 3, 3, 0, quoted), 0);
    // An unknown protocol inside of which an error stands is still an error when it claims to be ICMP of the other family.
    host.receive(ipPacket({ from: PEER[4], to: OWN[4] }, IpProtocol.ICMP, fromHex('03 03 00 00')), 0);
    host.receive(fragment({ from: PEER[4], to: OWN[4] }, IpProtocol.ESP, new Uint8Array(16), 800, false, 5), 0);
    host.receive(udpPacket({ from: '0.0.0.0', to: OWN[4] }, 1, 2, new Uint8Array(8)), 0);
    host.receive(udpPacket({ from: PEER[4], to: '224.0.0.5' }, 1, 2, new Uint8Array(8)), 0);
    expect(texts(host)).toEqual([]);
  });

  test('RFC 4443 §2.4 (f): not more often than is good', () => {
    const host = stack();
    for (let i = 0; i < 200; i++) host.receive(udpPacket({ from: PEER[4], to: OWN[4] }, 1, 2, new Uint8Array(8)), 0);
    expect(drain(host)).toHaveLength(50);
    expect(host.counters.icmpErrorsSuppressed).toBe(150);
    for (let i = 0; i < 200; i++) host.receive(udpPacket({ from: PEER[4], to: OWN[4] }, 1, 2, new Uint8Array(8)), 100);
    expect(drain(host, 100)).toHaveLength(10);
  });

  test.each(FAMILIES)('RFC 792, RFC 8200 §4.5: fragments that never became whole (IPv%i)', (version) => {
    const host = stack();
    const upper = icmpMessage({ from: PEER[version], to: OWN[version] }, version === 4 ? 8 : 128, 0, 1, new Uint8Array(64));
    const protocol = version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP;
    host.receive(fragment({ from: PEER[version], to: OWN[version] }, protocol, upper.subarray(0, 32), 0, true, 77), 0);
    expect(host.nextDeadline()).toBe(60_000);
    host.expire(60_000);
    expect(texts(host, 60_000)[0]).toContain(version === 4 ? 'ICMP 11/1' : 'ICMP 3/1');
    // Without the first fragment nobody is told (RFC 8200 §4.5).
    host.receive(fragment({ from: PEER[version], to: OWN[version] }, protocol, upper.subarray(32), 32, false, 78), 60_000);
    host.expire(120_000);
    expect(texts(host, 120_000)).toEqual([]);
  });
});

describe.each(FAMILIES)('errors about TCP over IPv%i (RFC 9293 §3.9.2.2)', (version) => {
  const router = { from: ROUTER[version], to: OWN[version] };
  const unreachable = (code: number, quoted: Uint8Array): Uint8Array => icmpPacket(router, version === 4 ? 3 : 1, code, 0, quoted);
  const PORT = version === 4 ? 3 : 4;
  const HOST = version === 4 ? 1 : 3;
  /** What a segment of ours holds before anything is known of the path. */
  const FULL = version === 4 ? 1460 : 1440;

  test('SHLD-26: port unreachable refuses a connection that is being opened', () => {
    const t = new Drill({ version });
    const connection = t.connect();
    const [syn] = t.sentPackets();
    t.receive(unreachable(PORT, syn!));
    expect(connection.error).toBe('ECONNREFUSED');
  });

  test('RFC 5927 §4.1: an error about a number that is not under way changes nothing', () => {
    const t = new Drill({ version });
    const connection = t.connect();
    const [syn] = t.sentPackets();
    const at = version === 4 ? 20 : 40;
    syn![at + 5] = syn![at + 5]! ^ 0x80;
    t.receive(unreachable(PORT, syn!));
    expect(connection.state).toBe('SYN-SENT');
    expect(t.stack.counters.icmpErrorsImplausible).toBe(1);
  });

  test('MUST-56: host unreachable aborts nothing, but is the reason given in the end', () => {
    const t = new Drill({ version, tcp: { userTimeout: 30_000 } });
    t.established();
    t.write(100);
    const [data] = t.sentPackets();
    t.receive(unreachable(HOST, data!));
    expect(t.connection.state).toBe('ESTABLISHED');
    t.elapse(100_000);
    expect(t.connection.error).toBe('EHOSTUNREACH');
  });

  test('RFC 5461 §4.2: a second one ends an opening', () => {
    const t = new Drill({ version });
    const connection = t.connect();
    t.receive(unreachable(HOST, t.sentPackets()[0]!));
    expect(connection.state).toBe('SYN-SENT');
    t.elapse(1000);
    t.receive(unreachable(HOST, t.sentPackets()[0]!));
    expect(connection.error).toBe('EHOSTUNREACH');
  });

  test('RFC 5927 §5.2: port unreachable does not end an established connection', () => {
    const t = new Drill({ version });
    t.established();
    t.write(100);
    t.receive(unreachable(PORT, t.sentPackets()[0]!));
    expect(t.connection.state).toBe('ESTABLISHED');
  });

  test('RFC 1191 §6, RFC 8201 §4: packet too big: smaller segments at once, and no loss of window', () => {
    const t = new Drill({ version });
    t.established();
    t.write(6 * FULL);
    const packets = t.sentPackets();
    const before = t.connection.info;
    t.receive(tooBig(router, 1300, packets[0]!));
    const mss = 1300 - (version === 4 ? 40 : 60);
    expect(t.connection.info).toMatchObject({ mss, cwnd: before.cwnd, ssthresh: before.ssthresh });
    const lines = t.sent();
    expect(lines[0]).toBe(`. 1:${1 + mss}(${mss}) ack 1 win 65535`);
    expect(lines.every((line) => Number(/\((\d+)\)/.exec(line)![1]) <= mss)).toBe(true);
    // All of it, cut anew.
    expect(lines.at(-1)).toContain(`:${1 + 6 * FULL}(`);
    t.inject(`. 1:1(0) ack ${1 + 6 * FULL}`);
    expect(t.connection.unacknowledged).toBe(0);
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('another connection to the same peer starts with what was learned; ten minutes later more is tried', () => {
    const t = new Drill({ version });
    t.established();
    t.write(5000);
    t.receive(tooBig(router, 1300, t.sentPackets()[0]!));
    t.sent();
    t.inject('. 1:1(0) ack 5001');
    const mss = 1300 - (version === 4 ? 40 : 60);
    t.connect();
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1400>').sent();
    expect(t.connection.info.mss).toBe(mss);
    t.elapse(600_001);
    t.write(100);
    t.sent();
    expect(t.connection.info.mss).toBe(1400);
  });

  test('RFC 5927 §7: a message about nothing that is under way, or that claims too little, teaches little', () => {
    const t = new Drill({ version });
    t.established();
    t.write(2 * FULL);
    const [first] = t.sentPackets();
    t.inject(`. 1:1(0) ack ${1 + 2 * FULL}`);
    t.receive(tooBig(router, 1300, first!));
    expect(t.connection.info.mss).toBe(FULL);
    t.write(3000);
    t.receive(tooBig(router, 100, t.sentPackets()[0]!));
    expect(t.connection.info.mss).toBe(version === 4 ? 512 : 1220);
  });

  test('RFC 2923 §2.1: a path that swallows large segments in silence', () => {
    const t = new Drill({ version });
    t.established();
    t.write(3000);
    t.sent();
    t.expectAfter(200, version === 4 ? '. 1:1241(1240) ack 1' : '. 1:1221(1220) ack 1');
    expect(t.stack.counters.tcpBlackHoles).toBe(1);
  });
});

test('RFC 1191 §5: a router that does not say how much: the next plateau', () => {
  const t = new Drill();
  t.established();
  t.write(5000);
  t.receive(tooBig({ from: ROUTER[4], to: OWN[4] }, 0, t.sentPackets()[0]!));
  expect(t.connection.info.mss).toBe(1492 - 40);
});

test('RFC 6633: Source Quench is ignored', () => {
  const t = new Drill();
  t.established();
  t.write(5000);
  const before = t.connection.info;
  t.receive(icmpPacket({ from: ROUTER[4], to: OWN[4] }, IcmpType.SOURCE_QUENCH, 0, 0, t.sentPackets()[0]!));
  expect(t.connection.info).toEqual(before);
});
