import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { segmentPlain, VNET_HEADER, VnetHeader } from '../../../src/core/packet/offload/index.ts';
import { ERRNO, loadNative, type Native, type NativeBuffer } from '../../../src/host/platform/linux/ffi.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { POLL, PollSet } from '../../../src/host/platform/linux/poll.ts';
import { SocketAddress } from '../../../src/host/platform/linux/socket-address.ts';
import { Tun, type TunOptions } from '../../../src/host/platform/linux/tun.ts';
import { FastUdp } from '../../../src/host/platform/linux/udp.ts';
import { UdpBatch } from '../../../src/host/platform/linux/udp-batch.ts';
import { packet } from '../../host/support/packets.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { must } from '../support/process.ts';
import { describeWith, NATIVE_CALLS } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** Behind the device, for the kernel of the namespace. */
const OURS = { 4: '10.88.0.2', 6: 'fd88::2' } as const;
const KERNELS = { 4: '10.88.0.1', 6: 'fd88::1' } as const;

describeWith(NATIVE_CALLS, 'TUN devices', () => {
  const scope = new Scope();
  const namespace = networkName();
  let native: Native;
  let inside: <T>(make: () => T) => T;
  const open: { close(): void }[] = [];

  beforeAll(async () => {
    native = (await loadNative())!;
    const libc = await loadLibc();
    await addNamespace(scope, namespace);
    await ip('link', 'set', 'lo', 'up');
    // else the kernel's own packets come between
    await must('ip', [
      'netns',
      'exec',
      namespace,
      'sysctl',
      '-qw',
      'net.ipv6.conf.default.router_solicitations=0',
      'net.ipv6.conf.default.accept_dad=0',
    ]);
    await must('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', 'net.ipv6.conf.default.addr_gen_mode=1']);
    inside = (make) => within(libc, `/run/netns/${namespace}`, make);
  });
  afterEach(() => {
    for (const one of open.splice(0).reverse()) one.close();
  });
  afterAll(() => scope.close());

  const ip = (...args: string[]): Promise<string> => must('ip', ['-n', namespace, ...args]);
  const opened = <T extends { close(): void }>(make: () => T): T => {
    const one = inside(make);
    open.push(one);
    return one;
  };
  const device = (options: TunOptions = {}): Tun => opened(() => Tun.open(native, { up: true, ...options }));
  const socket = (at: string): FastUdp => opened(() => FastUdp.open(native, { ip: at, port: 0 }));
  const addressed = async (tun: Tun): Promise<void> => {
    await ip('address', 'add', `${KERNELS[4]}/24`, 'dev', tun.state.name);
    await ip('-6', 'address', 'add', `${KERNELS[6]}/64`, 'dev', tun.state.name, 'nodad');
  };

  const room = (): NativeBuffer => native.allocate(70_000);

  /** The packets that wait on the device now, each as what the kernel meant: cut, with checksums. UDP alone. */
  const packetsOf = (tun: Tun): { packets: Uint8Array[]; reads: number } => {
    const buffer = room();
    const packets: Uint8Array[] = [];
    let reads = 0;
    for (;;) {
      const octets = tun.read(buffer, 0, 70_000);
      if (octets <= 0) return { packets, reads };
      const header = new VnetHeader();
      if (tun.state.header > 0) header.read(buffer.octets, 0);
      const cut = segmentPlain(buffer.octets.slice(tun.state.header, octets), header);
      if (typeof cut === 'string') throw new Error(cut);
      const udp = cut.filter((one) => (one[0]! >> 4 === 4 ? one[9] : one[6]) === 17);
      packets.push(...udp);
      if (udp.length > 0) reads++;
    }
  };

  test('a device has the name, MTU and state that were asked for, and goes when it is closed', async () => {
    const tun = device({ name: 'tw-%d', mtu: 1380, queueLength: 1000 });
    expect(tun.state).toMatchObject({ name: 'tw-0', header: 0, offloads: { checksum: false, tcp: false, udp: false } });
    const [seen] = JSON.parse(await ip('-d', '-j', 'link', 'show', 'tw-0'));
    expect(seen).toMatchObject({
      ifname: 'tw-0',
      mtu: 1380,
      txqlen: 1000,
      linkinfo: { info_kind: 'tun', info_data: { type: 'tun', pi: false } },
    });
    expect(seen.flags).toContain('UP');
    expect(device({ name: 'tw-%d' }).state.name).toBe('tw-1');
    for (const one of open.splice(0)) one.close();
    expect(JSON.parse(await ip('-j', 'link', 'show')).map(({ ifname }: { ifname: string }) => ifname)).toEqual(['lo']);
  });

  test.each([0, 10, 12] as const)('packets come and go, with %i octets before them', async (header) => {
    const tun = device({ header });
    await addressed(tun);
    const set = new PollSet(native);
    const place = set.add(tun.state.fd);
    const buffer = room();
    const batch = new UdpBatch(native, 4);
    for (const family of [4, 6] as const) {
      const udp = socket(KERNELS[family]);
      buffer.octets.fill(0x41, 0, 100);
      packetsOf(tun);
      expect(udp.send(buffer, 0, 100, SocketAddress.of(native, OURS[family], 7))).toBe(true);
      expect([set.wait(5000), set.ready(place)]).toEqual([1, POLL.in]);
      const {
        packets: [got],
      } = packetsOf(tun);
      expect(got).toEqual(
        withPayload(
          packet(KERNELS[family], OURS[family], { sourcePort: udp.local.port, size: (family === 4 ? 28 : 48) + 100 }),
          got!,
          0x41,
        ),
      );

      const answer = packet(OURS[family], KERNELS[family], { sourcePort: 7, destinationPort: udp.local.port, size: 500 });
      buffer.octets.fill(0, 0, header);
      buffer.octets.set(answer, header);
      expect(tun.write(buffer, 0, header + answer.length)).toBe(true);
      expect(udp.receive(batch)).toBe(1);
      expect([batch.ip(0), batch.port(0), batch.length(0)]).toEqual([OURS[family], 7, family === 4 ? 472 : 452]);
    }
  });

  test('with a header, the kernel leaves cutting to us, and takes what is to be cut', async () => {
    const tun = device({ header: 10 });
    await addressed(tun);
    expect(tun.state.offloads).toMatchObject({ checksum: true, tcp: true });
    const udp = socket(KERNELS[4]);
    const buffer = room();
    for (let i = 0; i < 20_000; i++) buffer.octets[i] = i >> 5;
    expect(udp.sendBatch(buffer, 0, 20_000, 1200, SocketAddress.of(native, OURS[4], 7))).toBe(20_000);
    const { packets, reads } = packetsOf(tun);
    expect(reads).toBe(tun.state.offloads.udp ? 1 : 17);
    expect(Buffer.concat(packets.map((one) => one.subarray(28)))).toEqual(Buffer.from(buffer.octets.subarray(0, 20_000)));
    expect(packets.map((one) => one.length)).toEqual([...new Array<number>(16).fill(1228), 828]);

    // one to be cut into nine, its checksum left to the kernel
    const whole = packet(OURS[4], KERNELS[4], { sourcePort: 7, destinationPort: udp.local.port, size: 28 + 9000 });
    const header = new VnetHeader();
    Object.assign(header, { flags: 1, gsoType: 5, hdrLen: 28, gsoSize: 1000, csumStart: 20, csumOffset: 6 });
    header.write(buffer.octets, 0);
    buffer.octets.set(whole, VNET_HEADER);
    buffer.octets.set(pseudoSum(whole), VNET_HEADER + 26);
    if (!tun.state.offloads.udp) return;
    expect([tun.write(buffer, 0, VNET_HEADER + whole.length), tun.refusal]).toEqual([true, undefined]);
    const batch = new UdpBatch(native, 16);
    expect(udp.receive(batch)).toBe(9);
    expect(
      Buffer.concat([0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => batch.buffer.octets.slice(batch.offset(i), batch.offset(i) + batch.length(i)))),
    ).toEqual(Buffer.from(whole.subarray(28)));
  });

  test('a kernel without UDP segmentation (before 6.2) is asked for TCP alone, one without any for checksums', () => {
    const asking = (most: number): Tun =>
      opened(() => {
        let refused = false;
        const ioctl: Native['libc']['ioctl'] = (fd, request, argument) => {
          refused = request === 0x400454d0 && (argument & ~most) !== 0;
          return refused ? -1 : native.libc.ioctl(fd, request, argument);
        };
        return Tun.open(
          { ...native, libc: { ...native.libc, ioctl }, errno: () => (refused ? ERRNO.EINVAL : native.errno()) },
          { header: 10 },
        );
      });
    expect(asking(0x07).state.offloads).toEqual({ checksum: true, tcp: true, udp: false });
    expect(asking(0x01).state.offloads).toEqual({ checksum: true, tcp: false, udp: false });
    expect(asking(0x00).state.offloads).toEqual({ checksum: false, tcp: false, udp: false });
  });

  test('what the kernel does not take is told by kind, and nothing is thrown', async () => {
    const buffer = room();
    const tun = device({ up: false });
    const good = packet(OURS[4], KERNELS[4]);
    buffer.octets.set(good);
    expect([tun.write(buffer, 0, good.length), tun.refusal]).toEqual([false, 'down']);
    await ip('link', 'set', tun.state.name, 'up');
    expect([tun.write(buffer, 0, good.length), tun.refusal]).toEqual([true, undefined]);
    buffer.octets[0] = 0x95;
    expect([tun.write(buffer, 0, good.length), tun.refusal]).toEqual([false, 'invalid']);
    expect(packetsOf(tun).reads).toBe(0);
    await ip('link', 'delete', tun.state.name);
    expect([tun.read(buffer, 0, 2000), tun.refusal]).toEqual([-1, 'gone']);
    expect([tun.write(buffer, 0, good.length), tun.refusal]).toEqual([false, 'gone']);
    expect(() => tun.read(buffer, 0, 70_001)).toThrow(/do not lie in a buffer/);
    expect(() => tun.write(buffer, -1, 10)).toThrow(/do not lie in a buffer/);
  });

  test('a device that cannot be had says why and what to do', () => {
    device({ name: 'tw-busy' });
    expect(() => device({ name: 'tw-busy' })).toThrow(expect.objectContaining({ code: 'TUN_BUSY', errno: 'EBUSY' }));
    expect(() => device({ name: 'lo' })).toThrow(expect.objectContaining({ code: 'TUN_REFUSED', errno: 'EINVAL' }));
    for (const name of ['', 'with/slash', 'with space', 'sixteen-octets-x']) {
      expect(() => device({ name })).toThrow(expect.objectContaining({ name: 'ApiMisuse', code: 'TUN_NAME' }));
    }
    const before = open.length;
    expect(() => device({ mtu: 5 })).toThrow(expect.objectContaining({ code: 'SYSTEM_CALL_FAILED', errno: 'EINVAL' }));
    expect(open).toHaveLength(before);
  });

  test('another thread goes on with a device by its state', async () => {
    const tun = device({ header: 10 });
    await addressed(tun);
    const other = Tun.adopt(native, structuredClone(tun.state));
    const udp = socket(KERNELS[4]);
    packetsOf(other);
    udp.send(room(), 0, 10, SocketAddress.of(native, OURS[4], 7));
    expect(packetsOf(other).packets).toHaveLength(1);
  });
});

