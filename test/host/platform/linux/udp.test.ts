import { afterEach, describe, expect, test } from 'vitest';
import { ApiMisuse } from '../../../../src/core/bytes/index.ts';
import { Burst } from '../../../../src/host/platform/linux/burst.ts';
import { ERRNO, type Native, type NativeBuffer } from '../../../../src/host/platform/linux/ffi.ts';
import { AddressTexts, SocketAddress } from '../../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../../src/host/platform/linux/udp.ts';
import { UdpBatch } from '../../../../src/host/platform/linux/udp-batch.ts';
import { type DescriptorSocket, descriptorUdp } from '../../../../src/host/platform/linux/udp-network.ts';
import type { Triage } from '../../../../src/host/platform/udp.ts';
import { describeWithNative } from '../../../support/native.ts';

describeWithNative('UDP by descriptor', (native) => {
  const open: FastUdp[] = [];
  afterEach(() => {
    for (const socket of open.splice(0)) socket.close();
  });
  const bound = (ip = '127.0.0.1'): FastUdp => {
    const socket = FastUdp.open(native, { ip, port: 0 });
    open.push(socket);
    return socket;
  };
  const towards = ({ local }: FastUdp): SocketAddress => SocketAddress.of(native, local.ip, local.port);

  /** Octets that say where they stand. */
  const filled = (length: number): NativeBuffer => {
    const buffer = native.allocate(length);
    for (let i = 0; i < length; i++) buffer.octets[i] = (i * 7) ^ (i >> 8);
    return buffer;
  };

  const batch = new UdpBatch(native, 16, 8);

  /** All that waits: the loopback has it as soon as it was sent. */
  const drain = (socket: FastUdp): { octets: Uint8Array; lengths: number[]; messages: number } => {
    const parts: Uint8Array[] = [];
    const lengths: number[] = [];
    while (socket.receive(batch) > 0) {
      for (let i = 0; i < batch.count; i++) {
        parts.push(batch.buffer.octets.slice(batch.offset(i), batch.offset(i) + batch.length(i)));
        for (let at = 0; at < batch.length(i); at += batch.segment(i)) lengths.push(Math.min(batch.segment(i), batch.length(i) - at));
      }
    }
    return { octets: Buffer.concat(parts), lengths, messages: parts.length };
  };

  const expectArrived = (socket: FastUdp, sent: Uint8Array, segment: number): number => {
    const { octets, lengths, messages } = drain(socket);
    expect(Buffer.compare(octets, sent)).toBe(0);
    expect(lengths).toEqual(
      Array.from({ length: Math.ceil(sent.length / segment) }, (_, i) => Math.min(segment, sent.length - i * segment)),
    );
    return messages;
  };

  test('a receive buffer grows as far as the machine lets it, and never shrinks', () => {
    const socket = bound();
    const before = socket.receiveBuffer;
    socket.enlargeReceiveBuffer(1000);
    expect(socket.receiveBuffer).toBe(before);
    socket.enlargeReceiveBuffer(2 * before);
    expect(socket.receiveBuffer).toBeGreaterThanOrEqual(before);
  });

  test.each(['127.0.0.1', '::1'])('a datagram goes, and names its sender (%s)', (ip) => {
    const a = bound(ip);
    const b = bound(ip);
    const buffer = filled(100);
    expect(a.send(buffer, 10, 5, towards(b))).toBe(true);
    expect(b.receive(batch)).toBe(1);
    expect([...batch.buffer.octets.subarray(batch.offset(0), batch.offset(0) + batch.length(0))]).toEqual([
      ...buffer.octets.subarray(10, 15),
    ]);
    expect([batch.ip(0), batch.port(0), batch.segment(0), batch.datagrams(0)]).toEqual([ip, a.local.port, 5, 1]);
    expect([batch.destination(0), batch.trafficClass(0)]).toEqual([undefined, -1]);
    expect(b.receive(batch)).toBe(0);
    expect([a.counters, b.counters]).toMatchObject([
      { sent: 1, refused: 0 },
      { received: 1, errors: 0 },
    ]);
  });

  test.each(['127.0.0.1', '::1'])('many datagrams go in one message and come in one, where the kernel joins them (%s)', (ip) => {
    const a = bound(ip);
    const b = bound(ip);
    expect(a.segmentation).toBe(true);
    expect(b.joinReceived(true)).toBe(true);
    const buffer = filled(40_000);
    expect(a.sendBatch(buffer, 0, 40_000, 1400, towards(b))).toBe(40_000);
    expect(expectArrived(b, buffer.octets, 1400)).toBe(1);
    expect([a.counters.sent, b.counters.received]).toEqual([29, 29]);
    expect(a.segmentation).toBe(true);
  });

  test('more than one message holds goes in several; a reader that does not join sees each datagram', () => {
    const a = bound();
    const b = bound();
    const buffer = filled(200_000);
    expect(a.sendBatch(buffer, 0, 200_000, 1321, towards(b))).toBe(200_000);
    expect(expectArrived(b, buffer.octets, 1321)).toBe(152);
    expect(a.sendBatch(buffer, 0, 100, 1, towards(b))).toBe(100);
    expect(expectArrived(b, buffer.octets.subarray(0, 100), 1)).toBe(100);
    expect(a.sendBatch(buffer, 0, 150_000, 60_000, towards(b))).toBe(150_000);
    expect(expectArrived(b, buffer.octets.subarray(0, 150_000), 60_000)).toBe(3);
  });

  /** A kernel that answers so to every message that is to be cut. */
  const refusing = (errno: number): { native: Native; asked: () => number } => {
    let asked = 0;
    let refused = 0;
    const libc = {
      ...native.libc,
      sendmsg: (fd: number, message: number, flags: number) => {
        const controlLength = native.allocate(64);
        native
          .functions<{ memcpy(to: number, from: number, length: number): number }>({
            memcpy: 'uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t length)',
          })
          .memcpy(controlLength.address, message, 56);
        if (controlLength.u32[10] === 0) return native.libc.sendmsg(fd, message, flags);
        asked++;
        refused = errno;
        return -1;
      },
    };
    const told = (): number => {
      const errno = refused || native.errno();
      refused = 0;
      return errno;
    };
    return { native: { ...native, libc, errno: told }, asked: () => asked };
  };

  test('an interface that cannot cut is asked once: from then on each datagram is a message of its own', () => {
    const kernel = refusing(ERRNO.EIO);
    const b = bound();
    const a = FastUdp.adopt(kernel.native, bound().fd);
    const buffer = filled(50_000);
    for (let i = 0; i < 3; i++) {
      expect(a.sendBatch(buffer, 0, 50_000, 1400, towards(b))).toBe(50_000);
      expect(expectArrived(b, buffer.octets, 1400)).toBe(36);
    }
    expect([a.segmentation, kernel.asked(), a.refusal]).toEqual([false, 1, undefined]);
  });

  test.each([ERRNO.EINVAL, ERRNO.EMSGSIZE])('a size that the path does not take is learnt for the peer alone (errno %i)', (errno) => {
    const kernel = refusing(errno);
    const b = bound();
    const a = FastUdp.adopt(kernel.native, bound().fd);
    const buffer = filled(5000);
    const peer = towards(b);
    for (let i = 0; i < 3; i++) expect(a.sendBatch(buffer, 0, 5000, 1400, peer)).toBe(5000);
    expect([kernel.asked(), a.segmentation]).toEqual([1, true]);
    a.sendBatch(buffer, 0, 5000, 1399, peer);
    expect(kernel.asked()).toBe(2);
    a.sendBatch(buffer, 0, 5000, 1400, towards(b));
    expect(kernel.asked()).toBe(3);
  });

  test('what the kernel does not take is told by kind, and nothing is thrown', () => {
    const a = bound();
    const buffer = filled(70_000);
    expect(a.send(buffer, 0, 65_536, SocketAddress.of(native, '127.0.0.1', 9))).toBe(false);
    expect(a.refusal).toBe('too-big');
    expect(a.sendBatch(buffer, 0, 70_000, 66_000, SocketAddress.of(native, '127.0.0.1', 9))).toBe(0);
    expect(a.refusal).toBe('too-big');
    expect(a.send(buffer, 0, 10, SocketAddress.of(native, '192.0.2.1', 9))).toBe(false);
    expect(['unreachable', 'failed']).toContain(a.refusal); // bound to the loopback, which leads nowhere
    expect(a.send(buffer, 0, 10, SocketAddress.of(native, '::1', 9))).toBe(false);
    expect(a.send(buffer, 0, 10, SocketAddress.of(native, '127.0.0.1', 9))).toBe(true);
    expect([a.refusal, a.counters.sent, a.counters.refused]).toEqual([undefined, 1, 5]);
    const gone = bound();
    gone.close();
    expect([gone.send(buffer, 0, 1, towards(a)), gone.receive(batch), gone.counters.errors]).toEqual([false, 0, 1]);
    open.splice(open.indexOf(gone), 1);
  });

  test('a reader that is too slow fills its buffer, and the rest is lost, not an error', () => {
    const a = bound();
    const b = FastUdp.open(native, { ip: '127.0.0.1', port: 0, receiveBuffer: 100_000 });
    open.push(b);
    expect(b.receiveBuffer).toBeGreaterThanOrEqual(100_000);
    const buffer = filled(60_000);
    const peer = towards(b);
    for (let i = 0; i < 50; i++) a.sendBatch(buffer, 0, 60_000, 1400, peer);
    const { lengths } = drain(b);
    expect(lengths.length).toBeGreaterThan(10);
    expect(lengths.length).toBeLessThan(50 * 43);
  });

  test.each([
    ['127.0.0.1', '0.0.0.0', '127.0.0.77'],
    ['::1', '::', '::1'],
  ])('a socket on every address tells which one was meant, and the traffic class (%s)', (from, any, to) => {
    const a = bound(from);
    const b = bound(any);
    expect([b.tellDestinations(true), b.tellTrafficClass(true), b.joinReceived(true)]).toEqual([true, true, true]);
    const peer = SocketAddress.of(native, to, b.local.port);
    const buffer = filled(3000);
    a.send(buffer, 0, 10, peer, 0xb9);
    a.sendBatch(buffer, 0, 3000, 1000, peer, 0x03);
    a.send(buffer, 0, 10, peer);
    expect(b.receive(batch)).toBe(3);
    expect([0, 1, 2].map((i) => [batch.ip(i), batch.destination(i), batch.trafficClass(i), batch.datagrams(i)])).toEqual([
      [from, to, 0xb9, 1],
      [from, to, 0x03, 3],
      [from, to, 0, 1],
    ]);
  });

  test('path MTU discovery can be set each way', () => {
    for (const ip of ['127.0.0.1', '::1']) {
      const a = bound(ip);
      for (const how of ['fragment', 'kernel', 'refuse', 'probe'] as const) expect(a.setMtuDiscovery(how)).toBe(true);
    }
  });

  test('datagrams come into a buffer of the reader', () => {
    const memory = native.allocate(UdpBatch.octets(2, 8) + 64);
    const own = new UdpBatch(native, 2, 8, memory.part(64, UdpBatch.octets(2, 8)));
    const a = bound();
    a.send(filled(100), 0, 100, towards(a));
    a.send(filled(100), 50, 50, towards(a));
    expect(a.receive(own)).toBe(2);
    expect(memory.octets.subarray(64 + own.offset(1), 64 + own.offset(1) + own.length(1))).toEqual(filled(100).octets.subarray(50));
    expect(() => new UdpBatch(native, 3, 8, memory)).toThrow(ApiMisuse);
  });

  test('what does not lie in its buffer is misuse', () => {
    const a = bound();
    const buffer = filled(100);
    const peer = towards(a);
    expect(() => a.send(buffer, 50, 51, peer)).toThrow(ApiMisuse);
    expect(() => a.send(buffer, -1, 10, peer)).toThrow(ApiMisuse);
    expect(() => a.sendBatch(buffer, 0, 101, 10, peer)).toThrow(ApiMisuse);
    expect(() => a.sendBatch(buffer, 0, 100, 0, peer)).toThrow(ApiMisuse);
  });

  test('a taken port says who may be there and what to do', () => {
    const { port } = bound().local;
    expect(() => FastUdp.open(native, { ip: '127.0.0.1', port })).toThrow(
      expect.objectContaining({ code: 'ADDRESS_IN_USE', errno: 'EADDRINUSE', hint: expect.stringContaining('ss -ulpn') }),
    );
    expect(() => FastUdp.open(native, { ip: 'here', port })).toThrow(expect.objectContaining({ code: 'NOT_AN_ADDRESS' }));
  });

  test('texts of more addresses than are remembered are right all the same', () => {
    const texts = new AddressTexts();
    const place = native.allocate(16);
    const wrong: string[] = [];
    for (let i = 0; i < 4000; i++) {
      place.octets.set([10, (i >> 8) & 7, i, 1]);
      const v4 = texts.text(place, 0, 4);
      if (v4 !== `10.${(i >> 8) & 7}.${i & 255}.1`) wrong.push(v4);
      place.octets.fill(0).set([0x20, 1, 0x0d, 0xb8]);
      place.octets[15] = 1 + (i & 7);
      const v6 = texts.text(place, 0, 16);
      if (v6 !== `2001:db8::${1 + (i & 7)}`) wrong.push(v6);
    }
    expect(wrong).toEqual([]);
  });

  test('a plane takes a socket over and gives it back: each datagram has one reader', async () => {
    const received: string[] = [];
    let wake = (): void => undefined;
    const a = bound();
    const socket = (await descriptorUdp(native).bind({
      ip: '127.0.0.1',
      port: 0,
      onDatagram: (data, ip, port) => {
        received.push(`${data[0]} from ${ip} ${port === a.local.port}`);
        wake();
      },
    })) as DescriptorSocket;
    const peer = towards(socket.fast);
    const say = (octet: number): void => {
      const buffer = native.allocate(8);
      buffer.octets[0] = octet;
      a.send(buffer, 0, 1, peer);
    };
    const next = (): Promise<void> => new Promise((resolve) => (wake = resolve));
    say(1);
    await next();

    const plane = FastUdp.adopt(native, await socket.lend());
    expect(plane.local).toEqual(socket.local);
    say(2);
    expect(plane.receive(batch)).toBe(1);
    socket.deliver(batch.buffer.octets.slice(batch.offset(0), batch.offset(0) + 1), batch.ip(0), batch.port(0));
    expect(socket.send(Uint8Array.of(9), '127.0.0.1', a.local.port)).toBe(true);
    expect(a.receive(batch)).toBe(1);
    say(3);

    await socket.reclaim();
    await next();
    say(4);
    await next();
    expect(received).toEqual([1, 2, 3, 4].map((octet) => `${octet} from 127.0.0.1 true`));
    expect(socket.counters).toEqual({ received: 4, sent: 1, queueDrops: 0, errors: 0 });
    await socket.close();
    await socket.close();
    expect(socket.send(Uint8Array.of(9), '127.0.0.1', a.local.port)).toBe(false);
  });

  describe('a burst', () => {
    const WAITS = 0x80;
    /** What it hands out, in order; of octets from `WAITS` on it says that they wait. */
    const triage = (heard: string[]): Triage => ({
      waits: (data) => data[0]! >= WAITS,
      onWaiting: (data, ip) => heard.push(`waited ${data[0]! - WAITS} ${ip}`),
      onShed: (count) => heard.push(`shed ${count}`),
    });
    /** Octets of kernel memory that what waits at a socket takes (SO_MEMINFO). */
    const waitingMemory = ({ fd }: FastUdp): number => {
      const place = native.allocate(48);
      place.u32[10] = 40;
      expect(native.libc.getsockopt(fd, 1, 55, place.address, place.address + 40)).toBe(0);
      return place.u32[0]!;
    };
    /** Sends them, and waits until all are there: a kernel with much to do delivers a moment later. */
    const say = (from: FastUdp, to: FastUdp, octets: readonly number[]): void => {
      const buffer = native.allocate(8);
      let one = 0;
      for (const [i, octet] of octets.entries()) {
        buffer.octets[0] = octet;
        expect(from.send(buffer, 0, 1, towards(to))).toBe(true);
        while (waitingMemory(to) < (i + 1) * one || waitingMemory(to) === 0);
        one ||= waitingMemory(to);
      }
    };

    test('brings first what does not wait, each kind in the order in which it came', () => {
      const [a, b, heard] = [bound(), bound(), [] as string[]];
      say(a, b, [WAITS, 1, WAITS + 1, WAITS + 2, 2]);
      const received = new Burst(native, b, triage(heard)).take(
        () => true,
        (data, ip, port) => heard.push(`${data[0]} ${ip} ${port === a.local.port}`),
      );
      expect(received).toBe(5);
      expect(heard).toEqual(['1 127.0.0.1 true', '2 127.0.0.1 true', 'waited 0 127.0.0.1', 'waited 1 127.0.0.1', 'waited 2 127.0.0.1']);
    });

    test('works on so many of those that wait, drops the others, and what does not wait is there all the same', () => {
      const [a, b, heard] = [bound(), bound(), [] as string[]];
      say(a, b, [...Array.from({ length: 99 }, () => WAITS), 1]);
      const received = new Burst(native, b, triage(heard), 70).take(
        () => true,
        () => heard.push('at once'),
      );
      expect(received).toBe(100);
      expect(heard.filter((what) => what.startsWith('waited'))).toHaveLength(70);
      expect(heard).toContain('at once');
      expect(heard.at(-1)).toBe('shed 29');
    });

    test('ends where the reader does', () => {
      const [a, b, heard] = [bound(), bound(), [] as string[]];
      say(a, b, [WAITS, WAITS]);
      let reads = true;
      const burst = new Burst(native, b, {
        ...triage(heard),
        onWaiting: () => {
          heard.push('closed');
          reads = false;
        },
      });
      expect(
        burst.take(
          () => reads,
          () => heard.push('more'),
        ),
      ).toBe(2);
      expect(heard).toEqual(['closed']);
    });

    test('offers each to a direct reader first, where it stands, and says when there are no more', () => {
      const [a, b, heard] = [bound(), bound(), [] as string[]];
      const own = new UdpBatch(native, 2, 8);
      say(a, b, [WAITS, 1, 2, 3, WAITS + 1]);
      const burst = new Burst(native, b, triage(heard));
      burst.direct = {
        batch: own,
        take: (i) => {
          const octet = own.buffer.octets[own.offset(i)]!;
          if (octet % 2 === 0) return false;
          heard.push(`${octet} taken`);
          return true;
        },
        done: () => heard.push('done'),
      };
      const read = (): number =>
        burst.take(
          () => true,
          (data) => heard.push(`${data[0]}`),
        );
      expect(read()).toBe(5);
      // two are read at a time
      expect(heard).toEqual(['1 taken', 'waited 0 127.0.0.1', '2', '3 taken', `${WAITS + 1} taken`, 'done']);
      burst.direct = undefined;
      say(a, b, [7]);
      expect(read()).toBe(1);
      expect(heard.at(-1)).toBe('7');
    });

    test('tells a direct reader of pauses while more waits, and ends with it', () => {
      const [a, b, heard] = [bound(), bound(), [] as string[]];
      const own = new UdpBatch(native, 2, 8);
      const burst = new Burst(native, b, undefined, 100, 4);
      burst.direct = {
        batch: own,
        take: (i) => heard.push(`${own.buffer.octets[own.offset(i)]}`) > 0,
        done: () => {
          heard.push('done');
          if (heard.includes('8')) burst.direct = undefined;
        },
      };
      const read = (): number =>
        burst.take(
          () => true,
          () => heard.push('not taken'),
        );
      say(a, b, [1, 2, 3, 4, 5]);
      expect(read()).toBe(5);
      expect(heard.splice(0)).toEqual(['1', '2', '3', '4', 'done', '5', 'done']);
      say(a, b, [6, 7, 8, 9, 10]);
      expect(read()).toBe(4);
      expect(heard).toEqual(['6', '7', '8', '9', 'done', 'done']);
    });

    test('a socket takes all that came while nobody looked, in one turn', async () => {
      const heard: string[] = [];
      let wake = (): void => undefined;
      const a = bound();
      const socket = (await descriptorUdp(native).bind({
        ip: '127.0.0.1',
        port: 0,
        triage: triage(heard),
        onDatagram: (data) => {
          if (heard.push(`${data[0]}`) === 1) setImmediate(() => wake());
        },
      })) as DescriptorSocket;
      const turn = new Promise<void>((resolve) => (wake = resolve));
      say(a, socket.fast, [0, WAITS, 1, WAITS + 1, 2]);
      await turn;
      // Node has read the first one, whatever it is
      expect(heard).toEqual(['0', '1', '2', 'waited 0 127.0.0.1', 'waited 1 127.0.0.1']);
      expect(socket.counters.received).toBe(5);
      await socket.close();
    });
  });
});
