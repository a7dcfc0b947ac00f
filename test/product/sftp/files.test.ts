import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { getFile } from '../../../src/product/sftp/get.ts';
import { putFile } from '../../../src/product/sftp/put.ts';
import { octets, QUICK, Scene, sha256 } from './scene.ts';

const BIG = 3_000_011;

describe('one file', () => {
  test.each([0, 1, 131_008, 131_009, BIG])('of %i octets comes whole, with mode and time', async (length) => {
    const scene = await Scene.open();
    const data = octets(length);
    writeFileSync(join(scene.served, 'data.bin'), data);
    chmodSync(join(scene.served, 'data.bin'), 0o640);
    utimesSync(join(scene.served, 'data.bin'), 1_000_000_000, 1_111_111_111);
    const local = join(scene.ours, 'data.bin');
    const result = await getFile({ link: scene.link(), remote: '/data.bin', local });
    expect(result).toMatchObject({ bytes: length, sha256: sha256(data), verified: true, resumedFrom: 0, retries: 0 });
    expect(sha256(readFileSync(local))).toBe(sha256(data));
    expect(statSync(local).mode & 0o777).toBe(0o640);
    expect(statSync(local).mtimeMs).toBe(1_111_111_111_000);
    expect(readdirSync(scene.ours).sort()).toEqual(['.ssh', 'data.bin']);
  });

  test.each([0, 1, 131_009, BIG])('of %i octets goes whole, with mode and time', async (length) => {
    const scene = await Scene.open();
    const data = octets(length);
    const local = join(scene.ours, 'data.bin');
    writeFileSync(local, data);
    chmodSync(local, 0o600);
    utimesSync(local, 1_000_000_000, 1_111_111_111);
    writeFileSync(join(scene.served, 'there.bin'), 'what was there before');
    const result = await putFile({ link: scene.link(), remote: '/there.bin', local });
    expect(result).toMatchObject({ bytes: length, sha256: sha256(data), verified: true, resumedFrom: 0 });
    const there = join(scene.served, 'there.bin');
    expect(sha256(readFileSync(there))).toBe(sha256(data));
    expect(statSync(there).mode & 0o777).toBe(0o600);
    expect(statSync(there).mtimeMs).toBe(1_111_111_111_000);
    expect(readdirSync(scene.served)).toEqual(['there.bin']);
  });

  test('comes whole over connections that break, and never begins anew', async () => {
    const scene = await Scene.open();
    const data = octets(BIG);
    writeFileSync(join(scene.served, 'data.bin'), data);
    scene.cuts.push(1_000_000, 1_000_000);
    const local = join(scene.ours, 'data.bin');
    const result = await getFile({ link: scene.link(), remote: '/data.bin', local, retry: QUICK });
    expect(result).toMatchObject({ sha256: sha256(data), retries: 2, verified: true });
    const sent = scene.events.flatMap((event) => (event.kind === 'file' ? [event.read] : []));
    // what was asked for and lost on the way is read again, and no more
    expect(sent.reduce((sum, count) => sum + count, 0)).toBeLessThan(BIG + 2 * 2_500_000);
    expect(sha256(readFileSync(local))).toBe(sha256(data));
  });

  test('goes whole over connections that break', async () => {
    const scene = await Scene.open();
    const data = octets(BIG);
    const local = join(scene.ours, 'data.bin');
    writeFileSync(local, data);
    scene.cuts.push(1_000_000, 1_500_000);
    const result = await putFile({ link: scene.link(), remote: '/data.bin', local, retry: QUICK });
    expect(result).toMatchObject({ sha256: sha256(data), retries: 2, verified: true });
    expect(sha256(readFileSync(join(scene.served, 'data.bin')))).toBe(sha256(data));
    expect(readdirSync(scene.served)).toEqual(['data.bin']);
  });

  test('goes on in the next run where this one stopped', async () => {
    const scene = await Scene.open();
    const data = octets(BIG);
    writeFileSync(join(scene.served, 'data.bin'), data);
    const local = join(scene.ours, 'data.bin');
    scene.cuts.push(1_500_000);
    const stopped = getFile({ link: scene.link(), remote: '/data.bin', local, retry: { ...QUICK, giveUp: 0 } });
    await expect(stopped).rejects.toMatchObject({ code: 'TRANSFER_INTERRUPTED', resumable: true });
    expect(existsSync(local), 'nothing unfinished has the name').toBe(false);
    const result = await getFile({ link: scene.link(), remote: '/data.bin', local });
    expect(result.resumedFrom).toBeGreaterThan(500_000);
    expect(sha256(readFileSync(local))).toBe(sha256(data));
  });

  test('is begun anew where what is there is of another version, or is not what it says', async () => {
    const scene = await Scene.open();
    const [data, local] = [octets(300_000), join(scene.ours, 'data.bin')];
    writeFileSync(join(scene.served, 'data.bin'), data);
    scene.cuts.push(250_000);
    await expect(getFile({ link: scene.link(), remote: '/data.bin', local, retry: { ...QUICK, giveUp: 0 } })).rejects.toThrow();
    const [part] = readdirSync(scene.ours).filter((name) => name.endsWith('.part'));
    writeFileSync(join(scene.ours, part!), octets(200_000, 2));
    expect(await getFile({ link: scene.link(), remote: '/data.bin', local })).toMatchObject({ resumedFrom: 0, sha256: sha256(data) });
    expect(readdirSync(scene.ours).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('that is none, or is not there, or may not be read, is said', async () => {
    const scene = await Scene.open();
    mkdirSync(join(scene.served, 'folder'));
    const get = (remote: string) => getFile({ link: scene.link(), remote, local: join(scene.ours, 'x') });
    await expect(get('/nothing')).rejects.toMatchObject({ code: 'TRANSFER_NOT_FOUND', message: '/nothing: no such file on the server' });
    await expect(get('/folder')).rejects.toMatchObject({ side: 'there' });
    const put = (local: string, remote: string) => putFile({ link: scene.link(), remote, local: join(scene.ours, local) });
    await expect(put('nothing', '/x')).rejects.toMatchObject({ code: 'TRANSFER_NOT_FOUND' });
    await expect(put('.', '/x')).rejects.toMatchObject({ code: 'TRANSFER_NOT_A_FILE' });
  });

  test('stops when it is told to, and keeps what came', async () => {
    const scene = await Scene.open();
    writeFileSync(join(scene.served, 'data.bin'), octets(BIG));
    const stop = new AbortController();
    const local = join(scene.ours, 'data.bin');
    const running = getFile({
      link: scene.link(),
      remote: '/data.bin',
      local,
      signal: stop.signal,
      onProgress: ({ phase }) => phase === 'receiving' && stop.abort(new Error('enough')),
    });
    await expect(running).rejects.toMatchObject({ code: 'TRANSFER_ABORTED', resumable: true });
    expect(existsSync(local)).toBe(false);
  });
});
