import { describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../src/core/bytes/index.ts';
import { PacketCapture } from '../../src/testing/capture.ts';
import type { Host } from '../../src/testing/host.ts';
import { Internet } from '../../src/testing/internet.ts';
import type { LinkConditions } from '../../src/testing/link.ts';

interface Heard {
  readonly at: number;
  readonly text: string;
  readonly from: string;
}

function twoHosts(
  link: Partial<LinkConditions> = {},
  seed = 1,
): { net: Internet; a: Host; b: Host; heard: Heard[]; say: (text: string | Uint8Array) => void } {
  const net = new Internet(seed);
  const a = net.host('a', { addresses: ['192.0.2.1', '2001:db8::1'], link });
  const b = net.host('b', { addresses: ['198.51.100.7', '2001:db8::7'] });
  const heard: Heard[] = [];
  b.bind(500, (packet) =>
    heard.push({ at: net.clock.now, text: fromUtf8(packet.data), from: `${packet.source.ip}:${packet.source.port}` }),
  );
  const say = (text: string | Uint8Array): void => {
    const data = typeof text === 'string' ? utf8(text) : text;
    a.send({ protocol: 'udp', source: { ip: '192.0.2.1', port: 500 }, destination: { ip: '198.51.100.7', port: 500 }, data });
  };
  return { net, a, b, heard, say };
}

describe('hosts and addresses', () => {
  test('a datagram arrives after the delay of the link, with its source', () => {
    const { net, heard, say } = twoHosts({ delay: 30 });
    say('hello');
    net.clock.settle({ quiet: 1000 });
    expect(heard).toEqual([{ at: 30, text: 'hello', from: '192.0.2.1:500' }]);
    expect(net.capture.packets).toMatchObject([{ at: 0, fate: 'delivered', deliveries: [30] }]);
  });

  test('a source address that is not the host’s own goes nowhere', () => {
    const { net, a } = twoHosts();
    const packet = {
      protocol: 'udp',
      source: { ip: '192.0.2.99', port: 500 },
      destination: { ip: '198.51.100.7', port: 500 },
      data: utf8('x'),
    } as const;
    expect(a.send(packet)).toBe(false);
    expect(net.capture.packets).toEqual([]);
  });

  test('addresses come and go at run time', () => {
    const { net, a, b, heard, say } = twoHosts();
    b.removeAddress('198.51.100.7');
    say('nobody home');
    net.clock.settle();
    const seen: (readonly string[])[] = [];
    a.onAddresses((addresses) => seen.push(addresses));
    a.addAddress('192.0.2.2');
    a.removeAddress('192.0.2.1');
    b.addAddress('198.51.100.7');
    const moved = {
      protocol: 'udp',
      source: { ip: '192.0.2.2', port: 9 },
      destination: { ip: '198.51.100.7', port: 500 },
      data: utf8('moved'),
    } as const;
    expect(a.send(moved)).toBe(true);
    net.clock.settle();
    expect(net.capture.packets.map((p) => p.fate)).toEqual(['no such host', 'delivered']);
    expect(heard.map((h) => h.from)).toEqual(['192.0.2.2:9']);
    expect(seen).toEqual([
      ['192.0.2.1', '2001:db8::1', '192.0.2.2'],
      ['2001:db8::1', '192.0.2.2'],
    ]);
  });

  test('two stations cannot have one address', () => {
    const { net } = twoHosts();
    expect(() => net.host('c', { addresses: ['192.0.2.1'] })).toThrow(/taken on internet by a/);
  });

  test('a host picks its source address by family', () => {
    const { a } = twoHosts();
    expect([a.addressFor('203.0.113.1'), a.addressFor('2001:db8::99')]).toEqual(['192.0.2.1', '2001:db8::1']);
  });

  test('the receiver gets bytes of its own', () => {
    const net = new Internet();
    const a = net.host('a', { addresses: ['192.0.2.1'], link: { duplicate: 1 } });
    const b = net.host('b', { addresses: ['192.0.2.2'] });
    const texts: string[] = [];
    b.bind(1, (packet) => {
      texts.push(fromUtf8(packet.data));
      packet.data.fill(0);
    });
    a.send({ protocol: 'udp', source: { ip: '192.0.2.1', port: 1 }, destination: { ip: '192.0.2.2', port: 1 }, data: utf8('intact') });
    net.clock.settle({ quiet: 10 });
    expect(texts.length).toBeGreaterThan(1);
    expect(new Set(texts)).toEqual(new Set(['intact']));
  });
});

describe('links', () => {
  test('loss, duplication and jitter come in the measure asked for', () => {
    const { net, heard, say } = twoHosts({ delay: 10, jitter: 50 });
    net.core.intercept((packet) => [packet]);
    for (let i = 0; i < 2000; i++) say(String(i));
    net.clock.run(1000);
    expect(heard).toHaveLength(2000);
    const overtaken = heard.filter((h, i) => i > 0 && Number(h.text) < Number(heard[i - 1]!.text)).length;
    expect(overtaken).toBeGreaterThan(500);
    expect(Math.min(...heard.map((h) => h.at))).toBeGreaterThanOrEqual(10);
    expect(Math.max(...heard.map((h) => h.at))).toBeLessThanOrEqual(60);

    const lossy = twoHosts({ loss: 0.2 });
    for (let i = 0; i < 2000; i++) lossy.say('x');
    lossy.net.clock.run(1000);
    expect(lossy.heard.length).toBeGreaterThan(1500);
    expect(lossy.heard.length).toBeLessThan(1700);

    const twice = twoHosts({ duplicate: 0.25 });
    for (let i = 0; i < 2000; i++) twice.say('x');
    twice.net.clock.run(1000);
    expect(twice.heard.length).toBeGreaterThan(2400);
    expect(twice.heard.length).toBeLessThan(2600);
  });

  test('a seed replays every die', () => {
    const run = (seed: number): Heard[] => {
      const { net, heard, say } = twoHosts({ loss: 0.3, jitter: 40, duplicate: 0.2 }, seed);
      for (let i = 0; i < 50; i++) say(String(i));
      net.clock.run(1000);
      return heard;
    };
    expect(run(4)).toEqual(run(4));
    expect(run(4)).not.toEqual(run(5));
  });

  test('a bottleneck spaces packets and drops at the tail of its queue', () => {
    const { net, heard, say } = twoHosts({ bandwidth: 8000, queue: 3 * 1028 });
    for (let i = 0; i < 5; i++) say(new Uint8Array(1000));
    net.clock.run(60_000);
    expect(heard.map((h) => h.at)).toEqual([1028, 2056, 3084]);
    expect(net.capture.packets.map((p) => p.fate)).toEqual(['delivered', 'delivered', 'delivered', 'queue full', 'queue full']);
  });

  test('a cut link is silent until mended', () => {
    const { net, a, heard, say } = twoHosts();
    a.setLink({ cut: true });
    say('one');
    a.setLink({ cut: false });
    say('two');
    net.clock.settle();
    expect(heard.map((h) => h.text)).toEqual(['two']);
  });

  test('a partition separates two hosts and nobody else', () => {
    const { net, a, b, heard, say } = twoHosts();
    const c = net.host('c', { addresses: ['203.0.113.5'] });
    net.core.partition(a, b);
    say('from a');
    c.send({
      protocol: 'udp',
      source: { ip: '203.0.113.5', port: 5 },
      destination: { ip: '198.51.100.7', port: 500 },
      data: utf8('from c'),
    });
    net.clock.settle();
    net.core.heal();
    say('healed');
    net.clock.settle();
    expect(heard.map((h) => h.text)).toEqual(['from c', 'healed']);
  });
});

describe('packets larger than the MTU', () => {
  test('are dropped silently: the black hole', () => {
    const { net, heard, say } = twoHosts({ mtu: 1280, oversize: 'drop' });
    say(new Uint8Array(1280 - 28));
    say(new Uint8Array(1280 - 27));
    net.clock.settle();
    expect(heard).toHaveLength(1);
    expect(net.capture.packets.map((p) => p.fate)).toEqual(['delivered', 'too big']);
  });

  test('are dropped with an ICMP message that names the MTU', () => {
    const { net, a, heard, say } = twoHosts({ mtu: 1280, oversize: 'too-big' });
    const told: unknown[] = [];
    a.onTooBig((destination, mtu) => told.push({ destination, mtu }));
    say(new Uint8Array(1400));
    net.clock.settle();
    expect([heard.length, told]).toEqual([0, [{ destination: { ip: '198.51.100.7', port: 500 }, mtu: 1280 }]]);
  });

  test('the ICMP message finds its way when the narrow link is the receiver’s', () => {
    const { net, a, b, say } = twoHosts();
    b.setLink({ mtu: 1300, oversize: 'too-big' });
    const told: number[] = [];
    a.onTooBig((_, mtu) => told.push(mtu));
    say(new Uint8Array(1400));
    net.clock.settle();
    expect(told).toEqual([1300]);
  });

  test('are fragmented, and lost when one of the fragments is', () => {
    const { net, heard, say } = twoHosts({ mtu: 576, loss: 0.1 });
    for (let i = 0; i < 1000; i++) say(new Uint8Array(2000));
    net.clock.settle();
    // Four fragments: 0.9^4 = 0.656 of them arrive.
    expect(heard.length).toBeGreaterThan(600);
    expect(heard.length).toBeLessThan(710);
  });
});

describe('interception', () => {
  test('a test may drop, alter or multiply exactly the packet it means', () => {
    const { net, heard, say } = twoHosts();
    const undo = net.core.intercept((packet) => {
      const text = fromUtf8(packet.data);
      if (text === 'drop me') return [];
      return text === 'double me' ? [packet, { ...packet, data: utf8('copy') }] : undefined;
    });
    for (const text of ['drop me', 'double me', 'leave me']) say(text);
    net.clock.settle();
    undo();
    say('drop me');
    net.clock.settle();
    expect(heard.map((h) => h.text)).toEqual(['double me', 'copy', 'leave me', 'drop me']);
    expect(net.capture.packets.map((p) => p.fate)).toEqual(['intercepted', 'delivered', 'delivered', 'delivered', 'delivered']);
  });
});

test('the capture forgets old packets beyond its limit and says so', () => {
  const net = new Internet(1, { capture: new PacketCapture(10) });
  const a = net.host('a', { addresses: ['192.0.2.1'] });
  for (let i = 0; i < 25; i++)
    a.send({ protocol: 'udp', source: { ip: '192.0.2.1', port: 1 }, destination: { ip: '192.0.2.2', port: 1 }, data: Uint8Array.of(i) });
  expect(net.capture.packets.length + net.capture.forgotten).toBe(25);
  expect(net.capture.packets.length).toBeLessThanOrEqual(10);
  expect(net.capture.packets.at(-1)!.packet.data[0]).toBe(24);
});
