import { afterEach, describe, expect, test } from 'vitest';
import type { Address } from '../../../src/core/bytes/index.ts';
import { systemTcp, type TcpServer, type TcpStream } from '../../../src/host/platform/tcp.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const LOOPBACK = '127.0.0.1';

interface End {
  readonly stream: TcpStream;
  readonly octets: number[];
  closed: string | undefined | 'not yet';
}

function read(stream: TcpStream): End {
  const end: End = { stream, octets: [], closed: 'not yet' };
  stream.start({
    onData: (data) => void end.octets.push(...data),
    onClose: (reason) => {
      end.closed = reason;
    },
  });
  open.push({ close: () => stream.abort() });
  return end;
}

async function listening(): Promise<{ readonly server: TcpServer; readonly accepted: Promise<TcpStream> }> {
  let accept: (stream: TcpStream) => void = () => undefined;
  const accepted = new Promise<TcpStream>((resolve) => {
    accept = resolve;
  });
  const server = await systemTcp.listen({ ip: LOOPBACK, port: 0, onStream: accept });
  open.push(server);
  return { server, accepted };
}

const connect = (remote: Address, within = 5000) => systemTcp.connect({ localIp: LOOPBACK, remote, within });

async function pairOfEnds(): Promise<{ readonly here: End; readonly there: End }> {
  const { server, accepted } = await listening();
  const here = read(await connect(server.local));
  return { here, there: read(await accepted) };
}

async function eventually(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(holds()).toBe(true);
}

describe('TCP of the machine', () => {
  test('both ends know the ports, and octets go both ways', async () => {
    const { here, there } = await pairOfEnds();
    expect([here.stream.local, here.stream.remote]).toEqual([there.stream.remote, there.stream.local]);
    here.stream.write(Uint8Array.of(1, 2));
    here.stream.write(Uint8Array.of(3));
    there.stream.write(Uint8Array.of(9));
    await eventually(() => there.octets.length === 3 && here.octets.length === 1);
    expect([here.octets, there.octets]).toEqual([[9], [1, 2, 3]]);
  });

  test('what waits goes out before the end, and the end is no reason', async () => {
    const { here, there } = await pairOfEnds();
    here.stream.write(new Uint8Array(300_000).fill(7));
    here.stream.close();
    here.stream.close();
    await eventually(() => there.closed === undefined && here.closed === undefined);
    expect(there.octets.length).toBe(300_000);
    expect(here.stream.write(Uint8Array.of(1))).toBe(false);
  });

  test('a reset is one', async () => {
    const { here, there } = await pairOfEnds();
    there.stream.abort();
    there.stream.abort();
    await eventually(() => here.closed === 'it was reset');
    expect(here.stream.write(Uint8Array.of(1))).toBe(false);
  });

  test('a peer that reads nothing: what waits is counted, and nobody else waits', async () => {
    const { server, accepted } = await listening();
    const here = read(await connect(server.local));
    open.push({ close: async () => (await accepted).abort() });
    for (let i = 0; i < 300; i++) here.stream.write(new Uint8Array(65_536));
    expect(here.stream.waiting).toBeGreaterThan(1 << 20);
  });

  test('nobody listens: refused, with the port and what to do', async () => {
    const { server } = await listening();
    const { local } = server;
    await server.close();
    await expect(connect(local)).rejects.toMatchObject({
      code: 'TCP_REFUSED',
      message: `127.0.0.1:${local.port} does not take TCP connections`,
      hint: expect.stringContaining('remote_tcp_port'),
    });
  });

  test('an own address that is not ours', async () => {
    await expect(systemTcp.connect({ localIp: '192.0.2.1', remote: { ip: LOOPBACK, port: 1 }, within: 1000 })).rejects.toMatchObject({
      code: 'ADDRESS_NOT_OURS',
    });
    await expect(systemTcp.listen({ ip: '192.0.2.1', port: 0, onStream: () => undefined })).rejects.toMatchObject({
      code: 'ADDRESS_NOT_OURS',
    });
  });

  test('a port that is taken', async () => {
    const { server } = await listening();
    await expect(systemTcp.listen({ ip: LOOPBACK, port: server.local.port, onStream: () => undefined })).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      hint: expect.stringContaining('tcp: no'),
    });
  });

  test('IPv6', async () => {
    const server = await systemTcp.listen({ ip: '::1', port: 0, onStream: (stream) => void read(stream) });
    open.push(server);
    const stream = await systemTcp.connect({ localIp: '::1', remote: server.local, within: 5000 });
    expect([stream.local.ip, stream.remote.ip]).toEqual(['::1', '::1']);
    stream.abort();
  });
});
