import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { getTree, putTree } from '../../../src/product/sftp/tree.ts';
import { QUICK, Scene } from './scene.ts';

function plant(root: string): void {
  mkdirSync(join(root, 'deep', 'deeper'), { recursive: true });
  mkdirSync(join(root, 'empty'));
  for (let i = 0; i < 20; i++) writeFileSync(join(root, `file-${i}`), `content ${i}`);
  writeFileSync(join(root, 'deep', 'deeper', 'leaf'), 'leaf');
  writeFileSync(join(root, 'ünïcode ✓'), 'name');
  symlinkSync('file-1', join(root, 'link'));
  chmodSync(join(root, 'file-3'), 0o640);
  chmodSync(join(root, 'deep'), 0o750);
  for (const name of ['file-3', 'deep']) utimesSync(join(root, name), 1_111_111_111, 1_111_111_111);
}

function expectGrown(root: string): void {
  expect(readFileSync(join(root, 'deep', 'deeper', 'leaf'), 'utf8')).toBe('leaf');
  expect(readFileSync(join(root, 'file-19'), 'utf8')).toBe('content 19');
  expect(readFileSync(join(root, 'ünïcode ✓'), 'utf8')).toBe('name');
  expect(statSync(join(root, 'empty')).isDirectory()).toBe(true);
  expect(existsSync(join(root, 'link'))).toBe(false);
  expect(statSync(join(root, 'file-3')).mode & 0o777).toBe(0o640);
  expect(statSync(join(root, 'deep')).mode & 0o777).toBe(0o750);
  expect([statSync(join(root, 'file-3')).mtimeMs, statSync(join(root, 'deep')).mtimeMs]).toEqual([1_111_111_111_000, 1_111_111_111_000]);
}

test('a folder comes with everything below it, over a connection that breaks, and again only what is new', async () => {
  const scene = await Scene.open();
  plant(join(scene.served, 'tree'));
  scene.cuts.push(15_000);
  const options = { link: scene.link(), remote: '/tree', local: join(scene.ours, 'tree'), retry: QUICK };
  const first = await getTree(options);
  expect(first).toMatchObject({ same: 0, left: [{ path: '/tree/link', why: 'is a link' }] });
  expect(first.files).toHaveLength(22);
  expectGrown(options.local);
  writeFileSync(join(scene.served, 'tree', 'file-7'), 'changed meanwhile');
  const second = await getTree(options);
  expect(second.files.map(({ path }) => path)).toEqual([join(options.local, 'file-7')]);
  expect(second.same).toBe(21);
});

test('a folder goes with everything below it, and again only what is new', async () => {
  const scene = await Scene.open();
  plant(join(scene.ours, 'tree'));
  const seen: string[] = [];
  const options = {
    link: scene.link(),
    remote: '/tree',
    local: join(scene.ours, 'tree'),
    onProgress: ({ phase }: { phase: string }) => seen.push(phase),
  };
  expect(await putTree(options)).toMatchObject({ same: 0, left: [{ path: join(options.local, 'link'), why: 'is a link' }] });
  expectGrown(join(scene.served, 'tree'));
  expect(seen.at(-1)).toBe('done');
  expect(await putTree(options)).toMatchObject({ files: [], same: 22 });
});

test('one file that cannot be had does not keep the others', async () => {
  const scene = await Scene.open();
  mkdirSync(join(scene.ours, 'tree'));
  mkdirSync(join(scene.served, 'tree', 'taken'), { recursive: true });
  writeFileSync(join(scene.ours, 'tree', 'taken'), 'a file, where the server has a folder');
  writeFileSync(join(scene.ours, 'tree', 'fine'), 'fine');
  const result = await putTree({ link: scene.link(), remote: '/tree', local: join(scene.ours, 'tree') });
  expect(result.left).toHaveLength(1);
  expect(result.left[0]!.path).toBe('taken');
  expect(readFileSync(join(scene.served, 'tree', 'fine'), 'utf8')).toBe('fine');
});
