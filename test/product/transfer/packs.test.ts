import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { PeerHttp } from '../../../src/product/transfer/peer-http.ts';
import { LARGEST_PACKED, MOST_PACKED, PackReader, PackWriter } from '../../../src/product/transfer/tree/pack.ts';
import { PinnedFolders } from '../../../src/product/transfer/tree/pinned-folders.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { folder, Scene, sha256, TestTiming, tree } from './scene.ts';

/** Speaks as nobody of us would. */
async function ask(scene: Scene, what: string, body: string): Promise<{ status: number; answer: Record<string, unknown> }> {
  const http = new PeerHttp({ connect: scene.wire().connect, host: 'gw', idleTimeout: 10_000, timing: new TestTiming() });
  const response = await http.request('POST', `/packs/${what}`, { body: utf8(body) });
  const text = await response.text();
  http.close();
  return { status: response.status, answer: text === '' ? {} : JSON.parse(text) };
}

const file = (path: string, content = 'x', more: object = {}): string =>
  `${JSON.stringify({ kind: 'file', path, size: content.length, modified: 1000, mode: 0o644, sha256: sha256(utf8(content)), ...more })}\n${content}`;

describe('a pack from a hostile peer', () => {
  test.each([
    ['a path that leaves', file('../x'), 400, 'TRANSFER_BAD_PATH'],
    ['an absolute path', file('/etc/x'), 400, 'TRANSFER_BAD_PATH'],
    ['our own folder', file('.tunnelwright-partial/x'), 400, 'TRANSFER_BAD_PATH'],
    ['NUL in a name', file('a\0b'), 400, 'TRANSFER_BAD_PATH'],
    ['half a surrogate pair', file('a\ud800'), 400, 'TRANSFER_BAD_PATH'],
    ['65 folders deep', file(`${'a/'.repeat(64)}b`), 400, 'TRANSFER_BAD_PATH'],
    ['no path at all', file(''), 400, 'TRANSFER_BAD_REQUEST'],
    ['a link that leaves', '{"kind":"link","path":"a/l","target":"../../x"}\n', 403, 'TRANSFER_FORBIDDEN'],
    ['an absolute link', '{"kind":"link","path":"l","target":"/etc/passwd"}\n', 403, 'TRANSFER_FORBIDDEN'],
    ['a link that turns round behind a name', '{"kind":"link","path":"a/l","target":"b/../../x"}\n', 403, 'TRANSFER_FORBIDDEN'],
    ['a device', '{"kind":"device","path":"d","modified":0,"mode":0}\n', 400, 'TRANSFER_BAD_REQUEST'],
    ['a size below 0', file('f', 'x', { size: -1 }), 400, 'TRANSFER_BAD_REQUEST'],
    ['a size beyond the largest', file('f', 'x', { size: LARGEST_PACKED + 1 }), 413, 'TRANSFER_TOO_LARGE'],
    ['a wrong digest', file('f', 'x', { sha256: sha256(utf8('y')) }), 460, 'TRANSFER_DIGEST_MISMATCH'],
    ['no digest', file('f', 'x', { sha256: undefined }), 460, 'TRANSFER_DIGEST_MISMATCH'],
    ['an end in the middle of a file', file('f', 'xy').slice(0, -1), 400, 'TRANSFER_BAD_REQUEST'],
    ['an end in the middle of a line', '{"kind":', 400, 'TRANSFER_BAD_REQUEST'],
    ['no JSON', 'hello\n', 400, 'TRANSFER_BAD_REQUEST'],
    ['JSON that is nothing', 'null\n', 400, 'TRANSFER_BAD_REQUEST'],
    ['a line without end', ' '.repeat(40_000), 413, 'TRANSFER_TOO_LARGE'],
    ['a refusal', '{"kind":"refusal","path":"f","code":"c","message":"m"}\n', 400, 'TRANSFER_BAD_REQUEST'],
  ])('%s is refused, and nothing is stored', async (_what, body, status, code) => {
    const scene = await Scene.open();
    expect(await ask(scene, 'in', body)).toMatchObject({ status, answer: { code } });
    expect(tree(scene.there)).toEqual(['inbox/', 'inbox/.tunnelwright-partial/', 'shared/']);
  });

  test('too many entries, to store or to ask for', async () => {
    const scene = await Scene.open();
    const links = '{"kind":"folder","path":"a","modified":0,"mode":448}\n'.repeat(MOST_PACKED + 1);
    for (const what of ['in', 'missing'])
      expect(await ask(scene, what, links)).toMatchObject({ status: 413, answer: { code: 'TRANSFER_TOO_LARGE' } });
    expect((await ask(scene, 'out', '{"path":"a"}\n'.repeat(MOST_PACKED + 1))).status).toBe(413);
  });

  test('a folder that is a link is not gone through, here or there', async () => {
    const scene = await Scene.open();
    const outside = folder();
    writeFileSync(join(outside, 'secret'), 'secret');
    for (const root of [scene.inbox, scene.shared]) symlinkSync(outside, join(root, 'out'));
    symlinkSync(join(outside, 'secret'), join(scene.shared, 'secret'));
    const { answer } = await ask(scene, 'in', file('out/f') + file('fine'));
    expect(answer).toMatchObject({ refused: [{ index: 0, code: 'TRANSFER_FORBIDDEN' }] });
    expect(readdirSync(outside)).toEqual(['secret']);
    expect(existsSync(join(scene.inbox, 'fine')), 'one that is refused is no harm to the others').toBe(true);
    const http = new PeerHttp({ connect: scene.wire().connect, host: 'gw', idleTimeout: 10_000, timing: new TestTiming() });
    const body = utf8('{"path":"out/secret"}\n{"path":"secret"}\n{"path":"nothing"}\n');
    const text = await (await http.request('POST', '/packs/out', { body })).text();
    const told = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { path: string; code: string });
    expect(Object.fromEntries(told.map(({ path, code }) => [path, code]))).toEqual({
      'out/secret': 'TRANSFER_FORBIDDEN',
      secret: 'TRANSFER_FORBIDDEN',
      nothing: 'TRANSFER_NOT_FOUND',
    });
    http.close();
  });

  test.each(['in', 'missing', 'out'])('/packs/%s is for those who may', async (what) => {
    const scene = await Scene.open({ folder: undefined, inbox: undefined });
    expect((await ask(scene, what, '')).status).toBe(404);
  });
});