describeWith(NATIVE_CALLS, 'UDP segmentation on a real path', () => {
  const scope = new Scope();
  const namespaces = [networkName(), networkName()] as const;
  let native: Native;
  let a: FastUdp;
  let b: FastUdp;

  beforeAll(async () => {
    native = (await loadNative())!;
    const libc = await loadLibc();
    for (const namespace of namespaces) await addNamespace(scope, namespace);
    await must('ip', ['link', 'add', 'wire', 'netns', namespaces[0], 'type', 'veth', 'peer', 'name', 'wire', 'netns', namespaces[1]]);
    for (const [i, namespace] of namespaces.entries()) {
      await must('ip', ['-n', namespace, 'address', 'add', `10.89.0.${i + 1}/24`, 'dev', 'wire']);
      await must('ip', ['-n', namespace, 'link', 'set', 'wire', 'mtu', '1500', 'up']);
    }
    [a, b] = namespaces.map((namespace, i) => {
      const one = within(libc, `/run/netns/${namespace}`, () => FastUdp.open(native, { ip: `10.89.0.${i + 1}`, port: 4500 }));
      scope.defer(`the socket in ${namespace}`, () => Promise.resolve(one.close()));
      return one;
    }) as [FastUdp, FastUdp];
  });
  afterAll(() => scope.close());

  test('segments that fit go as one message, larger ones each by itself, in fragments', async () => {
    const peer = SocketAddress.of(native, '10.89.0.2', 4500);
    const buffer = native.allocate(30_000);
    for (let i = 0; i < 30_000; i++) buffer.octets[i] = i >> 4;
    const set = new PollSet(native);
    set.add(b.fd);
    const batch = new UdpBatch(native, 64);
    b.joinReceived(true);
    for (const size of [1400, 2000, 1472, 1473]) {
      expect([a.sendBatch(buffer, 0, 30_000, size, peer), a.refusal]).toEqual([30_000, undefined]);
      const parts: Uint8Array[] = [];
      while (Buffer.concat(parts).length < 30_000 && set.wait(5000) > 0) {
        b.receive(batch);
        for (let i = 0; i < batch.count; i++) parts.push(batch.buffer.octets.slice(batch.offset(i), batch.offset(i) + batch.length(i)));
      }
      expect([size, Buffer.compare(Buffer.concat(parts), buffer.octets.subarray(0, 30_000))]).toEqual([size, 0]);
      expect([size, peer.segmentLimit]).toEqual([size, size === 1400 ? Number.POSITIVE_INFINITY : size === 1473 ? 1473 : 2000]);
    }
    expect(a.segmentation).toBe(true);
  });

  test('with DF set and never cut, what is too large is said to be', () => {
    const peer = SocketAddress.of(native, '10.89.0.2', 4500);
    const buffer = native.allocate(30_000);
    expect(a.setMtuDiscovery('refuse')).toBe(true);
    expect([a.sendBatch(buffer, 0, 30_000, 1473, peer), a.refusal]).toEqual([0, 'too-big']);
    expect([a.sendBatch(buffer, 0, 30_000, 1472, peer), a.refusal]).toEqual([30_000, undefined]);
  });
});

/** As the kernel made it: identification and what hangs on it, and the payload. */
function withPayload(expected: Uint8Array, got: Uint8Array, octet: number): Uint8Array {
  const v4 = expected[0]! >> 4 === 4;
  const made = expected.slice().fill(octet, v4 ? 28 : 48);
  if (v4) made.set(got.subarray(4, 8), 4);
  if (v4) made.set(got.subarray(10, 12), 10);
  else made.set(got.subarray(0, 4), 0);
  const checksumAt = (v4 ? 20 : 40) + 6;
  made.set(got.subarray(checksumAt, checksumAt + 2), checksumAt);
  return made;
}

/** Addresses, protocol and length of a UDP packet over IPv4, summed and not yet inverted. */
function pseudoSum(whole: Uint8Array): Uint8Array {
  let sum = 17 + whole.length - 20;
  for (let at = 12; at < 20; at += 2) sum += (whole[at]! << 8) | whole[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return Uint8Array.of(sum >> 8, sum);
}
