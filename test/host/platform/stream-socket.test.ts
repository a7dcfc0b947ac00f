import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Stack, type StackOptions } from '../../../src/core/netstack/index.ts';
import { StackDriver } from '../../../src/host/platform/stack-driver.ts';
import { type StreamServer, type StreamSocket, StreamSocketError } from '../../../src/host/platform/stream-socket.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock, type VirtualTimer } from '../../../src/testing/virtual-clock.ts';

const drivers: StackDriver[] = [];
/** For what only has to happen. */
const SOON = { timeout: 20_000, interval: 5 } as const;

afterEach(() => {
  for (const driver of drivers.splice(0)) driver.close();
});

/** Two drivers on real time; a packet takes one turn of the event loop. `pass` decides whether it arrives. */
function pair(options: { pass?: (packet: Uint8Array) => boolean; tcp?: StackOptions['tcp'] } = {}): { a: StackDriver; b: StackDriver } {
  const random = new SeededRandom(7);
  const make = (ip: string, ip6: string): Stack =>
    new Stack({ addresses: [ip, ip6], mtu: 1400, random: { secret: (length) => random.bytes(length) }, tcp: options.tcp });
  const connect = (stack: Stack, to: () => StackDriver): StackDriver =>
    new StackDriver({
      stack,
      transmit: (packet) => {
        const copy = packet.slice();
        if (options.pass?.(copy) ?? true) setImmediate(() => to().receive(copy));
        return true;
      },
    });
  const a: StackDriver = connect(make('10.9.0.1', 'fd09::1'), () => b);
  const b: StackDriver = connect(make('10.9.0.2', 'fd09::2'), () => a);
  drivers.push(a, b);
  return { a, b };
}

/** Sockets that are still open when a test ends hear ENETDOWN, which is nobody's concern then. */
function tolerant(socket: StreamSocket): StreamSocket {
  return socket.on('error', () => {});
}

async function accept(server: StreamServer): Promise<StreamSocket> {
  const [socket] = (await once(server, 'connection')) as [StreamSocket];
  return tolerant(socket);
}

const octets = (length: number): Buffer => Buffer.from(new SeededRandom(length).bytes(length));
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Up to 'end'; the socket stays as it is, unlike under `for await`, which destroys it. */
async function readAll(socket: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks);
}

