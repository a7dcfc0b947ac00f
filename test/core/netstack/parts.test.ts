import { describe, expect, test } from 'vitest';
import { concat, parseIp } from '../../../src/core/bytes/index.ts';
import { Addresses } from '../../../src/core/netstack/addresses.ts';
import { Bindings } from '../../../src/core/netstack/bindings.ts';
import { BLOCK, BlockPool, Share } from '../../../src/core/netstack/block-pool.ts';
import { KeyedHash } from '../../../src/core/netstack/keyed-hash.ts';
import { PathMtuCache } from '../../../src/core/netstack/path-mtu.ts';
import { EphemeralPorts } from '../../../src/core/netstack/ports.ts';
import { RateLimit } from '../../../src/core/netstack/rate-limit.ts';
import { OutOfOrder } from '../../../src/core/netstack/tcp/out-of-order.ts';
import { ReceiveBuffer } from '../../../src/core/netstack/tcp/receive-buffer.ts';
import { RttEstimator } from '../../../src/core/netstack/tcp/rtt.ts';
import { SendBuffer } from '../../../src/core/netstack/tcp/send-buffer.ts';
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from '../../../src/core/netstack/tcp/seq.ts';
import { Timer, Timers } from '../../../src/core/netstack/tcp/timers.ts';
import { NOT_QUEUED, type Timed, TimerQueue } from '../../../src/core/netstack/timer-queue.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

test('RFC 9293 §3.4: sequence numbers compare around the circle', () => {
  const near = [-2, -1, 0, 1, 2];
  for (const base of [0, 0x7fffffff, -0x80000000, -1, 12345]) {
    for (const a of near) {
      for (const b of near) {
        const [x, y] = [seqAdd(base, a), seqAdd(base, b)];
        expect([seqLt(x, y), seqLe(x, y), seqGt(x, y), seqGe(x, y)]).toEqual([a < b, a <= b, a > b, a >= b]);
        expect(seqDiff(x, y)).toBe(a - b);
        expect(seqMax(x, y)).toBe(seqAdd(base, Math.max(a, b)));
        expect(seqMin(x, y)).toBe(seqAdd(base, Math.min(a, b)));
      }
    }
  }
});

describe('KeyedHash', () => {
  const key = Uint8Array.from({ length: 16 }, (_, i) => i);

  test('SipHash-2-4: the vectors of its authors', () => {
    const low = (length: number): number => new KeyedHash(key).hash(Uint8Array.from({ length }, (_, i) => i)) >>> 0;
    // Appendix A of the paper: a129ca6149be45e5. The first two vectors of the reference: 726fdb47dd0e0e31, 74f839c593dc67fd.
    expect(low(15)).toBe(0x49be45e5);
    expect(low(0)).toBe(0xdd0e0e31);
    expect(low(1)).toBe(0x93dc67fd);
  });

  test('every octet and the length matter', () => {
    const hash = new KeyedHash(key);
    const seen = new Set<number>();
    for (let length = 0; length < 40; length++) seen.add(hash.hash(new Uint8Array(length)));
    for (let i = 0; i < 36; i++) seen.add(hash.hash(new Uint8Array(36).fill(1, i, i + 1)));
    expect(seen.size).toBe(76);
  });
});

test('RateLimit: a burst, then so many a second', () => {
  const limit = new RateLimit(10, 3);
  const taken = (now: number, tries: number): number => Array.from({ length: tries }, () => limit.take(now)).filter(Boolean).length;
  expect(taken(0, 10)).toBe(3);
  expect(taken(100, 10)).toBe(1);
  expect(taken(1100, 20)).toBe(3);
  expect(taken(1000, 20)).toBe(0);
});

describe('TimerQueue', () => {
  class Item implements Timed {
    deadline = Number.POSITIVE_INFINITY;
    heapIndex = NOT_QUEUED;
    heapTime = 0;
  }

  test('against a list that is sorted every time', () => {
    const random = new SeededRandom('timers');
    const queue = new TimerQueue<Item>();
    const items = Array.from({ length: 60 }, () => new Item());
    let now = 0;
    for (let round = 0; round < 3000; round++) {
      const item = random.pick(items);
      const choice = random.between(0, 9);
      if (choice < 6) {
        item.deadline = now + random.between(1, 500);
        queue.soon(item);
      } else if (choice === 6) item.deadline = Number.POSITIVE_INFINITY;
      else if (choice === 7) {
        queue.remove(item);
        item.deadline = Number.POSITIVE_INFINITY;
      } else {
        now += random.between(0, 60);
        const due = new Set(items.filter((other) => other.deadline <= now));
        const fired = new Set<Item>();
        for (let next = queue.due(now); next !== undefined; next = queue.due(now)) {
          fired.add(next);
          next.deadline = Number.POSITIVE_INFINITY;
        }
        expect(fired).toEqual(due);
      }
      const earliest = Math.min(...items.map((other) => other.deadline));
      // It may ask too early, never too late.
      if (earliest < Number.POSITIVE_INFINITY) expect(queue.next).toBeLessThanOrEqual(earliest);
    }
  });
});

