import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigError, fromUtf8 } from '../../../src/core/bytes/index.ts';
import { checkSecretMode, ensurePrivateFolder, readSecretFile, writeFileAtomic } from '../../../src/host/platform/files.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tunnelwright-files-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const path = (name: string): string => join(folder, name);

test('a secret that only its owner can read is read', async () => {
  await writeFile(path('good'), 'hunter2', { mode: 0o600 });
  expect(fromUtf8(await readSecretFile(path('good')))).toBe('hunter2');
});

test.each(['0640', '0604', '0620', '0644', '0666'])('a secret with mode %s is refused, with the command that repairs it', async (mode) => {
  const file = path(`mode-${mode}`);
  await writeFile(file, 'hunter2');
  await chmod(file, Number.parseInt(mode, 8));
  const read = readSecretFile(file);
  await expect(read).rejects.toThrow(ConfigError);
  await expect(read).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS', file, hint: expect.stringContaining(`chmod 600 ${file}`) });
});

test('the permissions are those of the file behind a link, not of the link', async () => {
  await writeFile(path('open'), 'hunter2');
  await chmod(path('open'), 0o644);
  await symlink(path('open'), path('link'));
  await expect(readSecretFile(path('link'))).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS' });
});

test('ownership: ours and root’s are fine, another user’s is not unless we are root', () => {
  expect(() => checkSecretMode('f', 0o600, 1000, 1000)).not.toThrow();
  expect(() => checkSecretMode('f', 0o600, 0, 1000)).not.toThrow();
  expect(() => checkSecretMode('f', 0o600, 1001, 0)).not.toThrow();
  expect(() => checkSecretMode('f', 0o600, 1001, 1000)).toThrow(/belongs to user 1001/);
  expect(() => checkSecretMode('f', 0o666, 1001, undefined)).not.toThrow(); // no such bits on this system
});

test('a missing file, a folder and a huge file are refused in words', async () => {
  await expect(readSecretFile(path('absent'))).rejects.toThrow(/there is no such file/);
  await expect(readSecretFile(folder)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  await writeFile(path('huge'), new Uint8Array(1024 * 1024 + 1), { mode: 0o600 });
  await expect(readSecretFile(path('huge'))).rejects.toMatchObject({ code: 'SECRET_FILE_TOO_LARGE' });
});

test('an atomic write has the wanted mode, replaces what was there, and leaves nothing beside it', async () => {
  const inside = await mkdtemp(join(folder, 'atomic-'));
  const file = join(inside, 'state.json');
  await writeFile(file, 'old', { mode: 0o644 });
  await writeFileAtomic(file, 'new');
  expect(await readFile(file, 'utf8')).toBe('new');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await writeFileAtomic(file, Uint8Array.of(0x61), 0o644);
  expect((await stat(file)).mode & 0o777).toBe(0o644);
  expect(await readdir(inside)).toEqual(['state.json']);
});

test('an atomic write replaces a link, and does not write through it', async () => {
  await writeFile(path('target'), 'theirs');
  await symlink(path('target'), path('alias'));
  await writeFileAtomic(path('alias'), 'ours');
  expect(await readFile(path('target'), 'utf8')).toBe('theirs');
  expect(await readFile(path('alias'), 'utf8')).toBe('ours');
});

test('an atomic write that fails leaves the old content and no temporary file', async () => {
  const inside = await mkdtemp(join(folder, 'failing-'));
  const file = join(inside, 'is-a-folder');
  await ensurePrivateFolder(file);
  await expect(writeFileAtomic(file, 'x')).rejects.toThrow();
  expect(await readdir(inside)).toEqual(['is-a-folder']);
});

test('a private folder is private, also when it was there', async () => {
  const inside = path('private');
  await ensurePrivateFolder(inside);
  await chmod(inside, 0o755);
  await ensurePrivateFolder(inside);
  expect((await stat(inside)).mode & 0o777).toBe(0o700);
});