describe('StreamSocket', () => {
  test.each(['10.9.0.2', 'fd09::2'])('connects to %s and tells both ends apart', async (ip) => {
    const { a, b } = pair();
    const server = b.listen({ port: 8080 });
    const client = tolerant(a.connect({ ip, port: 8080 }));
    expect(client.connecting).toBe(true);
    expect(client.readyState).toBe('opening');
    const [socket] = await Promise.all([accept(server), once(client, 'connect')]);
    expect(client.readyState).toBe('open');
    expect({ ip: client.remoteAddress, port: client.remotePort }).toEqual({ ip, port: 8080 });
    expect({ ip: socket.remoteAddress, port: socket.remotePort }).toEqual({ ip: client.localAddress, port: client.localPort });
    expect(socket.remoteFamily).toBe(ip.includes(':') ? 'IPv6' : 'IPv4');
    expect(client.address()).toEqual({ address: client.localAddress, family: client.localFamily, port: client.localPort });
  });

  test('carries megabytes both ways at once, whole', async () => {
    const { a, b } = pair();
    const [up, down] = [octets(3_000_001), octets(2_000_003)];
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    const socket = await accept(server);
    client.end(up);
    socket.end(down);
    const [received, sent] = await Promise.all([readAll(socket), readAll(client)]);
    expect(sha256(received)).toBe(sha256(up));
    expect(sha256(sent)).toBe(sha256(down));
    expect(client.bytesWritten).toBe(up.length);
    expect(client.bytesRead).toBe(down.length);
  });

  test('a reader that pauses stops the writer', async () => {
    const { a, b } = pair({ tcp: { receiveBuffer: 65536, maxReceiveBuffer: 65536, sendBuffer: 65536, maxSendBuffer: 65536 } });
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    const socket = await accept(server);
    const data = octets(2_000_000);
    const done = new Promise<void>((resolve) => client.end(data, resolve));
    await vi.waitFor(() => expect(client.bytesWritten).toBeGreaterThanOrEqual(65536), SOON);
    await sleep(50);
    // One send buffer, one receive buffer and what the stream keeps are all that can be on the way.
    expect(client.bytesWritten).toBeLessThan(65536 * 4);
    const received = await readAll(socket);
    await done;
    expect(sha256(received)).toBe(sha256(data));
  });

  test('ECONNREFUSED has the shape of node:net', async () => {
    const { a } = pair();
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 81 }));
    const [error] = (await once(client, 'error')) as [StreamSocketError];
    expect(error).toBeInstanceOf(StreamSocketError);
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: '10.9.0.2', port: 81 });
    expect(error.message).toBe('connect 10.9.0.2:81: connection refused');
    expect(client.destroyed).toBe(true);
  });

  test('ETIMEDOUT when nobody answers within the timeout', async () => {
    const { a } = pair({ pass: () => false });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 81, timeout: 60 }));
    const [error] = (await once(client, 'error')) as [StreamSocketError];
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' });
  });

  test('ECONNRESET when the peer resets', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    const socket = await accept(server);
    client.write('hello');
    await once(socket, 'readable');
    socket.resetAndDestroy();
    const [error] = (await once(client, 'error')) as [StreamSocketError];
    expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
  });

  test('ENETDOWN on every open socket when the driver closes', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    await accept(server);
    const failed = once(client, 'error') as Promise<[StreamSocketError]>;
    a.close();
    expect((await failed)[0].code).toBe('ENETDOWN');
  });

  test('by default the end of one side ends the other; close follows', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    const socket = await accept(server);
    socket.resume();
    client.resume();
    client.end('last words');
    const closed = Promise.all([once(client, 'close'), once(socket, 'close')]);
    await Promise.all([once(socket, 'end'), once(client, 'end')]);
    await closed;
    expect(a.stack.counters.tcpResetsOut + b.stack.counters.tcpResetsOut).toBe(0);
  });

  test('allowHalfOpen: the answer may follow the end of the question', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1, allowHalfOpen: true });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1, allowHalfOpen: true }));
    const socket = await accept(server);
    client.end('question');
    expect((await readAll(socket)).toString()).toBe('question');
    socket.end('answer');
    expect((await readAll(client)).toString()).toBe('answer');
  });

  test('setTimeout emits timeout on silence and leaves the socket open', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    await accept(server);
    client.setTimeout(20);
    await once(client, 'timeout');
    expect(client.destroyed).toBe(false);
    client.setTimeout(0);
    let again = false;
    client.on('timeout', () => {
      again = true;
    });
    await sleep(40);
    expect(again).toBe(false);
  });

  test('destroy while connecting is silent', async () => {
    const { a } = pair({ pass: () => false });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    let failed: unknown;
    client.on('error', (error) => {
      failed = error;
    });
    client.destroy();
    await once(client, 'close');
    expect(failed).toBeUndefined();
    expect(a.stack.connectionCount).toBe(0);
  });

  test('destroy with octets that the stack did not take yet: the write fails, the socket does not', async () => {
    const { a } = pair({ pass: () => false, tcp: { sendBuffer: 10_000, maxSendBuffer: 10_000 } });
    const client = a.connect({ ip: '10.9.0.2', port: 1 });
    const failed: unknown[] = [];
    client.on('error', (error) => failed.push(error));
    const written = new Promise((resolve) => client.write(octets(100_000), resolve));
    await sleep(5);
    client.destroy();
    expect(await written).toMatchObject({ code: 'ECONNABORTED', syscall: 'write' });
    await sleep(5);
    expect(failed).toEqual([]);
  });

  test('keep-alive that is turned on in silence finds out that the peer is gone', async () => {
    let cut = false;
    const { a, b } = pair({ pass: () => !cut, tcp: { keepAliveInterval: 20, keepAliveProbes: 2 } });
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    await accept(server);
    await sleep(60);
    cut = true;
    client.setKeepAlive(true, 20);
    const [error] = (await once(client, 'error')) as [StreamSocketError];
    expect(error.code).toBe('ETIMEDOUT');
  });

  test('data sent before the other side accepted is not lost', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    client.end('early');
    const socket = await accept(server);
    await sleep(20);
    expect((await readAll(socket)).toString()).toBe('early');
  });

  test('a server that closed refuses, sockets that it accepted live on', async () => {
    const { a, b } = pair();
    const server = b.listen({ port: 1 });
    const client = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    const socket = await accept(server);
    await new Promise<void>((resolve) => server.close(resolve));
    const late = tolerant(a.connect({ ip: '10.9.0.2', port: 1 }));
    expect(((await once(late, 'error')) as [StreamSocketError])[0].code).toBe('ECONNREFUSED');
    client.end('still here');
    expect((await readAll(socket)).toString()).toBe('still here');
  });
});

