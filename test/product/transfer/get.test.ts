import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { get, list } from '../../../src/product/transfer/index.ts';
import { failure, folder, ONCE, QUICK, Scene, sha256, TestTiming, tree } from './scene.ts';
import { Wire } from './wire.ts';

describe('get', () => {
  test('brings the file into a folder, under its name or another, for its owner alone', async () => {
    const scene = await Scene.open();
    const data = scene.share('docs/report.pdf', 300_000);
    const { connect } = scene.wire();
    const result = await get({ connect, from: { path: 'docs/report.pdf' }, to: scene.here, ...QUICK });
    expect(result).toMatchObject({
      path: join(scene.here, 'report.pdf'),
      bytes: 300_000,
      sha256: sha256(data),
      verified: true,
      resumedFrom: 0,
    });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(statSync(result.path).mode & 0o777).toBe(0o600);
    const other = await get({ connect, from: { path: '/docs/report.pdf' }, to: join(scene.here, 'new', 'name.pdf'), ...QUICK });
    expect(other.path).toBe(join(scene.here, 'new', 'name.pdf'));
    expect(tree(scene.here)).toEqual(['new/', 'new/name.pdf', 'report.pdf']);
  });

  test('strange names arrive as they are', async () => {
    const scene = await Scene.open();
    for (const name of ['ä ö.txt', '100%.txt', 'a?b#c.txt', '%2e%2e', '☃', 'quote\'".txt']) {
      const data = scene.share(name, 50);
      const result = await get({ connect: scene.wire().connect, from: { path: name }, to: scene.here, ...QUICK });
      expect(result.path).toBe(join(scene.here, name));
      expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    }
  });

  test('an empty file is a file', async () => {
    const scene = await Scene.open();
    scene.share('empty', 0);
    expect(await get({ connect: scene.wire().connect, from: { path: 'empty' }, to: scene.here, ...QUICK })).toMatchObject({
      bytes: 0,
      verified: true,
    });
  });

  test('what is there is replaced, kept beside, or in the way', async () => {
    const scene = await Scene.open();
    const data = scene.share('a.txt', 100);
    const got = (ifExists?: 'both' | 'replace' | 'refuse') =>
      get({ connect: scene.wire().connect, from: { path: 'a.txt' }, to: scene.here, ...(ifExists && { ifExists }), ...QUICK });
    writeFileSync(join(scene.here, 'a.txt'), 'old');
    expect((await got('both')).path).toBe(join(scene.here, 'a (1).txt'));
    expect((await failure(got('refuse'))).code).toBe('TRANSFER_EXISTS');
    expect(readFileSync(join(scene.here, 'a.txt'), 'utf8')).toBe('old');
    await got();
    expect(sha256(readFileSync(join(scene.here, 'a.txt')))).toBe(sha256(data));
  });

  test('the next run goes on where the last one ended', async () => {
    const scene = await Scene.open();
    const data = scene.share('big.bin', 500_000);
    const lost = await failure(
      get({ connect: scene.wire({ cutAfter: () => 300_000 }).connect, from: { path: 'big.bin' }, to: scene.here, ...ONCE }),
    );
    expect(lost).toMatchObject({ code: 'TRANSFER_INTERRUPTED', resumable: true });
    expect(lost.kept).toBeGreaterThan(200_000);
    const wire = scene.wire();
    const result = await get({ connect: wire.connect, from: { path: 'big.bin' }, to: scene.here, ...QUICK });
    expect(result.resumedFrom).toBe(lost.kept);
    expect(wire.bytes).toBeLessThan(500_000 - result.resumedFrom + 3000);
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(tree(scene.here)).toEqual(['big.bin']);
  });

  test('a file that changed over there is got anew, and the old part goes', async () => {
    const scene = await Scene.open();
    scene.share('big.bin', 500_000, 'old');
    await failure(get({ connect: scene.wire({ cutAfter: () => 300_000 }).connect, from: { path: 'big.bin' }, to: scene.here, ...ONCE }));
    const data = scene.share('big.bin', 500_000, 'new');
    const result = await get({ connect: scene.wire().connect, from: { path: 'big.bin' }, to: scene.here, ...QUICK });
    expect(result.resumedFrom).toBe(0);
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(tree(scene.here)).toEqual(['big.bin']);
  });

  test('a file that changes over there in the middle: begun again with the new one', async () => {
    const scene = await Scene.open();
    scene.share('big.bin', 500_000, 'old');
    let data: Uint8Array = new Uint8Array(0);
    let connections = 0;
    const wire = scene.wire({ cutAfter: () => (connections++ === 0 ? 200_000 : Number.POSITIVE_INFINITY) });
    const result = await get({
      connect: () => {
        if (connections === 1) data = scene.share('big.bin', 400_000, 'new');
        return wire.connect();
      },
      from: { path: 'big.bin' },
      to: scene.here,
      ...QUICK,
    });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(tree(scene.here)).toEqual(['big.bin']);
  });

  test('a file that never stands still is given up with a reason', async () => {
    const scene = await Scene.open();
    scene.share('log', 300_000);
    const wire = scene.wire({ cutAfter: () => 100_000 });
    const error = await failure(
      get({
        connect: () => {
          appendFileSync(join(scene.shared, 'log'), 'one more line\n');
          return wire.connect();
        },
        from: { path: 'log' },
        to: scene.here,
        ...QUICK,
      }),
    );
    expect(error).toMatchObject({ code: 'TRANSFER_FILE_CHANGED', side: 'there' });
    expect(tree(scene.here)).toEqual([]);
  });

  test('a part that was damaged here in between is noticed, and mended', async () => {
    const scene = await Scene.open();
    const data = scene.share('big.bin', 500_000);
    await failure(get({ connect: scene.wire({ cutAfter: () => 300_000 }).connect, from: { path: 'big.bin' }, to: scene.here, ...ONCE }));
    const part = join(scene.here, readdirSync(scene.here)[0]!);
    const damaged = readFileSync(part);
    damaged[1000]! ^= 1;
    writeFileSync(part, damaged);
    const result = await get({ connect: scene.wire().connect, from: { path: 'big.bin' }, to: scene.here, ...QUICK });
    expect(result).toMatchObject({ retries: 0, mended: [{ start: 0, end: 500_000 }] });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
  });

  test('what is not there, not a file, or a way out', async () => {
    const scene = await Scene.open();
    scene.share('docs/a.txt', 10);
    const outside = folder();
    writeFileSync(join(outside, 'secret'), 'secret');
    symlinkSync(join(outside, 'secret'), join(scene.shared, 'link'));
    for (const [path, code] of [
      ['missing', 'TRANSFER_NOT_FOUND'],
      ['docs', 'TRANSFER_NOT_A_FILE'],
      ['link', 'TRANSFER_FORBIDDEN'],
      ['../inbox/x', 'TRANSFER_BAD_PATH'],
    ] as const) {
      const error = await failure(get({ connect: scene.wire().connect, from: { path }, to: scene.here, ...QUICK }));
      expect(error.code, path).toBe(code);
      expect(error.message).not.toContain(scene.there);
      expect(error.message).not.toContain(outside);
    }
    expect(tree(scene.here)).toEqual([]);
  });

  test('a place that cannot be written is said before anything is asked', async () => {
    const scene = await Scene.open();
    scene.share('a.txt', 10);
    writeFileSync(join(scene.here, 'occupied'), '');
    const wire = scene.wire();
    const error = await failure(
      get({ connect: wire.connect, from: { path: 'a.txt' }, to: join(scene.here, 'occupied', 'a.txt'), ...QUICK }),
    );
    expect(error.side).toBe('here');
    expect(wire.connections).toBe(0);
  });
});

