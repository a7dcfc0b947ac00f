import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lastingSecret } from '../../../src/host/platform/lasting-secret.ts';

describe('the secret that outlives a restart', () => {
  let base: string;
  let folder: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'tunnelwright-'));
    folder = join(base, 'state');
  });
  afterEach(() => rmSync(base, { recursive: true }));

  test('is made on first use, for nobody else to read, and is the same ever after', async () => {
    const first = await lastingSecret(folder);
    expect(first).toHaveLength(32);
    expect(first.some((octet) => octet !== 0)).toBe(true);
    expect(await lastingSecret(folder)).toEqual(first);
    expect([statSync(folder).mode & 0o777, statSync(join(folder, 'secret')).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(readdirSync(folder)).toEqual(['secret']);
  });

  test('is another one in another folder', async () => {
    expect(await lastingSecret(folder)).not.toEqual(await lastingSecret(join(base, 'other')));
  });

  test('made by several at once is one', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => lastingSecret(folder)));
    for (const secret of all) expect(secret).toEqual(all[0]);
  });

  test('that others may read is refused', async () => {
    await lastingSecret(folder);
    chmodSync(join(folder, 'secret'), 0o644);
    await expect(lastingSecret(folder)).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS' });
  });

  test('of another size is refused rather than replaced', async () => {
    await lastingSecret(folder);
    writeFileSync(join(folder, 'secret'), 'short', { mode: 0o600 });
    await expect(lastingSecret(folder)).rejects.toMatchObject({ code: 'STATE_SECRET' });
  });

  test('a folder that is a file is told', async () => {
    writeFileSync(folder, '');
    await expect(lastingSecret(folder)).rejects.toMatchObject({ code: 'STATE_FOLDER' });
  });
});
