import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { Extension, OpenFlag } from '../../../src/product/sftp/protocol.ts';
import type { SftpSession } from '../../../src/product/sftp/session.ts';
import { Scene } from './scene.ts';

const CREATE = OpenFlag.WRITE | OpenFlag.CREAT;

let scene: Scene;
let session: SftpSession;

beforeEach(async () => {
  scene = await Scene.open();
  session = await scene.link().session();
  mkdirSync(join(scene.served, 'a', 'b'), { recursive: true });
  mkdirSync(scene.secret);
  writeFileSync(join(scene.served, 'a', 'file'), 'inside');
  writeFileSync(join(scene.secret, 'file'), 'outside');
});

const read = async (path: string): Promise<string> => {
  const handle = await session.open(path, OpenFlag.READ);
  try {
    return new TextDecoder().decode(await session.read(path, handle, 0, 100));
  } finally {
    await session.close(handle);
  }
};
const create = async (path: string): Promise<void> => session.close(await session.open(path, CREATE));
const code = (cause: { readonly code: string }): string => cause.code;
const untouched = (): void => {
  expect(readFileSync(join(scene.secret, 'file'), 'utf8')).toBe('outside');
  expect(existsSync(join(scene.secret, 'new'))).toBe(false);
};

describe('paths', () => {
  test.each([
    ['/a/file', 'inside'],
    ['a/file', 'inside'],
    ['./a/./b/../file', 'inside'],
    ['//a///file', 'inside'],
    ['/../../../a/file', 'inside'],
    ['../secret/file', 'TRANSFER_NOT_FOUND'],
    ['/a/b/../../../secret/file', 'TRANSFER_NOT_FOUND'],
    ['/a/file/../file', 'TRANSFER_NOT_FOUND'],
    ['/etc/passwd', 'TRANSFER_NOT_FOUND'],
  ])('%s', async (path, outcome) => {
    expect(await read(path).catch(code)).toBe(outcome);
  });

  test.each([
    ['the absolute path of the secret', () => join(scene.secret, 'file')],
    ['a NUL', () => 'a/file\0.txt'],
    ['a line break', () => 'a\nb'],
    ['our own unfinished uploads', () => '.Tunnelwright-Partial/x'],
    ['a name of 256 octets', () => 'n'.repeat(256)],
    ['65 folders', () => 'x/'.repeat(65)],
    ['5000 characters', () => '/a'.repeat(2500)],
  ])('%s leads nowhere', async (_what, path) => {
    await expect(read(path())).rejects.toThrow();
    await expect(create(path())).rejects.toThrow();
    untouched();
  });

  test('are told without links, and from the root of the jail', async () => {
    symlinkSync('a/b', join(scene.served, 'link'));
    expect(await session.realpath('.')).toBe('/');
    expect(await session.realpath('../..')).toBe('/');
    expect(await session.realpath('link/../b')).toBe('/a/b');
    expect(await session.realpath('link')).toBe('/a/b');
    expect(await session.realpath('new')).toBe('/new');
    await expect(session.realpath('none/new')).rejects.toMatchObject({ code: 'TRANSFER_NOT_FOUND' });
  });
});

describe('links', () => {
  test.each([
    ['relative', () => '../../secret', 'TRANSFER_FORBIDDEN'],
    ['absolute', () => scene.secret, 'TRANSFER_FORBIDDEN'],
    ['by way of the root', () => '/', 'TRANSFER_FORBIDDEN'],
    ['to a folder whose name only begins alike', () => `${scene.served}-other`, 'TRANSFER_FORBIDDEN'],
    ['that goes out and comes back', () => '../../served/a', 'TRANSFER_FORBIDDEN'],
  ])('%s, which lead outside, are not followed', async (_what, target, outcome) => {
    symlinkSync(target(), join(scene.served, 'a', 'way'));
    symlinkSync(join(target(), 'file'), join(scene.served, 'a', 'leaf'));
    expect(await read('a/way/file').catch(code)).toBe(outcome);
    expect(await read('a/leaf').catch(code)).toBe(outcome);
    expect(await session.list('a/way').catch(code)).toBe(outcome);
    expect(await session.stat('a/leaf').catch(code)).toBe(outcome);
    expect(await session.realpath('a/way').catch(code)).toBe(outcome);
    expect(await create('a/way/new').catch(code)).toBe(outcome);
    expect(await session.mkdir('a/way/new').catch(code)).toBe(outcome);
    expect(await session.setstat('a/leaf', { permissions: 0o777 }).catch(code)).toBe(outcome);
    expect(await session.rename('a/file', 'a/way/new').catch(code)).toBe(outcome);
    expect(await session.remove('a/way/file').catch(code)).toBe(outcome);
    untouched();
    // the link itself is a name of the folder
    expect((await session.lstat('a/leaf')).permissions! & 0o170000).toBe(0o120000);
    await session.remove('a/leaf');
    untouched();
  });

  test('that stay inside are followed, the absolute ones too', async () => {
    symlinkSync('../a', join(scene.served, 'a', 'up'));
    symlinkSync(join(scene.served, 'a', 'file'), join(scene.served, 'leaf'));
    symlinkSync('leaf', join(scene.served, 'again'));
    symlinkSync('loop', join(scene.served, 'loop'));
    expect(await read('a/up/up/file')).toBe('inside');
    expect(await read('again')).toBe('inside');
    expect(await session.readlink('again')).toBe('leaf');
    expect(await session.readlink('leaf')).toBe('/a/file');
    expect(await read('loop').catch(code)).toBe('TRANSFER_FORBIDDEN');
  });

  test('are not made by clients, neither hard nor symbolic', async () => {
    await expect(session.symlink('../secret', 'way')).rejects.toMatchObject({ code: 'TRANSFER_FORBIDDEN' });
    expect(session.has(Extension.HARDLINK)).toBe(false);
    expect(existsSync(join(scene.served, 'way'))).toBe(false);
  });

  test('that are laid while somebody walks by lead nowhere', async () => {
    let stop = false;
    const swapping = (async () => {
      while (!stop) {
        for (const swap of [
          () => renameSync(join(scene.served, 'a', 'b'), join(scene.served, 'kept')),
          () => symlinkSync('../../secret', join(scene.served, 'a', 'b')),
          () => rmSync(join(scene.served, 'a', 'b')),
          () => renameSync(join(scene.served, 'kept'), join(scene.served, 'a', 'b')),
        ]) {
          swap();
          await new Promise(setImmediate);
        }
      }
    })();
    const outcomes = new Set<string>();
    for (let round = 0; round < 150; round++) {
      const tries = await Promise.allSettled([
        read('a/b/file'),
        create('a/b/new'),
        session.mkdir('a/b/new'),
        session.rename('a/file', 'a/b/new'),
      ]);
      for (const tried of tries) outcomes.add(tried.status === 'rejected' ? tried.reason.code : String(tried.value));
      await session.rename('a/b/new', 'a/file').catch(() => {});
      await session.remove('a/b/new').catch(() => session.rmdir('a/b/new').catch(() => {}));
    }
    stop = true;
    await swapping;
    expect(outcomes).not.toContain('outside');
    untouched();
  });
});

