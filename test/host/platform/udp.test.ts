import { afterEach, describe, expect, test } from 'vitest';
import { DataPlaneError } from '../../../src/core/bytes/index.ts';
import { loadNative } from '../../../src/host/platform/linux/ffi.ts';
import { descriptorUdp } from '../../../src/host/platform/linux/udp-network.ts';
import { systemUdp, type UdpNetwork, type UdpSocket } from '../../../src/host/platform/udp.ts';

const native = await loadNative();
const networks: [string, UdpNetwork][] = [
  ['node:dgram', systemUdp],
  ...(native === undefined ? [] : [['descriptors', descriptorUdp(native)] as [string, UdpNetwork]]),
];

const open: UdpSocket[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

interface Received {
  readonly data: Uint8Array;
  readonly ip: string;
  readonly port: number;
}

describe.each(networks)('UDP over %s', (_, udp) => {
  async function bound(ip = '127.0.0.1', port = 0): Promise<{ socket: UdpSocket; received: Received[]; next: () => Promise<Received> }> {
    const received: Received[] = [];
    let wake = (): void => undefined;
    const socket = await udp.bind({
      ip,
      port,
      onDatagram: (data, from, fromPort) => {
        received.push({ data, ip: from, port: fromPort });
        wake();
      },
    });
    open.push(socket);
    let taken = 0;
    const next = async (): Promise<Received> => {
      while (received.length <= taken) await new Promise<void>((resolve) => (wake = resolve));
      return received[taken++]!;
    };
    return { socket, received, next };
  }

  test.each(['127.0.0.1', '::1'])('datagrams go both ways and name their sender (%s)', async (ip) => {
    if (!udp.addresses().includes(ip)) return expect(await udp.sourceFor(ip)).toBeUndefined();
    const a = await bound(ip);
    const b = await bound(ip);
    expect(a.socket.send(Uint8Array.of(1, 2, 3), ip, b.socket.local.port)).toBe(true);
    const at = await b.next();
    expect({ ...at, data: [...at.data] }).toEqual({ data: [1, 2, 3], ip, port: a.socket.local.port });
    expect(a.socket.counters.sent).toBe(1);
    expect(b.socket.counters.received).toBe(1);
  });

  test('the buffer may be reused as soon as send returned', async () => {
    const a = await bound();
    const b = await bound();
    const buffer = new Uint8Array(1400);
    for (let i = 0; i < 200; i++) {
      buffer.fill(i);
      a.socket.send(buffer, '127.0.0.1', b.socket.local.port);
      if (i % 50 === 49) while (b.received.length <= i) await b.next();
    }
    expect(b.received.map(({ data }) => [data[0], data[1399]])).toEqual(Array.from({ length: 200 }, (_, i) => [i, i]));
  });

  test('what came in belongs to the receiver: no two datagrams share memory', async () => {
    const a = await bound();
    const b = await bound();
    for (const octet of [1, 2]) a.socket.send(Uint8Array.of(octet), '127.0.0.1', b.socket.local.port);
    const first = await b.next();
    const second = await b.next();
    first.data.fill(9);
    expect([...second.data]).toEqual([2]);
  });

  test('a closed port, a forbidden address and a datagram too large neither throw nor stop the socket', async () => {
    const gone = await bound();
    const { port } = gone.socket.local;
    await gone.socket.close();
    const a = await bound();
    const b = await bound();
    expect(a.socket.send(Uint8Array.of(1), '127.0.0.1', port)).toBe(true); // ICMP port unreachable comes back, and is nobody's business
    a.socket.send(new Uint8Array(65_530), '127.0.0.1', b.socket.local.port);
    expect(a.socket.send(Uint8Array.of(1), '127.0.0.1', 0)).toBe(false);
    expect(a.socket.send(new Uint8Array(70_000), '127.0.0.1', b.socket.local.port)).toBe(false);
    a.socket.send(Uint8Array.of(7), '127.0.0.1', b.socket.local.port);
    expect([...(await b.next()).data]).toEqual([7]);
  });

  test('a closed socket drops', async () => {
    const a = await bound();
    await a.socket.close();
    await a.socket.close();
    expect(a.socket.send(Uint8Array.of(1), '127.0.0.1', 9)).toBe(false);
  });

  test('a taken port says who may be there and what to do', async () => {
    const a = await bound();
    const again = udp.bind({ ip: '127.0.0.1', port: a.socket.local.port, onDatagram: () => undefined });
    await expect(again).rejects.toThrow(DataPlaneError);
    await expect(again).rejects.toMatchObject({ code: 'ADDRESS_IN_USE', errno: 'EADDRINUSE', hint: expect.stringContaining('ss -ulpn') });
  });

  test('an address of somebody else is refused', async () => {
    const bind = udp.bind({ ip: '192.0.2.77', port: 0, onDatagram: () => undefined });
    await expect(bind).rejects.toMatchObject({ code: 'ADDRESS_NOT_OURS' });
  });

  test('the source towards a peer is found without sending', async () => {
    expect(await udp.sourceFor('127.0.0.1')).toBe('127.0.0.1');
    expect(await udp.sourceFor('127.0.0.77')).toBe('127.0.0.1');
  });

  test('loopback comes last among the own addresses, link-local ones not at all', () => {
    const addresses = udp.addresses();
    expect(addresses).toContain('127.0.0.1');
    expect(addresses.some((ip) => ip.startsWith('fe80'))).toBe(false);
    const firstLoopback = addresses.findIndex((ip) => ip === '127.0.0.1' || ip === '::1');
    expect(addresses.slice(firstLoopback).every((ip) => ip.startsWith('127.') || ip === '::1')).toBe(true);
  });

  test('the kernel grants a receive buffer, and it is known', async () => {
    const { socket } = await bound();
    expect(socket.receiveBuffer).toBeGreaterThan(100_000);
  });
});
