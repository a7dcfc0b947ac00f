import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Jail, parsePath, parseRequestPath } from '../../../src/product/transfer/paths.ts';
import { folder } from './scene.ts';

const code = async (work: () => unknown): Promise<string | undefined> => {
  try {
    await work();
    return undefined;
  } catch (cause) {
    return (cause as { code?: string }).code;
  }
};

describe('paths that peers name', () => {
  test.each([
    ['..', 'climbs'],
    ['../etc/passwd', 'climbs'],
    ['a/../../b', 'climbs from within'],
    ['a/..', 'ends in a climb'],
    ['./a', 'has a dot'],
    ['/etc/passwd', 'is absolute'],
    ['//etc/passwd', 'is absolute twice'],
    ['a//b', 'has an empty part'],
    ['a/', 'ends in a slash'],
    ['%2e%2e/etc/passwd', 'climbs in percent'],
    ['..%2fetc%2fpasswd', 'hides the slash'],
    ['%2fetc%2fpasswd', 'hides that it is absolute'],
    ['a%00.txt', 'has NUL'],
    ['a%0ab', 'has a line break'],
    ['a%1bb', 'has ESC'],
    ['a%c2%85b', 'has a C1 control'],
    ['..%5c..%5cwindows', 'has backslashes'],
    ['C:/windows', 'has a drive'],
    ['c:secret', 'has a drive without slash'],
    ['%c0%ae%c0%ae/etc', 'has overlong UTF-8'],
    ['%ff', 'is not UTF-8'],
    ['%e2%80', 'is cut UTF-8'],
    ['%', 'is no percent encoding'],
    ['%zz', 'is no percent encoding either'],
    ['.tunnelwright-partial/x', 'reaches for unfinished files'],
    ['.TunnelWright-Partial/x', 'does so in capitals'],
    ['a'.repeat(256), 'has a name too long'],
    [`${'a/'.repeat(64)}a`, 'is too deep'],
    ['a'.repeat(5000), 'is too long'],
  ])('%s is refused: it %s', (raw) => {
    expect(() => parseRequestPath(raw)).toThrow(expect.objectContaining({ code: 'TRANSFER_BAD_PATH' }));
  });

  test.each([
    ['a/b/c.txt', ['a', 'b', 'c.txt']],
    ['', []],
    ['%C3%A4%20b', ['ä b']],
    // Decoded once: what is left is a name, and a strange one.
    ['%252e%252e', ['%2e%2e']],
    ['...', ['...']],
    ['.hidden', ['.hidden']],
    ['a..b', ['a..b']],
  ])('%s is a path', (raw, segments) => {
    expect(parseRequestPath(raw)).toEqual(segments);
  });

  test('a path of our own is not decoded', () => {
    expect(parsePath('100%/a')).toEqual(['100%', 'a']);
  });
});

describe('the jail', () => {
  async function jail(): Promise<{ jail: Jail; root: string; outside: string }> {
    const root = folder();
    const outside = folder();
    mkdirSync(join(root, 'docs'));
    writeFileSync(join(root, 'docs', 'a.txt'), 'inside');
    writeFileSync(join(outside, 'secret.txt'), 'outside');
    return { jail: await Jail.open(root), root, outside };
  }

  test('opens a file inside', async () => {
    const { jail: j } = await jail();
    const handle = await j.openFile(['docs', 'a.txt']);
    expect(await handle.readFile('utf8')).toBe('inside');
    await handle.close();
  });

  test('refuses a link to a file, inside or outside, and a folder that is a link', async () => {
    const { jail: j, root, outside } = await jail();
    symlinkSync(join(outside, 'secret.txt'), join(root, 'out.txt'));
    symlinkSync('docs/a.txt', join(root, 'in.txt'));
    symlinkSync(outside, join(root, 'door'));
    symlinkSync('..', join(root, 'docs', 'up'));
    for (const path of [['out.txt'], ['in.txt'], ['door', 'secret.txt'], ['docs', 'up', 'docs', 'a.txt']]) {
      expect(await code(() => j.openFile(path)), path.join('/')).toBe('TRANSFER_FORBIDDEN');
    }
    expect(await code(() => j.stat(['door']))).toBe('TRANSFER_FORBIDDEN');
    expect(await code(() => j.ensureFolder(['door', 'new']))).toBe('TRANSFER_FORBIDDEN');
    expect(await code(() => j.ensureFolder(['door']))).toBe('TRANSFER_FORBIDDEN');
  });

  test('a link at the end of the root itself is resolved once, when the operator names it', async () => {
    const { root } = await jail();
    const base = folder();
    symlinkSync(root, join(base, 'shared'));
    const j = await Jail.open(join(base, 'shared'));
    const handle = await j.openFile(['docs', 'a.txt']);
    await handle.close();
    expect(j.root).toBe(root);
  });

  test('does not wait on a FIFO, and opens nothing that is not a regular file', async () => {
    const { jail: j, root } = await jail();
    execFileSync('mkfifo', [join(root, 'pipe')]);
    expect(await code(() => j.openFile(['pipe']))).toBe('TRANSFER_FORBIDDEN');
    expect(await code(() => j.openFile(['docs']))).toBe('TRANSFER_NOT_A_FILE');
    expect(await code(() => j.openFile(['docs', 'none']))).toBe('TRANSFER_NOT_FOUND');
    expect(await code(() => j.openFile(['docs', 'a.txt', 'below']))).toBe('TRANSFER_NOT_FOUND');
  });

  test('a hard link is a file like any other', async () => {
    const { jail: j, root } = await jail();
    linkSync(join(root, 'docs', 'a.txt'), join(root, 'same.txt'));
    await (await j.openFile(['same.txt'])).close();
  });

  test('makes folders for their owner alone, and a file in the way is said', async () => {
    const { jail: j, root } = await jail();
    expect(await j.ensureFolder(['x', 'y'])).toBe(join(root, 'x', 'y'));
    expect(await code(() => j.ensureFolder(['docs', 'a.txt', 'z']))).toBe('TRANSFER_NOT_FOUND');
    expect(await code(() => j.ensureFolder(['docs', 'a.txt']))).toBe('TRANSFER_FORBIDDEN');
  });

  test('a root that is missing or no folder is refused with its name', async () => {
    const { root } = await jail();
    await expect(Jail.open(join(root, 'missing'))).rejects.toThrow(/missing: no such file/);
    await expect(Jail.open(join(root, 'docs', 'a.txt'))).rejects.toThrow(/is not a folder/);
    expect(readFileSync(join(root, 'docs', 'a.txt'), 'utf8')).toBe('inside');
  });
});