test('Timers: the earliest is always at hand', () => {
  const random = new SeededRandom('tcb timers');
  const timers = new Timers();
  const kinds = Object.values(Timer);
  for (let i = 0; i < 2000; i++) {
    const kind = random.pick(kinds);
    if (random.chance(0.3)) timers.clear(kind);
    else timers.set(kind, random.between(0, 100));
    expect(timers.earliest).toBe(Math.min(...kinds.map((other) => timers.at(other))));
  }
  timers.clearAll();
  expect(timers.earliest).toBe(Number.POSITIVE_INFINITY);
});

describe('buffers', () => {
  test('SendBuffer against one long array', () => {
    const random = new SeededRandom('send buffer');
    const pool = new BlockPool(1 << 20);
    const buffer = new SendBuffer(pool);
    let twin: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < 600; i++) {
      if (random.chance(0.5)) {
        const data = random.bytes(random.between(0, 40_000));
        const taken = buffer.append(data, 200_000 - buffer.length);
        expect(taken).toBe(Math.min(data.length, 200_000 - twin.length));
        twin = concat(twin, data.subarray(0, taken));
      } else {
        const drop = random.between(0, twin.length);
        buffer.drop(drop);
        twin = twin.slice(drop);
      }
      expect(buffer.length).toBe(twin.length);
      const from = random.between(0, twin.length);
      const to = random.between(from, Math.min(twin.length, from + 3000));
      const out = new Uint8Array(4000);
      buffer.copy(from, to - from, out, 7);
      expect(Buffer.compare(out.subarray(7, 7 + to - from), twin.subarray(from, to))).toBe(0);
    }
    buffer.clear();
    expect(pool.used).toBe(0);
  });

  test('ReceiveBuffer and OutOfOrder against one long array, pieces in any order', () => {
    const random = new SeededRandom('receive buffer');
    for (let run = 0; run < 20; run++) {
      const pool = new BlockPool(1 << 20);
      const [buffer, ranges] = [new ReceiveBuffer(pool), new OutOfOrder()];
      const stream = random.bytes(120_000);
      const base = random.u32() | 0;
      let next = 0;
      const read: Uint8Array[] = [];
      const missing = new Set(Array.from({ length: 120 }, (_, i) => i));
      while (missing.size > 0) {
        const index = random.pick([...missing].slice(0, 30));
        missing.delete(index);
        const left = index * 1000;
        const right = Math.min(stream.length, left + 1000 + (random.chance(0.3) ? random.between(1, 700) : 0));
        const start = Math.max(left, next);
        if (start >= right) continue;
        expect(buffer.place(start - next, stream, start, right, Share.IN_ORDER)).toBe(true);
        if (start === next) {
          const reached = seqDiff(ranges.advance(seqAdd(base, right)), base);
          buffer.advance(reached - next);
          next = reached;
        } else ranges.add(seqAdd(base, start), seqAdd(base, right));
        if (random.chance(0.4)) {
          const out = new Uint8Array(random.between(1, 9000));
          const length = buffer.read(out);
          read.push(out.slice(0, length));
        }
      }
      const rest = new Uint8Array(buffer.readable);
      buffer.read(rest);
      expect(Buffer.compare(concat(...read, rest), stream)).toBe(0);
      expect(ranges.count).toBe(0);
      buffer.clear();
      expect(pool.used).toBe(0);
    }
  });

  test('OutOfOrder: the latest first, neighbours merged, at most 128', () => {
    const ranges = new OutOfOrder();
    ranges.add(100, 200);
    ranges.add(300, 400);
    ranges.add(200, 300);
    expect([ranges.count, ranges.left(0), ranges.right(0)]).toEqual([1, 100, 400]);
    for (let i = 1; i < 128; i++) {
      expect(ranges.hasRoom(1000 * i, 1000 * i + 1)).toBe(true);
      ranges.add(1000 * i, 1000 * i + 1);
    }
    expect(ranges.hasRoom(500_000, 500_001)).toBe(false);
    expect(ranges.hasRoom(127_001, 127_500)).toBe(true);
    ranges.add(127_001, 127_500);
    expect(ranges.covers(127_100, 127_200)).toBe(true);
    expect(ranges.covers(127_100, 127_501)).toBe(false);
  });

  test('OutOfOrder: what of a range did not arrive yet, part by part', () => {
    const ranges = new OutOfOrder();
    ranges.add(300, 400);
    ranges.add(100, 200);
    const gaps: number[][] = [];
    for (let at = 50; ranges.nextGap(at, 450); at = ranges.gapRight) gaps.push([ranges.gapLeft, ranges.gapRight]);
    expect(gaps).toEqual([
      [50, 100],
      [200, 300],
      [400, 450],
    ]);
    expect(ranges.nextGap(120, 200)).toBe(false);
  });

  test('memory is bounded over all buffers, and what is in order finds room behind what others hold', () => {
    const pool = new BlockPool(8 * BLOCK);
    const [a, b, c] = [new SendBuffer(pool), new SendBuffer(pool), new ReceiveBuffer(pool)];
    const data = new Uint8Array(20 * BLOCK);
    expect(a.append(data, data.length)).toBe(6 * BLOCK);
    expect(b.append(data, data.length)).toBe(BLOCK);
    expect(c.place(BLOCK, data, 0, 10, Share.OUT_OF_ORDER)).toBe(false);
    expect(c.place(0, data, 0, 10, Share.IN_ORDER)).toBe(true);
    expect(c.place(10, data, 0, BLOCK, Share.IN_ORDER)).toBe(false);
    a.drop(4 * BLOCK);
    expect(c.place(BLOCK, data, 0, 10, Share.OUT_OF_ORDER)).toBe(false);
    b.clear();
    expect(c.place(BLOCK, data, 0, 10, Share.OUT_OF_ORDER)).toBe(true);
    expect(pool.used).toBe(4 * BLOCK);
  });
});