describe('get from any HTTP server', () => {
  const DATA = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7919) & 0xff));

  function foreign(handle: (request: IncomingMessage, response: ServerResponse) => void) {
    const server = createServer(handle);
    return (cutAfter?: () => number | undefined) =>
      new Wire({
        accept: (stream) => void server.emit('connection', stream),
        elapse: new TestTiming().elapse,
        ...(cutAfter && { cutAfter }),
      });
  }

  test('with ranges and a strong tag: resumed, but nobody vouches for the digest', async () => {
    const here = folder();
    const wire = foreign((request, response) => {
      response.setHeader('ETag', '"v1"');
      const start = Number(request.headers.range?.match(/^bytes=(\d+)-$/)?.[1] ?? 0);
      if (start > 0) response.setHeader('Content-Range', `bytes ${start}-${DATA.length - 1}/${DATA.length}`);
      response.writeHead(start > 0 ? 206 : 200, { 'Content-Length': DATA.length - start });
      response.end(request.method === 'HEAD' ? undefined : DATA.subarray(start));
    });
    const cuts = [60_000, 60_000];
    const result = await get({
      connect: wire(() => cuts.shift()).connect,
      from: { url: '/some/where/file.iso?token=1', name: 'file.iso' },
      to: here,
      ...QUICK,
    });
    expect(result).toMatchObject({
      path: join(here, 'file.iso'),
      verified: false,
      retries: 2,
      sha256: createHash('sha256').update(DATA).digest('hex'),
    });
    expect(readFileSync(result.path).equals(DATA)).toBe(true);
  });

  test('without ranges: from the start each time, and right in the end', async () => {
    const here = folder();
    const wire = foreign((request, response) => {
      response.writeHead(200, { 'Content-Length': DATA.length, ETag: '"v1"' });
      response.end(request.method === 'HEAD' ? undefined : DATA);
    });
    const cuts = [60_000];
    const result = await get({
      connect: wire(() => cuts.shift()).connect,
      from: { url: '/file.iso', name: 'file.iso' },
      to: here,
      ...QUICK,
    });
    expect(result.retries).toBe(1);
    expect(readFileSync(result.path).equals(DATA)).toBe(true);
  });

  test('one that lies about lengths or ranges does not get a file stored', async () => {
    const lies: ((request: IncomingMessage, response: ServerResponse) => void)[] = [
      (request, response) => {
        response.writeHead(200, { 'Content-Length': request.method === 'HEAD' ? 100 : 150, ETag: '"x"' });
        response.end(request.method === 'HEAD' ? undefined : DATA.subarray(0, 150));
      },
      (_request, response) => response.writeHead(200).end(),
      (_request, response) => response.writeHead(418, { 'Content-Length': 0 }).end(),
      (request, response) => {
        response.writeHead(request.method === 'HEAD' ? 200 : 206, {
          'Content-Length': 100,
          'Content-Range': 'bytes 50-149/150',
          ETag: '"x"',
        });
        response.end(request.method === 'HEAD' ? undefined : DATA.subarray(0, 100));
      },
    ];
    for (const lie of lies) {
      const here = folder();
      const error = await failure(get({ connect: foreign(lie)().connect, from: { url: '/file', name: 'file' }, to: here, ...QUICK }));
      expect(error.code).toBe('TRANSFER_PROTOCOL');
      expect(readdirSync(here)).not.toContain('file');
    }
  });
});