describe('what may be opened', () => {
  test('is regular files', async () => {
    await expect(session.open('a', OpenFlag.READ)).rejects.toThrow(/folder/);
    await expect(session.open('/', CREATE)).rejects.toThrow();
    await expect(session.list('a/file')).rejects.toMatchObject({ code: 'TRANSFER_NOT_FOUND' });
  });

  test('is emptied only when it is what was meant', async () => {
    linkSync(join(scene.served, 'a', 'file'), join(scene.served, 'same'));
    const handle = await session.open('same', CREATE | OpenFlag.TRUNC);
    expect((await session.fstat('same', handle)).size).toBe(0);
    await expect(session.open('same', CREATE | OpenFlag.EXCL)).rejects.toThrow(/exists already/);
  });

  test('never gets more than its mode: no setuid, no owner', async () => {
    await session.setstat('a/file', { permissions: 0o104755, uid: 0, gid: 0 });
    expect(statSync(join(scene.served, 'a', 'file')).mode & 0o7777).toBe(0o755);
    const handle = await session.open('new', CREATE, { permissions: 0o104777 });
    await session.fsetstat('new', handle, { permissions: 0o106750 });
    expect(statSync(join(scene.served, 'new')).mode & 0o7777).toBe(0o750);
  });

  test('is limited in number and in size', async () => {
    await scene.server.close();
    scene = await Scene.open({ handles: 3, largest: 1000 });
    session = await scene.link().session();
    const opened = [await session.open('x', CREATE), await session.open('y', CREATE), await session.open('z', CREATE)];
    await expect(session.open('w', CREATE)).rejects.toThrow(/no more than 3/);
    expect(existsSync(join(scene.served, 'w')), 'refused before it is made').toBe(false);
    await expect(session.fsetstat('x', opened[0]!, { size: 1001 })).rejects.toThrow(/more than is accepted here \(1000 B\)/);
    const { id, packet } = session.writePacket(opened[0]!, 2 ** 50, 1);
    await expect(session.write('x', id, packet.finish(1))).rejects.toThrow(/more than is accepted here \(1000 B\)/);
    await expect(session.close(opened[0]!), 'what lacks something is not stored').rejects.toThrow(/more than is accepted/);
    await session.open('w', CREATE);
  });
});

test('nothing is changed where nothing may be', async () => {
  await scene.server.close();
  scene = await Scene.open({ readOnly: true });
  writeFileSync(join(scene.served, 'file'), 'as it was');
  mkdirSync(join(scene.served, 'folder'));
  session = await scene.link().session();
  const handle = await session.open('file', OpenFlag.READ);
  const attempts = [
    () => session.open('file', OpenFlag.WRITE),
    () => session.open('file', OpenFlag.READ | OpenFlag.TRUNC),
    () => session.open('new', OpenFlag.READ | OpenFlag.CREAT),
    () => session.setstat('file', { permissions: 0 }),
    () => session.fsetstat('file', handle, { size: 0 }),
    () => session.mkdir('new'),
    () => session.rmdir('folder'),
    () => session.remove('file'),
    () => session.rename('file', 'new'),
  ];
  for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: 'TRANSFER_FORBIDDEN' });
  expect(readFileSync(join(scene.served, 'file'), 'utf8')).toBe('as it was');
  expect(await session.list('.')).toHaveLength(2);
});

test.skipIf(process.getuid?.() === 0)(
  'permission that the system denies is denied (needs an ordinary user: root may everything)',
  async () => {
    chmodSync(join(scene.served, 'a', 'file'), 0);
    await expect(session.open('a/file', OpenFlag.READ)).rejects.toMatchObject({ code: 'TRANSFER_FORBIDDEN' });
  },
);