describe('RttEstimator (RFC 6298)', () => {
  test('(2.2), (2.3), (2.4), (2.5), (5.5)', () => {
    const rtt = new RttEstimator(1000, 200, 60_000);
    expect(rtt.rto).toBe(1000);
    rtt.sample(100, 0);
    expect([rtt.srtt, rtt.rttvar, rtt.rto]).toEqual([100, 50, 300]);
    rtt.sample(140, 0);
    expect([rtt.srtt, rtt.rttvar, rtt.rto]).toEqual([105, 47.5, 305]);
    for (let i = 0; i < 200; i++) rtt.sample(1, 0);
    expect(rtt.rto).toBeCloseTo(201);
    for (let i = 0; i < 20; i++) rtt.backOff();
    expect(rtt.rto).toBe(60_000);
    rtt.sample(1, 0);
    expect(rtt.rto).toBeCloseTo(201);
    expect(rtt.minimum).toBe(1);
  });

  test('RFC 8985 §6.2 step 1: the minimum is that of the last minutes', () => {
    const rtt = new RttEstimator(1000, 200, 60_000);
    expect(rtt.minimum).toBe(Number.POSITIVE_INFINITY);
    rtt.sample(5, 0);
    for (let now = 1000; now < 400_000; now += 1000) {
      rtt.sample(50, now);
      if (now < 149_000) expect(rtt.minimum).toBe(5);
    }
    expect(rtt.minimum).toBe(50);
  });

  test('RFC 7323 appendix G: many samples a round trip weigh as much as one', () => {
    const [one, many] = [new RttEstimator(1000, 0, 60_000), new RttEstimator(1000, 0, 60_000)];
    one.sample(100, 0);
    many.sample(100, 0);
    one.sample(200, 0);
    for (let i = 0; i < 100; i++) many.sample(200, 0, 100);
    expect(Math.abs(one.srtt! - many.srtt!)).toBeLessThan(2);
  });
});