describe('StreamSocket under node:http', () => {
  test('requests over one kept-alive connection, bodies whole', async () => {
    const { a, b } = pair();
    const body = octets(700_000);
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        response.setHeader('x-received', sha256(Buffer.concat(chunks)));
        response.end(body);
      });
    });
    let connections = 0;
    const listener = b.listen({ port: 80 }, (socket) => {
      connections++;
      server.emit('connection', tolerant(socket));
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    agent.createConnection = (): net.Socket => tolerant(a.connect({ ip: '10.9.0.2', port: 80 })) as unknown as net.Socket;
    for (let i = 0; i < 3; i++) {
      const upload = octets(200_000 + i);
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        const request = http.request({ agent, method: 'POST', path: '/', headers: { host: 'inside' } }, resolve);
        request.on('error', reject);
        request.end(upload);
      });
      expect(response.headers['x-received']).toBe(sha256(upload));
      expect(sha256(await readAll(response))).toBe(sha256(body));
    }
    expect(connections).toBe(1);
    agent.destroy();
    listener.close();
    server.close();
  });

  test('a request that nobody answers times out by the socket', async () => {
    const { a, b } = pair();
    const server = http.createServer(() => {});
    b.listen({ port: 80 }, (socket) => void server.emit('connection', tolerant(socket)));
    const request = http.request({
      createConnection: () => tolerant(a.connect({ ip: '10.9.0.2', port: 80 })) as unknown as net.Socket,
      path: '/',
    });
    request.setTimeout(30);
    request.on('error', () => {});
    request.end();
    await once(request, 'timeout');
    request.destroy();
    server.close();
  });
});

