import { describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../src/core/bytes/index.ts';
import { Ready, Stack, type StackOptions } from '../../../src/core/netstack/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { describePacket, echoRequest, udpPacket } from './support/packets.ts';
import { A4, A6, B4, Pair, steady } from './support/pair.ts';

function stack(options: Partial<StackOptions> = {}): Stack {
  const random = new SeededRandom('stack');
  return new Stack({ addresses: [A4, A6], mtu: 1500, random: { secret: (length) => random.bytes(length) }, ...options });
}

const code = (expected: string): unknown => expect.objectContaining({ code: expected });

describe('what a stack refuses, and why', () => {
  test('an MTU that no interface has', () => {
    for (const mtu of [0, 1279, 65536, 1400.5, Number.NaN]) expect(() => stack({ mtu })).toThrow(code('BAD_MTU'));
    expect(stack({ mtu: 1280 }).mtu).toBe(1280);
  });

  test('a random source that gives too little', () => {
    expect(() => stack({ random: { secret: () => new Uint8Array(8) } })).toThrow(ApiMisuse);
  });

  test.each([
    ['no own address of that family', { ip: 'fd00::9', port: 1 }, 'EADDRNOTAVAIL'],
    ['an own address that is none', { ip: B4, port: 1, localIp: '10.99.0.1' }, 'EADDRNOTAVAIL'],
    ['itself', { ip: A4, port: 1 }, 'EADDRNOTAVAIL'],
    ['port 0', { ip: B4, port: 0 }, 'ERR_SOCKET_BAD_PORT'],
    ['port 65536', { ip: B4, port: 65536 }, 'ERR_SOCKET_BAD_PORT'],
    ['no address', { ip: 'example.com', port: 1 }, 'NOT_AN_ADDRESS'],
  ])('connecting to %s', (_what, options, expected) => {
    expect(() => stack({ addresses: [A4] }).connect(options, 0)).toThrow(code(expected));
  });

  test('the same ends twice', () => {
    const host = stack();
    host.connect({ ip: B4, port: 1, localPort: 5 }, 0);
    expect(() => host.connect({ ip: B4, port: 1, localPort: 5 }, 0)).toThrow(code('EADDRINUSE'));
    host.connect({ ip: B4, port: 2, localPort: 5 }, 0);
  });

  test('listening twice, or where there is no address', () => {
    const host = stack();
    host.listen({ port: 80 });
    expect(() => host.listen({ port: 80 })).toThrow(code('EADDRINUSE'));
    expect(() => host.listen({ ip: '10.99.0.1', port: 80 })).toThrow(code('EADDRNOTAVAIL'));
    expect(host.listen({ port: 0 }).local.port).toBeGreaterThanOrEqual(49152);
  });

  test('more connections than allowed', () => {
    const host = stack({ tcp: { maxConnections: 3 } });
    for (let i = 0; i < 3; i++) host.connect({ ip: B4, port: 1 }, 0);
    expect(() => host.connect({ ip: B4, port: 1 }, 0)).toThrow(code('EMFILE'));
  });
});

describe('packets', () => {
  test('pollInto writes where it is told, poll hands out the same', () => {
    const [a, b] = [stack(), stack()];
    for (const host of [a, b]) host.ping({ ip: B4 }, 0);
    const buffer = new Uint8Array(2000).fill(0xee);
    const length = a.pollInto(buffer, 100, 0);
    expect(buffer.subarray(100, 100 + length)).toEqual(b.poll(0));
    expect([buffer[99], buffer[100 + length]]).toEqual([0xee, 0xee]);
    expect(a.pollInto(buffer, 0, 0)).toBe(0);
  });

  test('a packet may be overwritten as soon as receive returns', () => {
    const pair = new Pair();
    const listener = pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    connection.write(new Uint8Array(3000).fill(7));
    pair.fate = (packet, _from, _now) => {
      queueMicrotask(() => packet.fill(0));
      return [1];
    };
    pair.run(100);
    expect(listener.accept()!.readChunk()).toEqual(new Uint8Array(3000).fill(7));
  });

  test('what is not ours is counted by its reason', () => {
    const host = stack();
    host.receive(new Uint8Array(0), 0);
    host.receive(new Uint8Array(60).fill(0x99), 0);
    host.receive(udpPacket({ from: B4, to: '10.0.0.77' }, 1, 2, new Uint8Array(4)), 0);
    host.receive(udpPacket({ from: '127.0.0.1', to: A4 }, 1, 2, new Uint8Array(4)), 0);
    const broken = udpPacket({ from: B4, to: A4 }, 1, 2, new Uint8Array(4));
    broken[8] = 1;
    host.receive(broken, 0);
    expect(host.counters).toMatchObject({ packetsIn: 5, ipMalformed: 3, ipNotOurs: 1, ipBadSource: 1 });
    expect(host.poll(0)).toBeUndefined();
  });

  test('segments and other packets take turns', () => {
    const pair = new Pair();
    pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    pair.run(10);
    connection.write(new Uint8Array(14_600));
    const udp = pair.a.bindUdp({ port: 9 });
    for (let i = 0; i < 5; i++) udp.send(new Uint8Array(1), { ip: B4, port: 9 });
    const kinds: string[] = [];
    for (let packet = pair.a.poll(10); packet !== undefined; packet = pair.a.poll(10)) kinds.push(describePacket(packet).slice(0, 3));
    expect(kinds.slice(0, 10).filter((kind) => kind === 'UDP')).toHaveLength(5);
  });

  test('connections take turns too', () => {
    const pair = new Pair({ a: { tcp: { congestion: steady(Number.POSITIVE_INFINITY) } } });
    pair.b.listen({ port: 80 });
    const connections = [1, 2].map(() => pair.a.connect({ ip: B4, port: 80 }, 0));
    pair.run(10);
    for (const connection of connections) connection.write(new Uint8Array(200_000));
    const ports: number[] = [];
    for (let packet = pair.a.poll(10); packet !== undefined; packet = pair.a.poll(10)) ports.push(packet[21]!);
    expect(new Set(ports.slice(0, 64)).size).toBe(2);
  });
});

describe('changes while running', () => {
  test('new addresses: the old connections end, new ones come from there', () => {
    const pair = new Pair();
    pair.b.listen({ port: 80 });
    const [four, six] = [pair.a.connect({ ip: B4, port: 80 }, 0), pair.a.connect({ ip: 'fd00::2', port: 80 }, 0)];
    pair.run(10);
    pair.a.setAddresses(['10.0.0.5', A6]);
    expect([four.error, six.error, six.state]).toEqual(['EADDRNOTAVAIL', undefined, 'ESTABLISHED']);
    expect(pair.a.addresses).toEqual(['10.0.0.5', A6]);
    const fresh = pair.a.connect({ ip: B4, port: 80 }, pair.now);
    expect(pair.run(pair.now + 100, () => fresh.state === 'ESTABLISHED')).toBe(true);
    expect(fresh.local.ip).toBe('10.0.0.5');
  });

  test('another MTU: segments follow, both ways', () => {
    const pair = new Pair();
    const listener = pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    pair.run(10);
    let longest = 0;
    pair.fate = (packet, from) => {
      if (from === 'a') longest = Math.max(longest, packet.length);
      return [1];
    };
    const accepted = listener.accept()!;
    let received = 0;
    pair.onStep = () => {
      received += accepted.readChunk()?.length ?? 0;
    };
    for (const mtu of [1280, 1400]) {
      pair.a.setMtu(mtu);
      longest = 0;
      connection.write(new Uint8Array(100_000));
      pair.run(pair.now + 1000);
      expect(longest).toBe(mtu);
    }
    expect(received).toBe(200_000);
    // What the peer offered in its SYN is the limit: a larger interface does not help.
    pair.a.setMtu(9000);
    longest = 0;
    connection.write(new Uint8Array(100_000));
    pair.run(pair.now + 1000);
    expect(longest).toBe(1500);
  });

  test('what waited for a larger MTU does not leave through a smaller one', () => {
    const host = stack();
    const udp = host.bindUdp({ port: 9 });
    for (const size of [1400, 100]) udp.send(new Uint8Array(size), { ip: B4, port: 9 });
    host.setMtu(1280);
    const buffer = new Uint8Array(1280);
    expect(host.pollInto(buffer, 0, 0)).toBe(128);
    expect(host.counters.packetsTooLarge).toBe(1);
  });

  test('abandon: everything ends with ENETDOWN and nothing is sent', () => {
    const pair = new Pair();
    pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    const ping = pair.a.ping({ ip: '10.0.0.9' }, 0);
    pair.run(10);
    connection.write(new Uint8Array(100));
    pair.a.abandon();
    expect([connection.error, ping.error]).toEqual(['ENETDOWN', 'ENETDOWN']);
    expect(pair.a.poll(10)).toBeUndefined();
    expect([pair.a.nextDeadline(), pair.a.connectionCount, pair.a.bufferMemory]).toEqual([undefined, 0, 0]);
  });
});

describe('readiness', () => {
  test('nextReady hands out each endpoint once, with what gathered', () => {
    const pair = new Pair();
    const listener = pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    connection.write(new Uint8Array(10));
    const heard: [unknown, number][] = [];
    const take = (): void => {
      for (const host of [pair.a, pair.b]) {
        for (let endpoint = host.nextReady(); endpoint !== undefined; endpoint = host.nextReady())
          heard.push([endpoint, endpoint.takeEvents()]);
      }
    };
    pair.onStep = take;
    pair.a.dispatch = () => {};
    pair.b.dispatch = () => {};
    pair.run(100);
    expect(heard[0]).toEqual([connection, Ready.CONNECTED | Ready.WRITABLE]);
    expect(heard[1]).toEqual([listener, Ready.ACCEPT]);
    expect(heard).toHaveLength(2);
    const accepted = listener.accept()!;
    take();
    expect(heard[2]).toEqual([accepted, Ready.CONNECTED | Ready.WRITABLE | Ready.READABLE]);
  });

  test('events wait for an onReady that is set late', () => {
    const pair = new Pair();
    pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    pair.run(10);
    let heard = 0;
    connection.onReady = (events) => {
      heard |= events;
    };
    pair.b.setAddresses([B4]);
    connection.abort();
    pair.a.dispatch();
    expect(heard & (Ready.CONNECTED | Ready.CLOSED)).toBe(Ready.CONNECTED | Ready.CLOSED);
  });
});

describe('promiscuous: userspace NAT', () => {
  test('TCP to any address and port ends at one listener, which answers for it', () => {
    const pair = new Pair({ b: { promiscuous: true } });
    const everything = pair.b.listen({ port: 'any' });
    const http = pair.b.listen({ port: 80 });
    const far = pair.a.connect({ ip: '203.0.113.9', port: 2222 }, 0);
    const web = pair.a.connect({ ip: '2001:db8::80', port: 80 }, 0);
    expect(pair.run(1000, () => far.state === 'ESTABLISHED' && web.state === 'ESTABLISHED')).toBe(true);
    pair.run(pair.now + 10);
    expect(everything.accept()?.local).toEqual({ ip: '203.0.113.9', port: 2222 });
    expect(http.accept()?.local).toEqual({ ip: '2001:db8::80', port: 80 });
  });

  test('pings are answered for the own address only', () => {
    const host = stack({ promiscuous: true });
    host.receive(echoRequest({ from: B4, to: '203.0.113.9' }, 1, new Uint8Array(8)), 0);
    expect(host.poll(0)).toBeUndefined();
    host.receive(echoRequest({ from: B4, to: A4 }, 1, new Uint8Array(8)), 0);
    expect(host.poll(0)).toBeDefined();
  });
});

test('time that jumps back does no harm', () => {
  const pair = new Pair();
  pair.b.listen({ port: 80 });
  const connection = pair.a.connect({ ip: B4, port: 80 }, 1000);
  pair.a.expire(500);
  expect(pair.a.poll(0)).toBeDefined();
  pair.a.expire(1999);
  expect(pair.a.poll(1999)).toBeUndefined();
  pair.a.expire(2000);
  expect(pair.a.poll(2000)).toBeDefined();
  expect(connection.state).toBe('SYN-SENT');
});