describe('PathMtuCache', () => {
  const v4 = parseIp('10.0.0.1');
  const v6 = parseIp('fd00::1');

  test('learns what is smaller, for ten minutes', () => {
    const cache = new PathMtuCache();
    expect(cache.learn(v4, 1400, 1500, 1500, 0)).toBe(1400);
    expect(cache.learn(v4, 1450, 1500, 1500, 0)).toBeUndefined();
    expect(cache.get(v4, 599_999)?.mtu).toBe(1400);
    expect(cache.get(v4, 600_000)).toBeUndefined();
    expect(cache.learn(v4, 1450, 1500, 1500, 600_000)).toBe(1450);
    expect(cache.get(v6, 0)).toBeUndefined();
  });

  test('floors: RFC 8201 §4 for IPv6, 552 for IPv4', () => {
    const cache = new PathMtuCache();
    expect(cache.learn(v6, 600, 1500, 1500, 0)).toBe(1280);
    expect(cache.learn(v4, 100, 1500, 1500, 0)).toBe(552);
  });

  test('RFC 1191 §7.1: plateaus for routers that do not say', () => {
    const cache = new PathMtuCache();
    expect(cache.learn(v4, 0, 1500, 1500, 0)).toBe(1492);
    expect(cache.learn(v4, 0, 1492, 1500, 0)).toBe(1006);
  });

  test('is bounded', () => {
    const cache = new PathMtuCache();
    for (let i = 0; i < 3000; i++) cache.learn(Uint8Array.of(10, 0, i >>> 8, i & 0xff), 1400, 1500, 1500, 0);
    expect(cache.get(Uint8Array.of(10, 0, 0, 0), 0)).toBeUndefined();
    expect(cache.get(Uint8Array.of(10, 0, 2999 >>> 8, 2999 & 0xff), 0)?.mtu).toBe(1400);
  });
});

describe('EphemeralPorts (RFC 6056 §3.3.3)', () => {
  test('dynamic ports, each once, unlike for unlike ends', () => {
    const ports = new EphemeralPorts(new KeyedHash(new Uint8Array(16)));
    const taken = new Set<number>();
    for (let i = 0; i < 16384; i++) {
      const port = ports.choose(Uint8Array.of(1), (candidate) => !taken.has(candidate))!;
      expect(port).toBeGreaterThanOrEqual(49152);
      taken.add(port);
    }
    expect(taken.size).toBe(16384);
    expect(ports.choose(Uint8Array.of(1), (candidate) => !taken.has(candidate))).toBeUndefined();
    const firsts = [1, 2, 3].map((end) => new EphemeralPorts(new KeyedHash(new Uint8Array(16))).choose(Uint8Array.of(end), () => true));
    expect(new Set(firsts).size).toBe(3);
  });
});

describe('Bindings', () => {
  const item = (ip: string, port: number | 'any'): { local: { ip: string; port: number }; anyPort: boolean } => ({
    local: { ip, port: port === 'any' ? 0 : port },
    anyPort: port === 'any',
  });
  const at = (bindings: Bindings<ReturnType<typeof item>>, ip: string, port: number): unknown => {
    const octets = parseIp(ip);
    return bindings.find(octets, 0, octets.length, port);
  };

  test('the special before the general, a port before all ports', () => {
    const bindings = new Bindings<ReturnType<typeof item>>();
    const [all, four, one, any] = [item('::', 80), item('0.0.0.0', 81), item('10.0.0.1', 80), item('::', 'any')];
    for (const each of [all, four, one, any]) bindings.add(each);
    expect(at(bindings, '10.0.0.1', 80)).toBe(one);
    expect(at(bindings, '10.0.0.2', 80)).toBe(all);
    expect(at(bindings, 'fd00::1', 80)).toBe(all);
    expect(at(bindings, 'fd00::1', 81)).toBe(any);
    expect(at(bindings, '10.0.0.2', 81)).toBe(four);
    bindings.remove(any);
    bindings.remove(one);
    expect(at(bindings, 'fd00::1', 9)).toBeUndefined();
    expect(at(bindings, '10.0.0.1', 80)).toBe(all);
  });

  test('EADDRINUSE', () => {
    const bindings = new Bindings<ReturnType<typeof item>>();
    bindings.add(item('::', 80));
    for (const clash of [item('::', 80), item('0.0.0.0', 80)])
      expect(() => bindings.add(clash)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
    bindings.add(item('10.0.0.1', 80));
    expect(() => bindings.add(item('10.0.0.1', 80))).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
  });
});

describe('Addresses', () => {
  test('RFC 6724 §5 rule 8: the source with the longest common prefix, of the right family', () => {
    const addresses = new Addresses(['10.0.0.1', '192.168.1.1', 'fd00:1::1', '2001:db8::1'], false);
    const source = (ip: string): number[] | undefined => addresses.sourceFor(parseIp(ip)) && [...addresses.sourceFor(parseIp(ip))!];
    expect(source('192.168.7.7')).toEqual([192, 168, 1, 1]);
    expect(source('10.200.0.1')).toEqual([10, 0, 0, 1]);
    expect(source('2001:db8:5::5')).toEqual([...parseIp('2001:db8::1')]);
    expect(new Addresses(['10.0.0.1'], false).sourceFor(parseIp('fd00::1'))).toBeUndefined();
  });

  test.each(['224.0.0.1', 'ff02::1', '0.0.0.0', '::', 'nonsense'])('%s is not an address of a host', (text) => {
    expect(() => new Addresses([text], false)).toThrow();
  });
});