describe('list', () => {
  test('names, kinds, sizes and times; neither links nor unfinished files', async () => {
    const scene = await Scene.open();
    scene.share('b.txt', 20);
    scene.share('docs/a.txt', 10);
    utimesSync(join(scene.shared, 'b.txt'), 1_700_000_000, 1_700_000_000);
    symlinkSync('/etc/passwd', join(scene.shared, 'link'));
    mkdirSync(join(scene.shared, '.tunnelwright-partial'));
    const { connect } = scene.wire();
    const entries = await list({ connect });
    expect(entries.map(({ name, kind, size }) => [name, kind, size])).toEqual([
      ['b.txt', 'file', 20],
      ['docs', 'folder', 0],
    ]);
    expect(entries[0]!.modified).toBe(1_700_000_000_000);
    expect((await list({ connect, path: 'docs' })).map((entry) => entry.name)).toEqual(['a.txt']);
    expect((await list({ connect, path: '/docs/' })).map((entry) => entry.name)).toEqual(['a.txt']);
    rmSync(join(scene.shared, 'docs', 'a.txt'));
    expect(await list({ connect, path: 'docs' })).toEqual([]);
  });

  test('what is not a folder, and what leads out', async () => {
    const scene = await Scene.open();
    scene.share('a.txt', 1);
    symlinkSync('/etc', join(scene.shared, 'etc'));
    const { connect } = scene.wire();
    expect((await failure(list({ connect, path: 'a.txt' }))).code).toBe('TRANSFER_NOT_FOUND');
    expect((await failure(list({ connect, path: 'none' }))).code).toBe('TRANSFER_NOT_FOUND');
    expect((await failure(list({ connect, path: 'etc' }))).code).toBe('TRANSFER_FORBIDDEN');
  });
});
