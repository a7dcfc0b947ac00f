import { EventEmitter } from 'node:events';
import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { FileServer, receive, send, sendTree } from '../../../src/product/transfer/index.ts';
import { PeerHttp } from '../../../src/product/transfer/peer-http.ts';
import { folder, PATIENCE, QUICK, Scene, sha256, TestTiming } from './scene.ts';
import { base64, tus } from './tus.ts';
import { Wire } from './wire.ts';

describe('tus 1.0', () => {
  test('OPTIONS names version and extensions', async () => {
    const { ask } = tus(await Scene.open({ largest: 5000 }));
    const answer = await ask('OPTIONS', '/inbox/');
    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({
      'tus-resumable': '1.0.0',
      'tus-version': '1.0.0',
      'tus-extension': 'creation,creation-with-upload,expiration,checksum,termination,concatenation',
      'tus-checksum-algorithm': 'sha1,sha256',
      'tus-max-size': '5000',
    });
  });

  test('create, append in pieces, ask for the offset', async () => {
    const scene = await Scene.open();
    const { ask, create, patch } = tus(scene);
    const location = await create('hello.txt', 11);
    expect((await ask('HEAD', location)).headers).toMatchObject({
      'upload-offset': '0',
      'upload-length': '11',
      'cache-control': 'no-store',
    });
    expect(await patch(location, 0, Buffer.from('hello '))).toMatchObject({
      status: 204,
      headers: { 'upload-offset': '6', 'tus-resumable': '1.0.0' },
    });
    expect((await ask('HEAD', location)).headers['upload-offset']).toBe('6');
    expect(existsSync(join(scene.inbox, 'hello.txt'))).toBe(false);
    expect(await patch(location, 6, Buffer.from('world'))).toMatchObject({ status: 204, headers: { 'upload-offset': '11' } });
    expect(Buffer.from(scene.stored('hello.txt')).toString()).toBe('hello world');
    expect((await ask('HEAD', location)).headers).toMatchObject({ 'upload-offset': '11', 'upload-state': 'stored' });
  });

  test('two uploads of one name without digest are two files', async () => {
    const scene = await Scene.open();
    const { create, patch } = tus(scene);
    for (const text of ['one', 'two']) await patch(await create('x.txt', 3), 0, Buffer.from(text));
    expect(readdirSync(scene.inbox).sort()).toEqual(['.tunnelwright-partial', 'x (1).txt', 'x.txt']);
  });

  test('the wrong offset is 409, the wrong type 415, the wrong version 412, an unknown upload 404', async () => {
    const scene = await Scene.open();
    const { ask, create, patch } = tus(scene);
    const location = await create('x', 10);
    expect(await patch(location, 5, Buffer.from('x'))).toMatchObject({ status: 409, headers: { 'upload-offset': '0' } });
    expect((await patch(location, 0, Buffer.from('x'), { 'Content-Type': 'text/plain' })).status).toBe(415);
    expect(await ask('HEAD', location, { 'Tus-Resumable': '0.2.2' })).toMatchObject({ status: 412, headers: { 'tus-version': '1.0.0' } });
    expect((await ask('HEAD', '/inbox/0123456789abcdef0123456789abcdef')).status).toBe(404);
    expect((await ask('HEAD', '/inbox/..%2f..%2fetc%2fpasswd')).status).toBe(404);
    expect((await ask('GET', location)).status).toBe(405);
    expect((await ask('GET', '/inbox/')).status).toBe(405);
  });

  test('more octets than announced are refused, and what fitted is kept', async () => {
    const { create, patch, ask } = tus(await Scene.open());
    const location = await create('x', 5);
    expect((await patch(location, 0, Buffer.from('123456789'))).status).toBe(400);
    expect(Number((await ask('HEAD', location)).headers['upload-offset'])).toBeLessThanOrEqual(5);
  });

  test('DELETE ends an upload and leaves nothing', async () => {
    const scene = await Scene.open();
    const { ask, create, patch } = tus(scene);
    const location = await create('x', 5);
    await patch(location, 0, Buffer.from('12'));
    expect((await ask('DELETE', location)).status).toBe(204);
    expect((await ask('HEAD', location)).status).toBe(404);
    expect(readdirSync(join(scene.inbox, '.tunnelwright-partial'))).toEqual([]);
  });

  test('X-HTTP-Method-Override stands for the method', async () => {
    const scene = await Scene.open();
    const { ask, create } = tus(scene);
    const location = await create('x', 2);
    const headers = { 'X-HTTP-Method-Override': 'PATCH', 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' };
    expect((await ask('POST', location, headers, Buffer.from('ok'))).status).toBe(204);
    expect(Buffer.from(scene.stored('x')).toString()).toBe('ok');
  });

  test.each([
    ['no length', {}],
    ['a length that is none', { 'Upload-Length': '-1' }],
    ['a length beyond sense', { 'Upload-Length': '1e99' }],
    ['no name', { 'Upload-Length': '5', 'Upload-Metadata': '' }],
    ['metadata that is no base64', { 'Upload-Length': '5', 'Upload-Metadata': 'filename §§§' }],
    ['a name that is not UTF-8', { 'Upload-Length': '5', 'Upload-Metadata': `filename ${Buffer.from([0xff, 0xfe]).toString('base64')}` }],
    ['a name that leads out', { 'Upload-Length': '5', 'Upload-Metadata': `filename ${base64('../x')}` }],
    ['a name with NUL', { 'Upload-Length': '5', 'Upload-Metadata': `filename ${base64('a\u0000b')}` }],
    ['a digest that is none', { 'Upload-Length': '5', 'Upload-Metadata': `filename ${base64('x')},sha256 ${base64('abc')}` }],
  ])('POST with %s is refused', async (_name, headers) => {
    const scene = await Scene.open();
    const { ask } = tus(scene);
    const answer = await ask('POST', '/inbox/', { 'Upload-Metadata': `filename ${base64('x')}`, ...headers } as Record<
      string,
      string
    >).catch(() => ({ status: 400 }));
    expect(answer.status).toBe(400);
    expect(readdirSync(join(scene.inbox, '.tunnelwright-partial'))).toEqual([]);
  });

  test('a digest that does not fit: 460, nothing stored, and a fresh start under the same name', async () => {
    const scene = await Scene.open();
    const { create, patch } = tus(scene);
    const more = `,sha256 ${base64(sha256(Buffer.from('hello')))}`;
    const location = await create('x.txt', 5, more);
    expect(await patch(location, 0, Buffer.from('jello'))).toMatchObject({ status: 460 });
    expect(existsSync(join(scene.inbox, 'x.txt'))).toBe(false);
    const again = await create('x.txt', 5, more);
    expect((await patch(again, 0, Buffer.from('hello'))).status).toBe(204);
    expect(Buffer.from(scene.stored('x.txt')).toString()).toBe('hello');
  });

  test('another peer’s upload does not exist', async () => {
    const scene = await Scene.open();
    const location = await tus(scene, 'alice').create('x', 5);
    const bob = tus(scene, 'bob');
    expect((await bob.ask('HEAD', location)).status).toBe(404);
    expect((await bob.patch(location, 0, Buffer.from('x'))).status).toBe(404);
    expect((await bob.ask('DELETE', location)).status).toBe(404);
  });

  test('unfinished uploads are bounded in number and in age', async () => {
    let now = Date.now();
    const scene = await Scene.open({ uploads: 3, uploadLife: 3600_000, wallClock: () => now });
    const { ask, create } = tus(scene);
    for (const name of ['a', 'b', 'c']) await create(name, 5);
    const fourth = await ask('POST', '/inbox/', { 'Upload-Length': '5', 'Upload-Metadata': `filename ${base64('d')}` });
    expect(fourth.status).toBe(503);
    now += 3601_000;
    await create('d', 5);
    expect(readdirSync(join(scene.inbox, '.tunnelwright-partial')).filter((name) => name.endsWith('.part'))).toHaveLength(1);
  });
});

describe('the file service of HTTP', () => {
  async function files(scene: Scene) {
    const http = new PeerHttp({ connect: scene.wire().connect, host: 'gw', idleTimeout: 10_000, timing: new TestTiming() });
    return async (method: string, target: string, headers: Record<string, string> = {}) => {
      const response = await http.request(method, target, { headers });
      return { status: response.status, headers: response.headers, text: await response.text() };
    };
  }

  test('ranges, validators and digests', async () => {
    const scene = await Scene.open();
    writeFileSync(join(scene.shared, 'x.txt'), 'hello world');
    const ask = await files(scene);
    const whole = await ask('GET', '/files/x.txt');
    expect(whole).toMatchObject({
      status: 200,
      text: 'hello world',
      headers: {
        'accept-ranges': 'bytes',
        'content-length': '11',
        'x-content-type-options': 'nosniff',
        'content-disposition': 'attachment',
      },
    });
    const tag = whole.headers.etag!;
    expect(await ask('GET', '/files/x.txt', { Range: 'bytes=6-' })).toMatchObject({
      status: 206,
      text: 'world',
      headers: { 'content-range': 'bytes 6-10/11' },
    });
    expect(await ask('GET', '/files/x.txt', { Range: 'bytes=-3' })).toMatchObject({ status: 206, text: 'rld' });
    expect(await ask('GET', '/files/x.txt', { Range: 'bytes=11-' })).toMatchObject({
      status: 416,
      headers: { 'content-range': 'bytes */11' },
    });
    expect(await ask('GET', '/files/x.txt', { Range: 'bytes=6-', 'If-Range': tag })).toMatchObject({ status: 206 });
    expect(await ask('GET', '/files/x.txt', { Range: 'bytes=6-', 'If-Range': '"other"' })).toMatchObject({
      status: 200,
      text: 'hello world',
    });
    expect(await ask('GET', '/files/x.txt', { 'If-None-Match': tag })).toMatchObject({ status: 304, text: '' });
    expect(await ask('GET', '/files/x.txt', { 'If-Match': '"other"' })).toMatchObject({ status: 412 });
    expect(await ask('HEAD', '/files/x.txt', { 'Want-Repr-Digest': 'sha-256=5' })).toMatchObject({
      status: 200,
      headers: { 'repr-digest': `sha-256=:${Buffer.from(sha256(Buffer.from('hello world')), 'hex').toString('base64')}:` },
    });
    expect((await ask('HEAD', '/files/x.txt', { 'Want-Repr-Digest': 'sha-256=0' })).headers['repr-digest']).toBeUndefined();
    writeFileSync(join(scene.shared, 'x.txt'), 'hello there');
    expect((await ask('HEAD', '/files/x.txt')).headers.etag).not.toBe(tag);
  });

  test('a change that hides behind an old time still changes the tag', async () => {
    const scene = await Scene.open();
    const path = join(scene.shared, 'x.txt');
    writeFileSync(path, 'one');
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    const ask = await files(scene);
    const before = (await ask('HEAD', '/files/x.txt')).headers.etag;
    writeFileSync(path, 'two');
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    expect((await ask('HEAD', '/files/x.txt')).headers.etag).not.toBe(before);
  });

  test.each(['/', '/etc/passwd', '/files', '/filesx', '/inbox', 'http://evil/files/x', '/files/../x', '/files/%2e%2e/x', '//files/x', '*'])(
    '%s is not served',
    async (target) => {
      const scene = await Scene.open();
      writeFileSync(join(scene.there, 'x'), 'outside');
      const answer = await (await files(scene))('GET', target);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.text).not.toContain('outside');
    },
  );

  test('other methods are not for files', async () => {
    const scene = await Scene.open();
    scene.share('x', 1);
    const ask = await files(scene);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
      expect(await ask(method, '/files/x')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  });

  test('noise on a connection harms nobody', async () => {
    const scene = await Scene.open();
    scene.share('x', 10);
    for (const noise of [
      '\u0000\u0001\u0002',
      'GET / HTTP/9.9\r\n\r\n',
      `GET /files/x HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(5000)}\r\n`,
      'POST /inbox/ HTTP/1.1\r\nContent-Length: -5\r\n\r\n',
      'PATCH',
    ]) {
      const stream = await scene.wire().connect();
      stream.on('error', () => {});
      stream.write(noise);
      await new Promise((resolve) => setTimeout(resolve, 5));
      stream.destroy();
    }
    expect((await (await files(scene))('GET', '/files/x')).status).toBe(200);
  });

  test('connections are bounded, and idle ones are closed', async () => {
    const scene = await Scene.open({ connections: 2 });
    const streams: Duplex[] = [];
    for (let i = 0; i < 3; i++) {
      const stream = await scene.wire().connect();
      stream.on('error', () => {});
      streams.push(stream);
    }
    const closed = (): readonly boolean[] => streams.map((stream) => stream.destroyed);
    await vi.waitFor(() => expect(closed()).toEqual([false, false, true]), PATIENCE);
    scene.timing.elapse();
    await vi.waitFor(() => expect(closed()).toEqual([true, true, true]), PATIENCE);
  });
});

describe('serve and receive', () => {
  const listener = () => new EventEmitter() as EventEmitter & { on(event: 'connection', listener: (stream: Duplex) => void): unknown };

  test('a server speaks on a listener’s connections until it is told to stop', async () => {
    const source = listener();
    const inbox = folder();
    const server = await FileServer.open({ inbox });
    const stop = server.serve(source);
    expect(source.listenerCount('connection')).toBe(1);
    stop();
    expect(source.listenerCount('connection')).toBe(0);
    server.serve(source);
    await server.close(0);
    expect(source.listenerCount('connection')).toBe(0);
  });

  test('who is at the other end is told by whoever hands over the listener', async () => {
    const source = listener();
    const stored: string[] = [];
    const server = await FileServer.open({ inbox: folder(), onEvent: (event) => event.kind === 'stored' && stored.push(event.peer) });
    server.serve(source, () => 'alice@example.com');
    const scene = await Scene.open();
    const wire = new Wire({ accept: (stream) => void source.emit('connection', stream), elapse: () => {} });
    await send({ connect: wire.connect, file: scene.file('x', 10).path, ...QUICK });
    expect(stored).toEqual(['alice@example.com']);
    await server.close(0);
  });

  /** A listener for `receive`, and how to reach it. */
  function doors() {
    let take: ((stream: Duplex, peer: string) => void) | undefined;
    const listen = (given: typeof take) => {
      take = given;
      return Promise.resolve(() => {
        take = undefined;
      });
    };
    const wire = new Wire({ accept: (stream) => take!(stream, 'alice'), elapse: () => {} });
    return { listen, wire, isOpen: () => take !== undefined };
  }

  test('receive ends after so many files, and each sender hears that all is well', async () => {
    const scene = await Scene.open();
    const { listen, wire, isOpen } = doors();
    const stored: string[] = [];
    const received = receive({
      listen,
      inbox: folder(),
      count: 2,
      onEvent: (event) => void (event.kind === 'stored' && stored.push(`${event.peer} ${event.file.path.join('/')}`)),
    });
    await vi.waitFor(() => expect(isOpen()).toBe(true), PATIENCE);
    for (const [name, size] of [
      ['one.txt', 1000],
      ['two.txt', 100_000],
    ] as const) {
      expect((await send({ connect: wire.connect, file: scene.file(name, size).path, ...QUICK })).retries).toBe(0);
    }
    expect(await received).toEqual({ files: 2, bytes: 101_000 });
    expect(stored).toEqual(['alice one.txt', 'alice two.txt']);
    expect(isOpen()).toBe(false);
  });

  test('a tree that has more than it was to wait for comes whole', async () => {
    const scene = await Scene.open();
    const { listen, wire, isOpen } = doors();
    const received = receive({ listen, inbox: folder(), count: 1 });
    await vi.waitFor(() => expect(isOpen()).toBe(true), PATIENCE);
    const files = ['a', 'b', 'c'].map((name) => scene.file(name, 100).path);
    expect(await sendTree({ connect: wire.connect, files, parallel: 1, ...QUICK })).toMatchObject({ files: 3, retries: 0 });
    expect(await received).toEqual({ files: 3, bytes: 300 });
  });

  test('or when the signal says so', async () => {
    const stop = new AbortController();
    const received = receive({ listen: doors().listen, inbox: folder(), signal: stop.signal });
    setTimeout(() => stop.abort(), 10);
    expect(await received).toEqual({ files: 0, bytes: 0 });
  });

  test('a folder that is missing, or nobody who could connect, is said at once', async () => {
    await expect(receive({ listen: doors().listen, inbox: '/nowhere/at/all' })).rejects.toMatchObject({ code: 'TRANSFER_NOT_FOUND' });
    const refused = receive({ listen: () => Promise.reject(new Error('no way')), inbox: folder() });
    await expect(refused).rejects.toThrow('no way');
  });
});