describe('StreamSocket under node:tls', () => {
  test('a TLS session inside, closed in order', async () => {
    const { a, b } = pair();
    const psk = octets(32);
    const common = { ciphers: 'PSK-AES128-GCM-SHA256', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    const server = tls.createServer({ ...common, pskCallback: (_socket, identity) => (identity === 'me' ? psk : null) });
    b.listen({ port: 443, allowHalfOpen: true }, (socket) => void server.emit('connection', tolerant(socket)));
    const client = tls.connect({
      ...common,
      socket: tolerant(a.connect({ ip: 'fd09::2', port: 443 })),
      pskCallback: () => ({ psk, identity: 'me' }),
      checkServerIdentity: () => undefined,
    });
    const [inside] = (await once(server, 'secureConnection')) as [tls.TLSSocket];
    const [up, down] = [octets(800_000), octets(600_000)];
    client.end(up);
    const received = await readAll(inside);
    inside.end(down);
    const sent = await readAll(client);
    expect(sha256(received)).toBe(sha256(up));
    expect(sha256(sent)).toBe(sha256(down));
    server.close();
  });
});

describe('pipeline', () => {
  test('an echo server made of one pipeline', async () => {
    const { a, b } = pair();
    b.listen({ port: 7, allowHalfOpen: true }, (socket) => void pipeline(tolerant(socket), socket).catch(() => {}));
    const client = tolerant(a.connect({ ip: 'fd09::2', port: 7, allowHalfOpen: true }));
    const data = octets(1_500_000);
    client.end(data);
    expect(sha256(await readAll(client))).toBe(sha256(data));
  });
});

describe('StackDriver', () => {
  test('on virtual time: a transfer over a slow wire takes as long as it should, in no time', () => {
    const clock = new VirtualClock();
    const random = new SeededRandom('virtual');
    const make = (ip: string, to: () => StackDriver): StackDriver =>
      new StackDriver({
        stack: new Stack({ addresses: [ip], mtu: 1400, random: { secret: (length) => random.bytes(length) } }),
        transmit: (packet) => {
          const copy = packet.slice();
          clock.after(50, () => to().receive(copy));
          return true;
        },
        now: () => clock.now,
        setTimer: (callback, delay) => clock.after(delay, callback),
        clearTimer: (timer) => (timer as VirtualTimer).cancel(),
        defer: (callback) => void clock.after(0, callback),
      });
    const a: StackDriver = make('10.9.0.1', () => b);
    const b: StackDriver = make('10.9.0.2', () => a);
    drivers.push(a, b);
    const listener = b.stack.listen({ port: 1 });
    const connection = a.stack.connect({ ip: '10.9.0.2', port: 1 }, clock.now);
    connection.write(new Uint8Array(200_000));
    connection.shutdown();
    let received = 0;
    let endedAt = 0;
    listener.onReady = () => {
      const accepted = listener.accept()!;
      accepted.onReady = () => {
        for (let chunk = accepted.readChunk(); chunk !== undefined; chunk = accepted.readChunk()) received += chunk.length;
        if (accepted.ended && endedAt === 0) endedAt = clock.now;
      };
    };
    clock.run(5000);
    expect(received).toBe(200_000);
    // Ten segments, twenty, forty, eighty: a round trip each, after one for the handshake.
    expect(endedAt).toBeGreaterThan(350);
    expect(endedAt).toBeLessThan(700);
  });

  test('ping', async () => {
    const { a } = pair();
    const answer = await a.ping({ ip: '10.9.0.2', size: 3000 });
    expect(answer.from).toBe('10.9.0.2');
    expect(answer.rtt).toBeGreaterThanOrEqual(0);
    await expect(a.ping({ ip: '10.9.0.77', timeout: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('whose timer comes late hears first what came meanwhile', () => {
    const random = new SeededRandom('late');
    const secret = (length: number): Uint8Array => random.bytes(length);
    const peer = new Stack({ addresses: ['10.9.0.2'], mtu: 1400, random: { secret } });
    peer.listen({ port: 1 });
    let now = 0;
    let fire = (): void => {};
    const soon: (() => void)[] = [];
    const settle = (): void => {
      for (let run = soon.shift(); run !== undefined; run = soon.shift()) run();
    };
    const driver = new StackDriver({
      stack: new Stack({ addresses: ['10.9.0.1'], mtu: 1400, random: { secret } }),
      transmit: (packet) => void peer.receive(packet, now),
      now: () => now,
      setTimer: (callback) => {
        fire = callback;
      },
      clearTimer: () => {},
      defer: (callback) => void soon.push(callback),
    });
    drivers.push(driver);
    driver.stack.connect({ ip: '10.9.0.2', port: 1 }, now);
    settle();
    now = 1500;
    fire();
    driver.receive(peer.poll(now)!);
    settle();
    expect(driver.stack.counters.tcpTimeouts).toBe(0);
  });

  test('a sink that is full is not asked again before resume', async () => {
    const random = new SeededRandom(3);
    const stack = new Stack({ addresses: ['10.9.0.1'], mtu: 1400, random: { secret: (length) => random.bytes(length) } });
    const seen: number[] = [];
    const driver = new StackDriver({
      stack,
      transmit: (packet) => {
        seen.push(packet.length);
        return false;
      },
    });
    drivers.push(driver);
    const udp = driver.bindUdp({ port: 5 });
    for (let i = 0; i < 3; i++) udp.send(new Uint8Array(100 + i), { ip: '10.9.0.2', port: 9 });
    await vi.waitFor(() => expect(seen).toEqual([128]), SOON);
    driver.resume();
    await vi.waitFor(() => expect(seen).toEqual([128, 129]), SOON);
    await sleep(5);
    expect(seen).toEqual([128, 129]);
  });
});
