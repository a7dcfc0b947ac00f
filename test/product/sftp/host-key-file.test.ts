import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { utils } from 'ssh2';
import { expect, test } from 'vitest';
import { ed25519KeyFile, newEd25519Key } from '../../../src/product/sftp/ed25519-key.ts';
import { ownHostKey } from '../../../src/product/sftp/host-key-file.ts';
import { folder } from './scene.ts';

const KEYGEN = 'ssh-keygen';

test('a host key is made once, for its owner alone, and kept', async () => {
  const file = join(folder(), 'state', 'host_key');
  const [one, other] = await Promise.all([ownHostKey(file), ownHostKey(file)]);
  expect(other).toEqual(one);
  expect(await ownHostKey(file)).toEqual(one);
  expect(one.fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, 'utf8')).toBe(one.key);
});

test('a host key that others may read, or that is none, is refused', async () => {
  const file = join(folder(), 'host_key');
  writeFileSync(file, 'no key', { mode: 0o600 });
  await expect(ownHostKey(file)).rejects.toMatchObject({ code: 'HOST_KEY' });
  const open = join(folder(), 'open');
  writeFileSync(open, newEd25519Key(), { mode: 0o644 });
  await expect(ownHostKey(open)).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS' });
});

test('a key whose public half begins with zeros is as good as any', () => {
  const publicKey = new Uint8Array(32).fill(7).fill(0, 0, 2);
  const parsed = utils.parseKey(ed25519KeyFile(publicKey, new Uint8Array(32).fill(9)));
  if (parsed instanceof Error) throw parsed;
  expect(new Uint8Array(parsed.getPublicSSH().subarray(-32))).toEqual(publicKey);
});

test.skipIf(spawnSync(KEYGEN, ['-?']).error !== undefined)('OpenSSH reads the key (needs ssh-keygen)', async () => {
  const file = join(folder(), 'host_key');
  const { fingerprint } = await ownHostKey(file);
  expect(spawnSync(KEYGEN, ['-lf', file], { encoding: 'utf8' }).stdout).toContain(fingerprint);
});
