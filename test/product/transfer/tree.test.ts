import fs, {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { getTree, sendTree, type TransferProgress } from '../../../src/product/transfer/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { failure, folder, ONCE, PATIENCE, QUICK, Scene, sha256 } from './scene.ts';
import { cutBetween, Wire } from './wire.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

const LARGE = 300 * 1024;

/** A tree with one of everything that travels; times in the past, so that a new one shows. */
function plant(root: string): void {
  const random = new SeededRandom('tree');
  mkdirSync(join(root, 'a', 'deep', 'deeper'), { recursive: true });
  mkdirSync(join(root, 'empty'), { mode: 0o750 });
  writeFileSync(join(root, 'a', 'run.sh'), '#!/bin/sh\n');
  chmodSync(join(root, 'a', 'run.sh'), 0o6751);
  writeFileSync(join(root, 'a', 'deep', 'nothing'), '');
  writeFileSync(join(root, 'a', 'deep', 'deeper', 'ä ☃.bin'), random.bytes(5000));
  writeFileSync(join(root, 'large.bin'), random.bytes(LARGE));
  chmodSync(join(root, 'large.bin'), 0o640);
  symlinkSync('deep/deeper', join(root, 'a', 'short'));
  symlinkSync('../large.bin', join(root, 'a', 'up'));
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort().reverse();
  for (const [i, name] of all.entries())
    if (!lstatSync(join(root, name)).isSymbolicLink()) utimesSync(join(root, name), 1_600_000_000 + i, 1_600_000_000.25 + i);
  utimesSync(root, 1_500_000_000, 1_500_000_000);
}

/** Everything that is to be the same at the other end. */
function describeTree(root: string): Record<string, unknown> {
  const umask = process.umask();
  const of = (name: string): unknown => {
    const path = join(root, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) return readlinkSync(path);
    const facts = { mode: (stat.mode & 0o777 & ~umask).toString(8), modified: Math.floor(stat.mtimeMs + 0.001) };
    return stat.isDirectory() ? facts : { ...facts, sha256: sha256(readFileSync(path)) };
  };
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return Object.fromEntries(['', ...names.filter((name) => !name.startsWith('.tunnelwright'))].sort().map((name) => [name, of(name)]));
}

/** A tree of many small files, and one in two hundred larger. */
function plantMany(root: string, count: number): void {
  const random = new SeededRandom('many');
  for (let i = 0; i < count; i++) {
    if (i % 50 === 0) mkdirSync(join(root, `d${i / 50}`), { recursive: true });
    writeFileSync(join(root, `d${Math.floor(i / 50)}`, `f${i}`), random.bytes(i % 200 === 0 ? LARGE : random.between(0, 2000)));
  }
}

describe('sendTree', () => {
  test('a folder arrives as it is: permissions, times, links, what is empty', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'photos');
    mkdirSync(root);
    plant(root);
    const progress: TransferProgress[] = [];
    const result = await sendTree({ connect: scene.wire().connect, files: [root], onProgress: (one) => progress.push(one), ...QUICK });
    expect(describeTree(join(scene.inbox, 'photos'))).toEqual(describeTree(root));
    expect(lstatSync(join(scene.inbox, 'photos', 'a', 'run.sh')).mode & 0o7000, 'set-user-id stays behind').toBe(0);
    expect(result).toMatchObject({ files: 6, bytes: 5010 + LARGE, known: { files: 0, bytes: 0 }, skippedCount: 0, retries: 0 });
    expect(progress.at(-1)).toMatchObject({ phase: 'done', bytes: 5010 + LARGE, total: 5010 + LARGE, files: { done: 6, total: 6 } });
    expect(scene.events.filter(({ kind }) => kind === 'unpacked' || kind === 'stored')).toHaveLength(2);
  });

  test.each([
    ['', 'photos'],
    ['2026/', '2026/photos'],
    ['inbox/2026', '2026'],
  ])('to %j the folder becomes %s', async (to, becomes) => {
    const scene = await Scene.open();
    const root = join(scene.here, 'photos');
    mkdirSync(root);
    writeFileSync(join(root, 'one'), '1');
    await sendTree({ connect: scene.wire().connect, files: [`${root}/`], to, ...QUICK });
    expect(readFileSync(join(scene.inbox, becomes, 'one'), 'utf8')).toBe('1');
  });

  test('files and folders together', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'photos');
    mkdirSync(root);
    writeFileSync(join(root, 'one'), '1');
    const { path } = scene.file('two', 10);
    const result = await sendTree({ connect: scene.wire().connect, files: [root, path], to: 'x/', ...QUICK });
    expect(result.files).toBe(2);
    expect(readdirSync(join(scene.inbox, 'x')).sort()).toEqual(['photos', 'two']);
  });

  test('what is there already is not sent again; what changed is, and takes nobody’s name', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'photos');
    mkdirSync(root);
    plant(root);
    const sent = (wire = scene.wire()) => sendTree({ connect: wire.connect, files: [root], ...QUICK });
    await sent();
    const wire = scene.wire();
    expect(await sent(wire)).toMatchObject({ files: 6, known: { files: 6, bytes: 5010 + LARGE } });
    expect(wire.bytes).toBeLessThan(6000);
    writeFileSync(join(root, 'a', 'run.sh'), 'changed');
    expect(await sent()).toMatchObject({ files: 6, known: { files: 5 } });
    expect(readFileSync(join(scene.inbox, 'photos', 'a', 'run (1).sh'), 'utf8')).toBe('changed');
    expect(readFileSync(join(scene.inbox, 'photos', 'a', 'run.sh'), 'utf8')).toBe('#!/bin/sh\n');
    expect(await sent(), 'the numbered one is found again').toMatchObject({ known: { files: 6 } });
  });

  test('replace and refuse', async () => {
    const scene = await Scene.open({ ifExists: 'replace' });
    const root = join(scene.here, 'd');
    mkdirSync(root);
    const sent = () => sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    writeFileSync(join(root, 'f'), 'one');
    symlinkSync('f', join(root, 'l'));
    await sent();
    writeFileSync(join(root, 'f'), 'three');
    await sent();
    expect(readFileSync(join(scene.inbox, 'd', 'f'), 'utf8')).toBe('three');
    await scene.restart({ ifExists: 'refuse' });
    writeFileSync(join(root, 'f'), 'seven!');
    expect(await sent()).toMatchObject({
      files: 1,
      skippedCount: 1,
      skipped: [{ name: 'd/f', why: 'exists already (says the other end)' }],
    });
    expect(readFileSync(join(scene.inbox, 'd', 'f'), 'utf8')).toBe('three');
  });

  test('what cannot travel is named, with the reason; everything else arrives', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'odd');
    mkdirSync(join(root, 'in'), { recursive: true });
    writeFileSync(join(root, 'in', 'fine'), 'fine');
    writeFileSync(join(root, 'two\nlines'), '');
    writeFileSync(join(root, 'back\\slash'), '');
    writeFileSync(Uint8Array.from([...new TextEncoder().encode(`${root}/bad`), 0xff]) as Buffer, '');
    symlinkSync('/etc/passwd', join(root, 'absolute'));
    symlinkSync('../../x', join(root, 'in', 'out'));
    symlinkSync('../in/../../x', join(root, 'in', 'crooked'));
    mkdirSync(join(root, '.tunnelwright-partial'));
    const { files, skipped, skippedCount } = await sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    expect([files, skippedCount]).toEqual([1, 7]);
    expect(Object.fromEntries(skipped.map(({ name, why }) => [name, why]))).toEqual({
      'odd/.tunnelwright-partial': 'the name is reserved',
      'odd/absolute': 'is a symbolic link that leads out of what is sent',
      'odd/back\\slash': 'it has a backslash in it',
      'odd/bad\ufffd': 'its name is not UTF-8',
      'odd/in/crooked': 'is a symbolic link that leads out of what is sent',
      'odd/in/out': 'is a symbolic link that leads out of what is sent',
      'odd/two\nlines': 'it has control characters in it',
    });
    expect(readdirSync(join(scene.inbox, 'odd'))).toEqual(['in']);
  });

  test('connections that break again and again: it arrives whole', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'many');
    plantMany(root, 400);
    const random = new SeededRandom('cuts');
    const kinds = ['reset', 'client only', 'silence'] as const;
    const { timing } = scene;
    const wire = scene.wire({ cutAfter: cutBetween(random, 50_000, 250_000), kind: () => kinds[random.between(0, 2)]! });
    const result = await sendTree({ connect: wire.connect, files: [root], timing, ...QUICK });
    expect(wire.cuts).toBeGreaterThan(2);
    expect(result).toMatchObject({ files: 400, skippedCount: 0, known: { files: 0, bytes: 0 } });
    expect(describeTree(join(scene.inbox, 'many'))).toEqual(describeTree(root));
  });

  test('stopped in the middle, the same call goes on: what was whole is not sent again', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'many');
    plantMany(root, 1100);
    const stop = new AbortController();
    const first = sendTree({ connect: scene.wire().connect, files: [root], parallel: 1, signal: stop.signal, ...QUICK });
    await vi.waitFor(() => expect(scene.events.some(({ kind }) => kind === 'unpacked')).toBe(true), PATIENCE);
    stop.abort();
    const stopped = await failure(first);
    expect([stopped.code, stopped.resumable]).toEqual(['TRANSFER_ABORTED', true]);
    const result = await sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    expect(result.known.files).toBeGreaterThan(100);
    expect(describeTree(join(scene.inbox, 'many'))).toEqual(describeTree(root));
  });

  test('a connection that breaks over the last words: folders get their times all the same', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'd');
    mkdirSync(join(root, 'inner'), { recursive: true });
    for (const path of [join(root, 'inner'), root]) utimesSync(path, 1_500_000_000, 1_500_000_000);
    // a tree without files: what is missing, the folders, and the folders once more for their times
    let packs = 0;
    const spoil = (segment: Uint8Array): void => {
      if (!new TextDecoder().decode(segment).includes('POST /packs/in') || ++packs !== 2) return;
      segment.fill(0);
    };
    const result = await sendTree({ connect: scene.wire({ spoil }).connect, files: [root], parallel: 1, ...QUICK });
    expect(packs).toBeGreaterThan(2);
    expect(result.retries).toBe(1);
    expect(describeTree(join(scene.inbox, 'd'))).toEqual(describeTree(root));
  });

  test('what was spoiled on its way is sent once more', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'd');
    mkdirSync(root);
    for (let i = 0; i < 20; i++) writeFileSync(join(root, `f${i}`), '\u0007'.repeat(1000));
    let spoiled = 0;
    const spoil = (segment: Uint8Array): void => {
      const at = segment.indexOf(7);
      if (at < 0 || spoiled > 0) return;
      spoiled++;
      segment[at] = 8;
    };
    const result = await sendTree({ connect: scene.wire({ spoil }).connect, files: [root], ...QUICK });
    expect([spoiled, result.retries, result.files]).toEqual([1, 1, 20]);
    expect(describeTree(join(scene.inbox, 'd'))).toEqual(describeTree(root));
  });

  test('a full disk ends it, and what is stored stays; with room the same call goes on', async () => {
    const scene = await Scene.open();
    const root = join(scene.here, 'd');
    mkdirSync(root);
    for (let i = 0; i < 50; i++) writeFileSync(join(root, `f${i}`), `${i}`);
    const { writeSync } = fs;
    let writes = 0;
    vi.spyOn(fs, 'writeSync').mockImplementation(((...args: Parameters<typeof writeSync>) => {
      if (++writes > 20) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      return writeSync(...args);
    }) as typeof writeSync);
    syncBuiltinESMExports();
    const full = await failure(sendTree({ connect: scene.wire().connect, files: [root], ...ONCE }));
    expect([full.code, full.resumable, full.side]).toEqual(['TRANSFER_DISK_FULL', true, 'there']);
    vi.restoreAllMocks();
    syncBuiltinESMExports();
    const result = await sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    expect([result.files, result.known.files]).toEqual([50, 20]);
    expect(readdirSync(join(scene.inbox, '.tunnelwright-partial')), 'nothing is left behind').toEqual([]);
  });

  test('a tus server that knows no packs gets file after file', async () => {
    const stored = new Map<string, string>();
    const names: string[] = [];
    const http = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      if (request.method === 'POST' && request.url === '/inbox/') {
        const metadata = String(request.headers['upload-metadata']);
        names.push(atob(metadata.match(/filename ([^,]+)/)![1]!));
        response.writeHead(201, { Location: `/inbox/${names.length - 1}`, 'Content-Length': 0 }).end();
      } else if (request.method === 'HEAD') response.writeHead(200, { 'Upload-Offset': 0, 'Content-Length': 0 }).end();
      else if (request.method === 'PATCH') {
        stored.set(names[Number(request.url!.slice(7))]!, body);
        response.writeHead(204, { 'Upload-Offset': body.length }).end();
      } else response.writeHead(404, { 'Content-Length': 0 }).end();
    });
    const wire = new Wire({ accept: (stream) => http.emit('connection', stream), elapse: () => undefined });
    const root = join(folder(), 'd');
    mkdirSync(join(root, 'e'), { recursive: true });
    writeFileSync(join(root, 'e', 'one'), '1');
    writeFileSync(join(root, 'two'), '22');
    symlinkSync('two', join(root, 'link'));
    const result = await sendTree({ connect: wire.connect, files: [root], ...ONCE });
    expect(Object.fromEntries(stored)).toEqual({ 'd/e/one': '1', 'd/two': '22' });
    expect(result).toMatchObject({ files: 2, skipped: [{ name: 'd/link' }] });
  });
});

