import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BLOCK, joinedRanges } from '../../../src/product/transfer/blocks.ts';
import { get, send } from '../../../src/product/transfer/index.ts';
import { ONCE, QUICK, Scene, sha256 } from './scene.ts';
import { base64, tus } from './tus.ts';
import { Wire } from './wire.ts';

const SIZE = 2 * BLOCK + 100_000;
const SECOND = { start: BLOCK, end: 2 * BLOCK };

/** Turns one octet over in the only unfinished file of a folder. */
function damage(folder: string, at: number): void {
  const part = join(folder, readdirSync(folder).find((name) => name.endsWith('.part'))!);
  const octets = readFileSync(part);
  octets[at]! ^= 1;
  writeFileSync(part, octets);
}

const unfinished = (scene: Scene): string => join(scene.inbox, '.tunnelwright-partial');

describe('what was damaged is got again alone', () => {
  const got = (scene: Scene, wire: Wire, more = {}) =>
    get({ connect: wire.connect, from: { path: 'big' }, to: scene.here, ...QUICK, ...more });

  test('a block that changed on our disk, though connections break', async () => {
    const scene = await Scene.open();
    const data = scene.share('big', SIZE);
    await got(scene, scene.wire({ cutAfter: () => SIZE - 50_000 }), ONCE).catch(() => undefined);
    damage(scene.here, BLOCK + 7);
    let connections = 0;
    const wire = scene.wire({ cutAfter: () => (connections++ === 0 ? 600_000 : Number.POSITIVE_INFINITY) });
    const result = await got(scene, wire);
    expect(result).toMatchObject({ bytes: SIZE, verified: true, mended: [SECOND], retries: 1 });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(wire.bytes).toBeLessThan(BLOCK + 800_000);
  });

  test('of another version what is the same stays', async () => {
    const scene = await Scene.open();
    scene.share('big', SIZE);
    await got(scene, scene.wire({ cutAfter: () => SIZE - 50_000 }), ONCE).catch(() => undefined);
    const data = Buffer.concat([readFileSync(join(scene.shared, 'big')), Buffer.alloc(1000, 'more')]);
    data[BLOCK + 5]! ^= 1;
    writeFileSync(join(scene.shared, 'big'), data);
    const wire = scene.wire();
    const result = await got(scene, wire);
    expect(result).toMatchObject({ resumedFrom: BLOCK, mended: [] });
    expect(sha256(readFileSync(result.path))).toBe(sha256(data));
    expect(wire.bytes).toBeLessThan(BLOCK + 200_000);
  });

  test.each([
    ['none', 404, '', false],
    ['nonsense', 200, 'no digests\n'.repeat(20), false],
    ['too few', 200, `${'0'.repeat(64)}\n`, false],
    ['digests without end', 200, `${'0'.repeat(64)}\n`.repeat(100_000), true],
  ])('where the other end tells %s it is whole in the end, too', async (_what, status, text, mended) => {
    const content = new Uint8Array(BLOCK + 10);
    let right = false;
    const http = createServer((request, response) => {
      if (request.url!.startsWith('/blocks/')) {
        right = true;
        response.writeHead(status).end(text);
        return;
      }
      const [, start = 0, end = content.length - 1] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '')?.map(Number) ?? [];
      response
        .setHeader('ETag', '"1"')
        .setHeader('Accept-Ranges', 'bytes')
        .setHeader('Content-Length', end + 1 - start);
      response.setHeader('Repr-Digest', `sha-256=:${Buffer.from(sha256(content), 'hex').toString('base64')}:`);
      if (request.headers.range !== undefined) response.setHeader('Content-Range', `bytes ${start}-${end}/${content.length}`);
      response.writeHead(request.headers.range === undefined ? 200 : 206);
      response.end(request.method === 'HEAD' ? undefined : (right ? content : content.map(() => 1)).subarray(start, end + 1));
    });
    const wire = new Wire({ accept: (stream) => http.emit('connection', stream), elapse: () => undefined });
    const scene = await Scene.open();
    const result = await got(scene, wire);
    expect(result).toMatchObject({ verified: true, retries: mended ? 0 : 1, mended: mended ? [{ start: 0, end: BLOCK + 10 }] : [] });
    expect(sha256(readFileSync(result.path))).toBe(sha256(content));
  });
});

