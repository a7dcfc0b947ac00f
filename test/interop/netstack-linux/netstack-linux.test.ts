import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { type FailureCode, Ready } from '../../../src/core/netstack/index.ts';
import type { StreamSocket } from '../../../src/host/platform/stream-socket.ts';
import {
  FAR4,
  FAR6,
  KERNEL4,
  KERNEL6,
  KernelHost,
  type KernelHostOptions,
  missing,
  OURS4,
  OURS6,
  patternOf,
  sha256,
} from './kernel-host.ts';

const lacking = missing();
const hosts: KernelHost[] = [];

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
});

async function start(options: KernelHostOptions = {}): Promise<KernelHost> {
  const host = await KernelHost.start(options);
  hosts.push(host);
  return host;
}

const FAMILIES = [
  { family: 'IPv4', kernel: KERNEL4, ours: OURS4 },
  { family: 'IPv6', kernel: KERNEL6, ours: OURS6 },
] as const;
const WIRES = [
  { wire: 'clean', loss: 0, octets: 16 << 20 },
  { wire: '0.5 % loss', loss: 0.005, octets: 8 << 20 },
  { wire: '3 % loss', loss: 0.03, octets: 2 << 20 },
] as const;
const CASES = FAMILIES.flatMap((family) => WIRES.map((wire) => ({ ...family, ...wire })));

const quiet = (socket: StreamSocket): StreamSocket => socket.on('error', () => {});

async function readAll(socket: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks);
}

const failure = async (socket: StreamSocket): Promise<FailureCode> => ((await once(socket, 'error')) as [{ code: FailureCode }])[0].code;

const title = `the in-process stack and the Linux kernel${lacking === undefined ? '' : ` (needs ${lacking})`}`;