describe('getTree', () => {
  test('a folder comes as it is, and a second time not at all', async () => {
    const scene = await Scene.open();
    mkdirSync(join(scene.shared, 'photos'));
    plant(join(scene.shared, 'photos'));
    const got = (wire = scene.wire()) => getTree({ connect: wire.connect, from: 'photos', to: scene.here, ...QUICK });
    expect(await got()).toMatchObject({ files: 6, bytes: 5010 + LARGE, skippedCount: 0, path: join(scene.here, 'photos') });
    const theirs = describeTree(join(scene.shared, 'photos'));
    const ours = describeTree(join(scene.here, 'photos'));
    // The folder that was asked for is ours: we made it, or had it.
    for (const tree of [theirs, ours]) delete tree[''];
    expect(ours).toEqual(theirs);
    const wire = scene.wire();
    expect(await got(wire)).toMatchObject({ files: 6, known: { files: 6 } });
    expect(wire.bytes).toBeLessThan(12_000);
    expect(readdirSync(join(scene.here, 'photos')).sort()).toEqual(['a', 'empty', 'large.bin']);
  });

  test('all that is shared, under another name, over connections that break', async () => {
    const scene = await Scene.open();
    plantMany(scene.shared, 300);
    const random = new SeededRandom('get cuts');
    const wire = scene.wire({ cutAfter: cutBetween(random, 50_000, 250_000) });
    const result = await getTree({ connect: wire.connect, from: '', to: join(scene.here, 'mine'), ...QUICK });
    expect(wire.cuts).toBeGreaterThan(1);
    expect(result).toMatchObject({ files: 300, skippedCount: 0 });
    const [theirs, ours] = [describeTree(scene.shared), describeTree(join(scene.here, 'mine'))];
    for (const tree of [theirs, ours]) delete tree[''];
    expect(ours).toEqual(theirs);
  });

  test.each([
    ['a name with a slash', { name: '../x', kind: 'file', size: 1, modified: 1, mode: 0o644 }, '../x: this name is not accepted'],
    ['..', { name: '..', kind: 'folder', size: 0, modified: 1, mode: 0o755 }, '..: this name is not accepted'],
    ['a link that leads out', { name: 'l', kind: 'link', target: '../../x' }, 'l: is a symbolic link that leads out of what is sent'],
    [
      'a size that is none',
      { name: 'f', kind: 'file', size: -1, modified: 1, mode: 0o644 },
      'f: what came describes no file, folder or link',
    ],
  ])('a hostile list, %s: left out, and said', async (_what, entry, said) => {
    const http = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ entries: [entry] }));
    });
    const wire = new Wire({ accept: (stream) => http.emit('connection', stream), elapse: () => undefined });
    const here = folder();
    const { files, skipped } = await getTree({ connect: wire.connect, from: 'd', to: join(here, 'd'), ...ONCE });
    expect([files, skipped.map(({ name, why }) => `${name}: ${why}`)]).toEqual([0, [said]]);
    expect(readdirSync(here, { recursive: true })).toEqual(['d']);
  });

  test('a pack with what nobody asked for is refused, and nothing of it stored', async () => {
    const listing = JSON.stringify({ entries: [{ name: 'f', kind: 'file', size: 1, modified: 1, mode: 0o644 }] });
    const other = { kind: 'file', path: 'd/g', size: 1, modified: 1, mode: 0o644, sha256: sha256(new TextEncoder().encode('x')) };
    const http = createServer((request, response) => {
      if (request.method === 'GET') response.writeHead(200, { 'Content-Type': 'application/json' }).end(listing);
      else response.writeHead(200, { 'Content-Type': 'application/vnd.tunnelwright.pack' }).end(`${JSON.stringify(other)}\nx`);
    });
    const wire = new Wire({ accept: (stream) => http.emit('connection', stream), elapse: () => undefined });
    const here = folder();
    const refused = await failure(getTree({ connect: wire.connect, from: 'd', to: join(here, 'd'), ...ONCE }));
    expect([refused.code, refused.side]).toEqual(['TRANSFER_PROTOCOL', 'there']);
    expect(existsSync(join(here, 'd', 'g'))).toBe(false);
  });
});