describe('what was damaged is sent again alone', () => {
  test('a block that changed on the disk over there, after its restart, though connections break', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big', SIZE);
    await send({ connect: scene.wire({ cutAfter: () => SIZE - 50_000 }).connect, file: path, ...ONCE }).catch(() => undefined);
    await scene.server.close(0);
    damage(unfinished(scene), BLOCK + 7);
    await scene.restart();
    let connections = 0;
    const wire = scene.wire({ cutAfter: () => (connections++ === 0 ? 600_000 : Number.POSITIVE_INFINITY) });
    const result = await send({ connect: wire.connect, file: path, ...QUICK });
    expect(result).toMatchObject({ bytes: SIZE, mended: [SECOND], retries: 1 });
    expect(sha256(scene.stored('big'))).toBe(sha256(data));
    expect(wire.bytes).toBeLessThan(BLOCK + 800_000);
  });

  test('when the sender was gone before it heard of it, too', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big', SIZE);
    await send({ connect: scene.wire({ cutAfter: () => SIZE - 50_000 }).connect, file: path, ...ONCE }).catch(() => undefined);
    await scene.server.close(0);
    damage(unfinished(scene), 7);
    await scene.restart();
    await send({ connect: scene.wire({ cutAfter: () => 51_000 }).connect, file: path, ...ONCE }).catch(() => undefined);
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result.mended).toEqual([{ start: 0, end: BLOCK }]);
    expect(sha256(scene.stored('big'))).toBe(sha256(data));
  });
});

describe('blocks of an upload', () => {
  async function damaged() {
    const scene = await Scene.open();
    const content = Buffer.alloc(BLOCK + 10, 'x');
    const client = tus(scene);
    const location = await client.create('f', content.length, `,sha256 ${base64(sha256(content))}`);
    const wrong = Buffer.from(content);
    wrong[BLOCK + 3]! ^= 1;
    expect((await client.patch(location, 0, wrong)).status).toBe(460);
    return { scene, content, wrong, location, ...client };
  }

  test('are told, taken one by one, and compared again when the file is announced again', async () => {
    const { scene, content, wrong, location, ask, patch, create } = await damaged();
    const told = await ask('GET', `${location}/blocks`);
    expect(told.text).toBe(`${sha256(wrong.subarray(0, BLOCK))}\n${sha256(wrong.subarray(BLOCK))}\n`);
    expect((await patch(location, BLOCK, content.subarray(BLOCK))).status).toBe(204);
    expect(await create('f', content.length, `,sha256 ${base64(sha256(content))}`)).toBe(location);
    expect(sha256(scene.stored('f'))).toBe(sha256(content));
    expect((await ask('GET', `${location}/blocks`)).status).toBe(405);
  });

  test.each([
    ['between blocks', 1, 10, 409],
    ['behind the end', 2 * BLOCK, 1, 409],
    ['more than a block', 0, BLOCK + 1, 400],
    ['more than the last block', BLOCK, 11, 400],
  ])('%s nothing is taken', async (_what, at, length, status) => {
    const { location, patch, ask } = await damaged();
    expect((await patch(location, at, new Uint8Array(length))).status).toBe(status);
    expect((await ask('HEAD', location)).status).toBe(460);
  });

  test('are nobody else’s, and nothing else is there', async () => {
    const { scene, location, ask } = await damaged();
    expect((await tus(scene, 'bob').ask('GET', `${location}/blocks`)).status).toBe(404);
    for (const path of [`${location}/`, `${location}/blocks/`, `${location}/other`]) expect((await ask('GET', path)).status).toBe(404);
    expect((await ask('PATCH', `${location}/blocks`)).status).toBe(405);
  });

  test('of a file that is shared', async () => {
    const scene = await Scene.open();
    const data = scene.share('a b', 1000);
    const { ask } = tus(scene);
    expect(await ask('GET', '/blocks/a%20b')).toMatchObject({ status: 200, text: `${sha256(data)}\n` });
    expect((await ask('GET', '/blocks/a%20b', { 'If-Match': '"other"' })).status).toBe(412);
    expect((await ask('GET', '/blocks/..%2fx')).status).toBe(400);
    expect((await ask('GET', '/blocks/')).status).toBe(404);
  });
});

test('blocks side by side are one range', () => {
  expect(joinedRanges([{ start: 0, end: 4 }, SECOND, { start: 2 * BLOCK, end: 2 * BLOCK + 1 }])).toEqual([
    { start: 0, end: 4 },
    { start: BLOCK, end: 2 * BLOCK + 1 },
  ]);
});
