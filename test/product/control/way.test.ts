import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { connectFromHere } from '../../../src/host/platform/local-ports.ts';
import { ControlClient } from '../../../src/product/control/client.ts';
import { ControlWay } from '../../../src/product/control/way.ts';
import { FrameReader, writeFrame } from '../../../src/product/control/way-frames.ts';
import { WayServer } from '../../../src/product/control/way-server.ts';
import { everything, Scene } from '../reach/scene.ts';

describe('datagrams on a stream', () => {
  test('come out as they went in, wherever the stream is cut', () => {
    const frames = [
      { host: '10.0.0.5', port: 53, data: utf8('one') },
      { host: 'name.test', port: 65_535, data: new Uint8Array(0) },
      { host: 'fd00::5', port: 1, data: new Uint8Array(60_000).fill(7) },
    ];
    const octets = Buffer.concat(frames.map((frame) => writeFrame(frame)!));
    for (const step of [1, 3, 1000, octets.length]) {
      const reader = new FrameReader();
      const out = [];
      for (let at = 0; at < octets.length; at += step) out.push(...reader.take(octets.subarray(at, at + step)));
      expect(out.map(({ host, port, data }) => [host, port, data.length])).toEqual(
        frames.map(({ host, port, data }) => [host, port, data.length]),
      );
      expect(String.fromCharCode(...out[0]!.data)).toBe('one');
    }
    expect(writeFrame({ host: 'a', port: 1, data: new Uint8Array(65_535) })).toBeUndefined();
  });

  test('a frame shorter than its name is refused', () => {
    for (const bad of [
      [0, 2, 0, 1],
      [0, 3, 0, 1, 9, 0, 0],
    ])
      expect(() => new FrameReader().take(Uint8Array.from(bad))).toThrow(/shorter/);
  });
});

describe('another process, through the control socket', () => {
  let scene: Scene;
  let way: ControlWay;
  let server: WayServer;
  let folder: string;

  beforeEach(async () => {
    scene = new Scene();
    folder = mkdtempSync(join(tmpdir(), 'tw-way-'));
    const path = join(folder, 'c.sock');
    server = new WayServer(scene.way);
    const http = createServer();
    http.on('upgrade', (request, socket, head) => void server.serve(request, socket, head));
    await new Promise<void>((resolve) => http.listen(path, resolve));
    scene.keep({
      close: () => {
        server.close();
        http.close();
      },
    });
    way = new ControlWay(new ControlClient(path));
  });
  afterEach(async () => {
    await scene.end();
    rmSync(folder, { recursive: true });
  });

  test('connects, half by half, and hears why it did not', async () => {
    const port = await scene.echo();
    const stream = await way.connect({ host: 'files.internal', port });
    stream.end('x'.repeat(500_000));
    expect((await everything(stream)).length).toBe(500_000);
    await expect(way.connect({ host: 'refused.test', port: 80 })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(way.connect({ host: 'never.test', port: 80, signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });

  test('takes connections from the other side', async () => {
    const listener = await way.listenTcp(0, (stream) => {
      stream.on('error', () => undefined);
      stream.pipe(stream);
    });
    const socket = await scene.way.connect({ host: 'here', port: listener.address.port });
    socket.end('hello');
    expect(await everything(socket)).toBe('hello');
    listener.close();
  });

  test('hears that the instance has ended, and not that it closed its own listener', async () => {
    const ended: string[] = [];
    const [one, two] = [await way.listenTcp(0, () => undefined), await way.listenTcp(0, () => undefined)];
    const over = new Promise<void>((resolve) => {
      two.onEnd = () => {
        ended.push('two');
        resolve();
      };
    });
    one.onEnd = () => ended.push('one');
    one.close();
    server.close();
    await over;
    expect(ended).toEqual(['two']);
  });

  test('takes more connections than may wait to be fetched', async () => {
    const streams: Duplex[] = [];
    const listener = await way.listenTcp(0, (stream) => streams.push(stream));
    const sockets: Duplex[] = [];
    const connected = (): Promise<Duplex> => connectFromHere({ host: '127.0.0.1', port: listener.address.port });
    while (sockets.length < 260) {
      sockets.push(...(await Promise.all(Array.from({ length: 65 }, connected))));
      while (streams.length < sockets.length) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(sockets.filter(({ destroyed }) => destroyed)).toEqual([]);
    for (const each of [...streams, ...sockets]) each.destroy();
    listener.close();
  });

  test('sends and hears datagrams', async () => {
    const port = await way.openUdp();
    const other = scene.keep(await scene.way.openUdp());
    other.onDatagram = (data, from) => other.send(data, { host: from.ip, port: from.port });
    const answer = new Promise<string>((resolve) => {
      port.onDatagram = (data, from) => resolve(`${String.fromCharCode(...data)} ${from.port === other.local.port}`);
    });
    port.send(utf8('ping'), { host: '127.0.0.1', port: other.local.port });
    expect(await answer).toBe('ping true');
    port.close();
  });
});
