import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataPlaneError, formatIp, isIpv6, parseIp } from '../../../src/core/bytes/index.ts';
import { IpView, UDP_HEADER } from '../../../src/core/packet/index.ts';
import { kernelBehind } from '../../../src/host/dataplane/xfrm/kernel.ts';
import { KernelPlane } from '../../../src/host/dataplane/xfrm/kernel-plane.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import { loadNative } from '../../../src/host/platform/linux/ffi.ts';
import { HostWriter } from '../../../src/host/platform/linux/netlink/host-order.ts';
import { type Libc, loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { hasKernelName } from '../../../src/host/platform/linux/netlink/xfrm/algorithms.ts';
import { takeEsp } from '../../../src/host/platform/linux/netlink/xfrm/encap-socket.ts';
import { bypassPolicies } from '../../../src/host/platform/linux/netlink/xfrm/socket-policy.ts';
import type { Combination } from '../../contracts/covering.ts';
import { CHILD_DIMENSIONS, childOf, chosenOf, named } from '../../contracts/matrix.ts';
import { packet } from '../../host/support/packets.ts';
import { type Cases, command } from '../support/cases.ts';
import { enter } from '../support/tunnel.ts';
import { changed, TwinPlane } from '../support/twin-plane.ts';

/** `TUNNELWRIGHT_FULL=1` makes it all of them. */
const chosen = chosenOf(CHILD_DIMENSIONS, process.env.TUNNELWRIGHT_FULL === '1');

/** Whatever two ends can agree on, between this kernel and our ESP and AH in user space; a case for each encryption. */
export const cases: Cases = Object.fromEntries(
  CHILD_DIMENSIONS.encryption.map((encryption) => [
    `the same packets pass between user space and the kernel, and what comes again or was changed does not: ${encryption}`,
    async () => {
      const ends = await world();
      const own = chosen.filter((one) => one.encryption === encryption);
      assert.ok(own.length > 0);
      const failed: string[] = [];
      for (const combination of own) {
        const why = await faultOf(ends, combination);
        if (why !== undefined) failed.push(`${named(combination)}: ${why}`);
      }
      assert.equal(failed.length, 0, `${failed.length} of ${own.length}\n${failed.join('\n')}`);
    },
  ]),
);

interface World {
  readonly kernel: KernelPlane;
  readonly twin: TwinPlane;
  /** Of the kernel's end, by its address. */
  readonly sockets: ReadonlyMap<string, InnerSocket>;
}

let made: Promise<World> | undefined;
let installed = 0;

function world(): Promise<World> {
  made ??= make();
  return made;
}

/** This process moves into a namespace, whose only link leads to the twin. */
async function make(): Promise<World> {
  command(`ip netns add ${NAMESPACE}`);
  await enter(NAMESPACE);
  const native = await loadNative();
  assert.ok(native !== undefined);
  const twin = new TwinPlane(native, DEVICE);
  const ip = (line: string): string => command(`ip -n ${NAMESPACE} ${line}`);
  ip('link set lo up');
  for (const [family, [own, others]] of Object.entries(OUTER)) {
    ip(`addr add ${own}/${family === 'IPv6' ? 128 : 32} dev ${DEVICE}${family === 'IPv6' ? ' nodad' : ''}`);
    ip(`route add ${others} dev ${DEVICE} src ${own}`);
  }
  for (const [family, [own, others]] of Object.entries(INNER)) {
    ip(`addr add ${own}/${family === 'IPv6' ? 128 : 32} dev lo${family === 'IPv6' ? ' nodad' : ''}`);
    ip(`route add ${others} dev ${DEVICE} src ${own}`);
  }
  const libc = await loadLibc();
  const sockets = new Map<string, InnerSocket>();
  for (const [own] of [...Object.values(OUTER), ...Object.values(INNER)]) sockets.set(own, new InnerSocket(libc, own, PORT));
  for (const [own] of Object.values(OUTER)) {
    const { fd } = new InnerSocket(libc, own, NAT_PORT);
    await takeEsp(fd);
    // as the sockets of IKE do: in transport mode policies want all that comes from the peer to be protected
    await bypassPolicies(fd, isIpv6(own) ? 6 : 4);
  }
  const socket = await NetlinkSocket.open('xfrm', { namespace: `/run/netns/${NAMESPACE}` });
  return { twin, sockets, kernel: new KernelPlane({ kernel: kernelBehind(socket), clock: systemClock, onObservation: () => undefined }) };
}

/** @returns what went wrong, and what the kernel says of it */
async function faultOf(ends: World, combination: Combination): Promise<string | undefined> {
  try {
    await passes(ends, combination);
    return undefined;
  } catch (error) {
    return `${(error as Error).message}\n${command(`ip netns exec ${NAMESPACE} cat /proc/net/xfrm_stat`).replace(/^\S+\s+0\n/gm, '')}`;
  }
}

async function passes({ kernel, twin, sockets }: World, combination: Combination): Promise<void> {
  const [inner, outer] = [INNER[combination.inner!]!, OUTER[combination.outer!]!];
  const id = ++installed;
  const { a, b } = childOf(combination, id, { inner, outer });
  const otherFamily = combination.mode === 'tunnel' && combination.inner !== combination.outer;
  if (combination.compression === 'IPComp' && otherFamily) {
    assert.throws(
      () => kernel.install(a),
      (error) => error instanceof DataPlaneError && error.code === 'IPCOMP_UNSUPPORTED',
    );
    return;
  }
  if (!hasKernelName({ encryption: a.inbound.encryption, integrity: a.inbound.integrity })) {
    assert.throws(
      () => kernel.install(a),
      (error) => error instanceof DataPlaneError && error.code === 'KERNEL_LACKS_ALGORITHM',
    );
    return;
  }
  kernel.install(a);
  twin.plane.install(b);
  try {
    const [own, others] = combination.mode === 'transport' ? outer : inner;
    const socket = sockets.get(own)!;
    const header = isIpv6(own) ? 48 : 28;
    const until = async (what: string, is: () => boolean): Promise<void> => {
      for (let waited = 0; !is(); waited++) {
        twin.poll(b.local.ip);
        if (waited > PATIENCE) assert.fail(`never: ${what}`);
        if (waited > 10) await sleep(1);
      }
    };
    for (const octets of SIZES) {
      const data = Uint8Array.from({ length: octets }, (_, i) => (octets + i) & 0x3f);
      const before = twin.delivered.length;
      socket.send(data, others, PORT);
      await until(`${octets} octets come out in user space`, () => twin.delivered.length > before);
      assert.deepEqual(contents(twin.delivered.at(-1)!), { from: own, to: others, data: hex(data) });
      const back = packet(others, own, { size: header + octets, sourcePort: PORT, destinationPort: PORT });
      twin.plane.send(back);
      let received: Uint8Array | undefined;
      await until(`${octets} octets come out of the kernel`, () => {
        received ??= socket.receive();
        return received !== undefined;
      });
      assert.equal(hex(received!), hex(back.subarray(header)));
    }
    const count = SIZES.length;
    const [ofKernel, ofTwin] = [kernel.counters(id)!, twin.plane.counters(id)!];
    assert.deepEqual([ofKernel.inbound.packets, ofKernel.outbound.packets], [count, count]);
    assert.deepEqual([ofTwin.inbound.packets, ofTwin.outbound.packets], [count, count]);
    twin.write(twin.left.at(-1)!);
    twin.receive(twin.arrived.at(-1)!);
    // what is changed must be new, or it would be judged by its number
    twin.connected = false;
    twin.plane.send(packet(others, own, { size: SIZES[0] + header, sourcePort: PORT, destinationPort: PORT }));
    twin.write(changed(twin.left.at(-1)!));
    const before = twin.arrived.length;
    socket.send(new Uint8Array(SIZES[0]), others, PORT);
    await until('one more leaves the kernel', () => twin.arrived.length > before);
    twin.receive(changed(twin.arrived.at(-1)!));
    await until('the kernel counts what came again, and what was changed', () => {
      const { drops } = kernel.counters(id)!;
      return drops.replay === 1 && drops.integrity === 1;
    });
    const { drops, inbound } = twin.plane.counters(id)!;
    assert.deepEqual([drops.replay, drops.icv, inbound.packets], [1, 1, count]);
    assert.deepEqual([kernel.counters(id)!.inbound.packets, socket.receive()], [count, undefined]);
  } finally {
    twin.connected = true;
    kernel.remove(id);
    twin.plane.remove(id);
    twin.delivered.length = twin.arrived.length = twin.left.length = 0;
  }
}

/** Of a UDP packet. */
function contents(data: Uint8Array): { readonly from: string; readonly to: string; readonly data: string } {
  const view = new IpView();
  assert.ok(view.parse(data));
  const address = (at: number): string => formatIp(data.subarray(at, at + view.addressLength));
  return { from: address(view.sourceAt), to: address(view.destinationAt), data: hex(data.subarray(view.payload + UDP_HEADER, view.end)) };
}

/** Sends in clear what a policy protects, and reads what came out of it. */
class InnerSocket {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #buffer = new Uint8Array(2048);

  constructor(libc: Libc, ip: string, port: number) {
    this.#libc = libc;
    this.fd = libc.socket(isIpv6(ip) ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const address = socketAddress(ip, port);
    assert.equal(libc.bind(this.fd, address, address.length), 0, `${ip} ${port}: ${libc.errno()}`);
  }

  send(data: Uint8Array, ip: string, port: number): void {
    const to = socketAddress(ip, port);
    assert.equal(this.#libc.sendto(this.fd, data, data.length, 0, to, to.length), data.length, `${ip}: ${this.#libc.errno()}`);
  }

  receive(): Uint8Array | undefined {
    const length = this.#libc.recvfrom(this.fd, this.#buffer, this.#buffer.length, 0, new Uint8Array(28), Uint8Array.of(28, 0, 0, 0));
    return length < 0 ? undefined : this.#buffer.slice(0, length);
  }
}

/** `struct sockaddr_in`, or `sockaddr_in6`. */
function socketAddress(ip: string, port: number): Uint8Array {
  const octets = parseIp(ip);
  const writer = new HostWriter(28).u16(octets.length === 4 ? AF_INET : AF_INET6).network16(port);
  return octets.length === 4 ? writer.bytes(octets).u32(0).u32(0).written() : writer.u32(0).bytes(octets).u32(0).written();
}

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

const NAMESPACE = 'matrix';
const DEVICE = 'twin';
/** The kernel's end, and the twin's. */
const OUTER: Readonly<Record<string, readonly [string, string]>> = {
  IPv4: ['198.51.100.2', '203.0.113.7'],
  IPv6: ['2001:db8::a', '2001:db8::b'],
};
const INNER: Readonly<Record<string, readonly [string, string]>> = { IPv4: ['10.1.0.1', '10.2.0.1'], IPv6: ['fd01::1', 'fd02::1'] };
/** Octets of UDP: the least that is no special case, odd, and what fills a path nearly. */
const SIZES = [13, 571, 1301] as const;
const PORT = 4000;
const NAT_PORT = 4500;
/** Looks, of a millisecond and more each. */
const PATIENCE = 5000;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
