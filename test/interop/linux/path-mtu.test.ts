import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadNative, type Native } from '../../../src/host/platform/linux/ffi.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { ErrorQueue, pathMtuTowards, type TooLarge } from '../../../src/host/platform/linux/path-mtu.ts';
import { SocketAddress } from '../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../src/host/platform/linux/udp.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** Of the link behind the router, and of the one before it. */
const [FAR, NEAR] = [1300, 1420];

describeWith(NAMESPACES, 'the MTU of a path over a router', () => {
  const scope = new Scope();
  const [left, router, right] = [networkName(), networkName(), networkName()];
  let native: Native;
  let inside: <T>(namespace: string, make: () => T) => T;

  beforeAll(async () => {
    native = (await loadNative())!;
    const libc = await loadLibc();
    inside = (namespace, make) => within(libc, `/run/netns/${namespace}`, make);
    for (const namespace of [left, router, right]) await addNamespace(scope, namespace);
    const ip = (...words: readonly string[]) => must('ip', words);
    await ip('-n', router, 'link', 'add', 'near', 'mtu', String(NEAR), 'type', 'veth', 'peer', 'name', 'out', 'netns', left);
    await ip('-n', router, 'link', 'add', 'far', 'mtu', String(FAR), 'type', 'veth', 'peer', 'name', 'out', 'netns', right);
    await ip('-n', left, 'link', 'set', 'out', 'mtu', String(NEAR));
    const address = (namespace: string, device: string, v4: string, v6: string) => [
      ['-n', namespace, 'address', 'add', v4, 'dev', device],
      ['-n', namespace, '-6', 'address', 'add', v6, 'dev', device, 'nodad'],
      ['-n', namespace, 'link', 'set', device, 'up'],
    ];
    for (const words of [
      ...address(left, 'out', '10.88.1.2/24', 'fd88:1::2/64'),
      ...address(router, 'near', '10.88.1.1/24', 'fd88:1::1/64'),
      ...address(router, 'far', '10.88.2.1/24', 'fd88:2::1/64'),
      ...address(right, 'out', '10.88.2.2/24', 'fd88:2::2/64'),
      ['-n', left, 'route', 'add', '10.88.2.0/24', 'via', '10.88.1.1'],
      ['-n', left, '-6', 'route', 'add', 'fd88:2::/64', 'via', 'fd88:1::1'],
      ['-n', right, 'route', 'add', '10.88.1.0/24', 'via', '10.88.2.1'],
      ['-n', right, '-6', 'route', 'add', 'fd88:1::/64', 'via', 'fd88:2::1'],
    ])
      await must('ip', words);
    for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'])
      await must('ip', ['netns', 'exec', router, 'sysctl', '-q', '-w', `${key}=1`]);
  });
  afterAll(() => scope.close());

  test.each([
    ['10.88.1.2', '10.88.2.2'],
    ['fd88:1::2', 'fd88:2::2'],
  ])('is told, with what was sent, from %s to %s', async (from, to) => {
    const socket = inside(left, () => FastUdp.open(native, { ip: from, port: 0 }));
    const errors = new ErrorQueue(native, socket.fd, socket.isV6);
    try {
      expect(inside(left, () => pathMtuTowards(native, socket.fd, socket.local, { ip: to, port: 4500 }))).toBe(NEAR);
      const told: TooLarge[] = [];
      const buffer = native.allocate(1352);
      buffer.octets.set([0xc0, 0xff, 0xee, 0x01]);
      const peer = SocketAddress.of(native, to, 4500);
      await eventually(
        'the router has said so',
        () => {
          // a link that has just come up may lose the first ones
          socket.send(buffer, 0, 1352, peer);
          errors.drain((error) => told.push({ ...error, quoted: error.quoted?.slice(0, 4) }));
          return told.some(({ quoted }) => quoted !== undefined);
        },
        PATIENCE,
        () => JSON.stringify(told),
      );
      expect(told.find(({ quoted }) => quoted !== undefined)).toEqual({ ip: to, mtu: FAR, quoted: Uint8Array.of(0xc0, 0xff, 0xee, 0x01) });
      expect(inside(left, () => pathMtuTowards(native, socket.fd, socket.local, { ip: to, port: 4500 }))).toBe(FAR);
    } finally {
      errors.close();
      socket.close();
    }
  });
});