describe('PackReader', () => {
  test.each([1, 7, 1000, 65_536, 1_000_000])('in pieces of %d octets a pack is the same', (size) => {
    const random = new SeededRandom('pack');
    const writer = new PackWriter();
    writer.add({ kind: 'folder', path: ['d'], modified: 1, mode: 0o755 });
    writer.add({ kind: 'link', path: ['d', 'l'], target: 'f0' });
    const contents = [0, 1, 300, 70_000, 2].map((length) => random.bytes(length));
    for (const [i, content] of contents.entries())
      writer.add({ kind: 'file', path: ['d', `f${i}`], size: content.length, modified: i, mode: 0o644 }, content);
    const pack = writer.written();
    const reader = new PackReader();
    const read: string[] = [];
    for (let at = 0; at < pack.length; at += size) {
      for (const item of reader.read(pack.subarray(at, at + size)))
        if ('entry' in item) read.push(`${item.entry.kind} ${item.entry.path.join('/')} ${item.content && sha256(item.content)}`);
    }
    reader.end();
    const files = contents.map((content, i) => `file d/f${i} ${sha256(content)}`);
    expect(read).toEqual(['folder d undefined', 'link d/l undefined', ...files]);
  });
});

describe('PinnedFolders', () => {
  test('a folder that is exchanged for a link while it is worked in: the work stays in the folder', async () => {
    const [root, outside] = [folder(), folder()];
    mkdirSync(join(root, 'd'));
    const folders = new PinnedFolders(root);
    folders.within(['d'], undefined, (path) => {
      renameSync(join(root, 'd'), join(root, 'moved'));
      symlinkSync(outside, join(root, 'd'));
      writeFileSync(join(path, 'f'), 'f');
    });
    expect(await readFile(join(root, 'moved', 'f'), 'utf8')).toBe('f');
    expect(readdirSync(outside)).toEqual([]);
    folders.close();
    expect(() => folders.within(['d'], undefined, () => undefined)).toThrow(expect.objectContaining({ code: 'TRANSFER_FORBIDDEN' }));
    folders.close();
  });

  test.skipIf(process.platform !== 'linux')('makes what is missing where that is wished, and holds few folders open', () => {
    const root = folder();
    const folders = new PinnedFolders(root);
    const open = (): number => openBelow(root);
    for (let i = 0; i < 100; i++) folders.within(['a', `b${i}`, 'c'], 0o755, () => undefined);
    expect(open()).toBeGreaterThan(0);
    expect(open()).toBeLessThan(40);
    expect(readdirSync(join(root, 'a'))).toHaveLength(100);
    folders.close();
    expect(open()).toBe(0);
    expect(() => folders.within(['x'], undefined, () => undefined)).toThrow(expect.objectContaining({ code: 'TRANSFER_NOT_FOUND' }));
    folders.close();
  });
});

/** Descriptors of this process that lead below a folder. */
function openBelow(root: string): number {
  const leads = (fd: string): boolean => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(root);
    } catch {
      // Its own, of reading the folder.
      return false;
    }
  };
  return readdirSync('/proc/self/fd').filter(leads).length;
}