describe.skipIf(lacking !== undefined)(title, () => {
  test.each(CASES)('we connect and send: $family, $wire', async ({ kernel, loss, octets }) => {
    const host = await start({ loss });
    const { port, done } = await host.listen({ ip: kernel, role: 'sink' });
    const data = patternOf(octets);
    const socket = quiet(host.driver.connect({ ip: kernel, port }));
    socket.resume();
    socket.end(data);
    expect(await done).toEqual({ octets, sha256: sha256(data) });
    await reviewKernel(host, loss);
  });

  test.each(CASES)('we connect and receive: $family, $wire', async ({ kernel, loss, octets }) => {
    const host = await start({ loss });
    const { port, done } = await host.listen({ ip: kernel, role: 'source', octets });
    const socket = quiet(host.driver.connect({ ip: kernel, port }));
    const received = await readAll(socket);
    const sent = await done;
    expect({ octets: received.length, sha256: sha256(received) }).toEqual({ octets, sha256: sent.sha256 });
    // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK and TCPI_OPT_WSCALE of tcp(7): all were agreed.
    expect((sent.options as number) & 7).toBe(7);
    await reviewKernel(host, loss);
  });

  test.each(CASES)('the kernel connects and sends: $family, $wire', async ({ ours, loss, octets }) => {
    const host = await start({ loss });
    let received: Promise<Buffer> | undefined;
    host.driver.listen({ port: 5001 }, (socket) => {
      received = readAll(quiet(socket));
    });
    const sent = await host.ask('connect', { ip: ours, port: 5001, role: 'source', octets });
    const data = await received!;
    expect({ octets: data.length, sha256: sha256(data) }).toEqual({ octets, sha256: sent.sha256 });
    await reviewKernel(host, loss);
  });

  test.each(CASES)('the kernel connects and receives: $family, $wire', async ({ ours, loss, octets }) => {
    const host = await start({ loss });
    const data = patternOf(octets);
    host.driver.listen({ port: 5002 }, (socket) => quiet(socket).end(data));
    expect(await host.ask('connect', { ip: ours, port: 5002, role: 'sink' })).toEqual({ octets, sha256: sha256(data) });
    await reviewKernel(host, loss);
  });

  test('both directions of one connection at once, with loss', async () => {
    const host = await start({ loss: 0.005, seed: 5 });
    const { port, done } = await host.listen({ ip: KERNEL4, role: 'echo' });
    const data = patternOf(6 << 20);
    const socket = quiet(host.driver.connect({ ip: KERNEL4, port, allowHalfOpen: true }));
    socket.end(data);
    expect(sha256(await readAll(socket))).toBe(sha256(data));
    expect(await done).toEqual({ octets: data.length });
  });

  test.each([
    { name: 'without SACK', sysctl: { 'net.ipv4.tcp_sack': 0 } },
    { name: 'without timestamps', sysctl: { 'net.ipv4.tcp_timestamps': 0 } },
    { name: 'without window scaling', sysctl: { 'net.ipv4.tcp_window_scaling': 0 } },
    { name: 'with reno', sysctl: { 'net.ipv4.tcp_congestion_control': 'reno' } },
  ])('a kernel $name, with loss, both ways', async ({ sysctl }) => {
    const host = await start({ loss: 0.005, sysctl });
    const { port, done } = await host.listen({ ip: KERNEL4, role: 'echo' });
    const data = patternOf(2 << 20);
    const socket = quiet(host.driver.connect({ ip: KERNEL4, port, allowHalfOpen: true }));
    socket.end(data);
    expect(sha256(await readAll(socket))).toBe(sha256(data));
    await done;
  });

  test('a kernel application that reads slowly closes its window; nothing is lost', async () => {
    const host = await start();
    const { port, done } = await host.listen({
      ip: KERNEL4,
      role: 'sink',
      chunk: 20000,
      pause: 0.005,
      options: [['SOL_SOCKET', 'SO_RCVBUF', 8192]],
    });
    const data = patternOf(1 << 20);
    const socket = quiet(host.driver.connect({ ip: KERNEL4, port }));
    socket.resume();
    socket.end(data);
    expect(await done).toEqual({ octets: data.length, sha256: sha256(data) });
  });

  test('an application of ours that reads slowly closes our window; nothing is lost', async () => {
    const host = await start({ tcp: { receiveBuffer: 16384, maxReceiveBuffer: 16384 } });
    const { port, done } = await host.listen({ ip: KERNEL4, role: 'source', octets: 1 << 20 });
    const socket = quiet(host.driver.connect({ ip: KERNEL4, port }));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) {
      chunks.push(chunk as Buffer);
      await sleep(1);
    }
    expect(sha256(Buffer.concat(chunks))).toBe((await done).sha256);
  });

  test.each(FAMILIES)('ping both ways, in fragments too: $family', async ({ kernel, ours }) => {
    const host = await start();
    for (const size of [56, 1400, 4000]) {
      expect((await host.driver.ping({ ip: kernel, size })).from).toBe(kernel);
      expect(await host.ask('ping', { ip: ours, size })).toMatchObject({ from: ours, same: true });
    }
    expect(host.stack.counters.packetsReassembled).toBeGreaterThan(0);
  });

  test.each(FAMILIES)('UDP both ways, in fragments too: $family', async ({ kernel, ours }) => {
    const host = await start();
    await host.ask('udp-echo', { ip: kernel, port: 5007, count: 3 });
    const udp = host.driver.bindUdp({ port: 6007 });
    for (const size of [0, 1200, 9000]) {
      const data = patternOf(size);
      const echoed = new Promise<Uint8Array>((resolve) => {
        udp.onReady = (events) => {
          if ((events & Ready.READABLE) !== 0) resolve(udp.receive()!.data);
        };
      });
      udp.send(data, { ip: kernel, port: 5007 });
      expect(Buffer.compare(await echoed, data)).toBe(0);
    }
    udp.onReady = () => {
      for (let datagram = udp.receive(); datagram !== undefined; datagram = udp.receive())
        udp.send(datagram.data, datagram.remote, datagram.local);
    };
    expect(await host.ask('udp-ask', { ip: ours, port: 6007, sizes: [1, 1452, 9000] })).toEqual({ same: [true, true, true] });
  });

  test.each(FAMILIES)('nobody listens: ECONNREFUSED on both sides, TCP and UDP: $family', async ({ kernel, ours }) => {
    const host = await start();
    expect(await failure(host.driver.connect({ ip: kernel, port: 9 }))).toBe('ECONNREFUSED');
    await expect(host.ask('connect', { ip: ours, port: 9, role: 'sink' })).rejects.toThrow('ECONNREFUSED');
    await expect(host.ask('udp-ask', { ip: ours, port: 9, sizes: [10] })).rejects.toThrow('ECONNREFUSED');
    const udp = host.driver.bindUdp({});
    const refused = new Promise((resolve) => {
      udp.onReady = (events) => {
        if ((events & Ready.ERROR) !== 0) resolve(udp.takeError());
      };
    });
    udp.send(new Uint8Array(5), { ip: kernel, port: 9 });
    expect(await refused).toEqual({ code: 'ECONNREFUSED', remote: { ip: kernel, port: 9 } });
  });

  test('the kernel resets: ECONNRESET here; we reset: ECONNRESET there', async () => {
    const host = await start();
    const { port, done } = await host.listen({ ip: KERNEL4, role: 'reset' });
    const socket = host.driver.connect({ ip: KERNEL4, port });
    socket.write('x');
    expect(await failure(socket)).toBe('ECONNRESET');
    await done;
    host.driver.listen({ port: 5003 }, (accepted) => {
      accepted.once('data', () => accepted.resetAndDestroy());
    });
    await expect(host.ask('connect', { ip: OURS4, port: 5003, role: 'source', octets: 1 << 20 })).rejects.toThrow(/ECONNRESET|EPIPE/);
  });

  test.each([
    { family: 'IPv4', far: FAR4, mtu: 1300 },
    { family: 'IPv6', far: FAR6, mtu: 1300 },
  ])('a narrower link behind the kernel is found by its ICMP messages: $family', async ({ far, mtu }) => {
    const host = await start({ sysctl: { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 } });
    await host.startFar(mtu);
    const { port, done } = await host.listenFar({ ip: far, role: 'sink' });
    const data = patternOf(3 << 20);
    const socket = quiet(host.driver.connect({ ip: far, port }));
    socket.resume();
    socket.end(data);
    expect(await done).toEqual({ octets: data.length, sha256: sha256(data) });
    expect(host.stack.counters.icmpErrorsIn).toBeGreaterThan(0);
    expect(host.stack.counters.icmpErrorsImplausible).toBe(0);
  });

  test.each(FAMILIES)('a path that swallows large packets in silence: $family', async ({ kernel }) => {
    const host = await start({ filter: (packet, from) => from === 'kernel' || packet.length <= 1300 });
    const { port, done } = await host.listen({ ip: kernel, role: 'sink' });
    const data = patternOf(1 << 20);
    const socket = quiet(host.driver.connect({ ip: kernel, port }));
    socket.resume();
    socket.end(data);
    expect(await done).toEqual({ octets: data.length, sha256: sha256(data) });
    expect(host.stack.counters.tcpBlackHoles).toBeGreaterThan(0);
  });
});

/** What the kernel counted: not one bad checksum or malformed header, and on a clean wire nothing sent twice by it. */
async function reviewKernel(host: KernelHost, loss: number): Promise<void> {
  const seen = (await host.ask('snmp')) as Record<string, number>;
  expect(seen).toMatchObject({ TcpInErrs: 0, TcpInCsumErrors: 0, IpInHdrErrors: 0, UdpInCsumErrors: 0, TcpExtTCPSACKReneging: 0 });
  expect(host.stack.counters.tcpMalformed + host.stack.counters.ipMalformed).toBe(0);
  expect(host.dropped > 0).toBe(loss > 0);
}
