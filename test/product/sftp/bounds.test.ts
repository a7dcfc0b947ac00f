import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Extension, OpenFlag } from '../../../src/product/sftp/protocol.ts';
import { putFile } from '../../../src/product/sftp/put.ts';
import type { SftpSession } from '../../../src/product/sftp/session.ts';
import { octets, Scene, sha256 } from './scene.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const { READ, WRITE, CREAT, TRUNC, APPEND } = OpenFlag;
const FRESH = WRITE | CREAT | TRUNC;

/** A disk with nothing on it but what is served. */
class Disk {
  looks = 0;
  size: number;
  scene!: Scene;

  constructor(size: number) {
    this.size = size;
  }

  get free(): number {
    const files = readdirSync(this.scene.served, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
    return this.size - files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  }

  readonly freeOf = (): number => {
    this.looks++;
    return this.free;
  };
}

async function scened(options: Parameters<typeof Scene.open>[0]): Promise<{ scene: Scene; session: SftpSession }> {
  const scene = await Scene.open(options);
  return { scene, session: await scene.link().session() };
}

async function disk(size: number, keepFree: number): Promise<{ disk: Disk; scene: Scene; session: SftpSession }> {
  const disk = new Disk(size);
  disk.scene = await Scene.open({ keepFree, freeOf: disk.freeOf });
  return { disk, scene: disk.scene, session: await disk.scene.link().session() };
}

/** WRITE; several are under way where nobody waits. */
function write(session: SftpSession, handle: Uint8Array, offset: number, data: Uint8Array): Promise<void> {
  const { packet, id } = session.writePacket(handle, offset, data.length);
  packet.data.set(data);
  return session.write('/f', id, packet.finish(data.length));
}

const why = (cause: Error): string => cause.message;
const names = (scene: Scene): string[] => readdirSync(scene.served).sort();
const content = (scene: Scene, name: string): string => readFileSync(join(scene.served, name), 'utf8');
const refusals = (scene: Scene): string[] =>
  scene.events.flatMap((event) => (event.kind === 'refused' ? [`${event.what}: ${event.why}`] : []));

const TOO_LARGE = 'is more than is accepted here (1000 B): who serves sets the limit, by transfer.largest or --largest';

describe('a file that would be longer than any may be', () => {
  test.each([
    ['by one WRITE', 0, 1001],
    ['by a WRITE behind a hole', 5 * MIB, 1],
    ['by a WRITE that begins inside', 999, 2],
  ])('%s is refused whole, and is not there afterwards', async (_how, offset, length) => {
    const { scene, session } = await scened({ largest: 1000 });
    const handle = await session.open('/f', FRESH);
    await write(session, handle, 0, octets(500));
    expect(await write(session, handle, offset, octets(length)).catch(why)).toContain(TOO_LARGE);
    expect(statSync(join(scene.served, 'f')).size, 'not a part of it was written').toBe(500);
    expect(await session.close(handle).catch(why), 'who did not wait for the answers hears of it now').toContain(TOO_LARGE);
    expect(names(scene)).toEqual([]);
    expect(refusals(scene)).toEqual([expect.stringContaining(TOO_LARGE)]);
  });

  test('keeps no part of it, however that is called', async () => {
    const { scene, session } = await scened({ largest: 1000 });
    const handle = await session.open('/f.part', FRESH);
    await expect(write(session, handle, 0, octets(1001))).rejects.toThrow(TOO_LARGE);
    await expect(session.close(handle)).rejects.toThrow(TOO_LARGE);
    expect(names(scene)).toEqual([]);
  });

  test('of WRITEs that are under way together, none lands beyond', async () => {
    const { scene, session } = await scened({ largest: 10_000 });
    const handle = await session.open('/f', FRESH);
    const all = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => write(session, handle, i * 1000, octets(1000))));
    expect(all.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, (_, i) => (i < 10 ? 'fulfilled' : 'rejected')));
    expect(statSync(join(scene.served, 'f')).size).toBe(10_000);
  });

  test('appended, by several at once, ends at the limit', async () => {
    const { scene, session } = await scened({ largest: 10_000 });
    writeFileSync(join(scene.served, 'f'), octets(5000));
    const other = await scene.link().session();
    const all = await Promise.allSettled(
      await Promise.all(
        [session, other].map(async (each) => {
          const handle = await each.open('/f', WRITE | APPEND);
          return Promise.allSettled(Array.from({ length: 8 }, () => write(each, handle, 0, octets(1000, 2))));
        }),
      ),
    );
    expect(all).toHaveLength(2);
    expect(statSync(join(scene.served, 'f')).size).toBe(10_000);
    expect(sha256(readFileSync(join(scene.served, 'f')).subarray(0, 5000)), 'what was there before is whole').toBe(sha256(octets(5000)));
  });

  test('is not made by SETSTAT or FSETSTAT either, which may make it shorter', async () => {
    const { scene, session } = await scened({ largest: 1000 });
    writeFileSync(join(scene.served, 'f'), octets(900));
    expect(await session.setstat('/f', { size: 1001 }).catch(why)).toContain(TOO_LARGE);
    const handle = await session.open('/f', WRITE);
    expect(await session.fsetstat('/f', handle, { size: 1001 }).catch(why)).toContain(TOO_LARGE);
    expect(statSync(join(scene.served, 'f')).size).toBe(900);
    await session.setstat('/f', { size: 100 });
    expect(statSync(join(scene.served, 'f')).size).toBe(100);
  });
});

describe('a disk of which some has to stay free', () => {
  test('is written to the last octet that may be, and refuses with what to do', async () => {
    const { disk: fake, scene, session } = await disk(2 * MIB, MIB);
    const handle = await session.open('/f', FRESH);
    const errors: string[] = [];
    for (let at = 0; at < 2 * MIB && errors.length === 0; at += 32 * KIB)
      await write(session, handle, at, octets(32 * KIB)).catch((cause: Error) => errors.push(why(cause)));
    expect(errors).toEqual([
      '/f: the disk has 1.0 MiB left, 1.0 MiB of it kept free, and 32.0 KiB more are to come: make room on the server, and send it again',
    ]);
    expect(fake.free).toBe(MIB);
    await session.close(handle).catch(() => {});
    expect(names(scene), 'nothing half-written has the name').toEqual([]);
    expect(fake.free, 'and others have the room').toBe(2 * MIB);
    expect(refusals(scene)).toEqual([expect.stringContaining('/f: the disk has 1.0 MiB left')]);
  });

  test('is looked at now and then, and no more once something was refused', async () => {
    const { disk: fake, session } = await disk(40 * MIB, 0);
    const handle = await session.open('/f', FRESH);
    const data = octets(128 * KIB);
    for (let at = 0; at < 40 * MIB; at += data.length) await write(session, handle, at, data);
    expect(fake.looks).toBeLessThan(10);
    await expect(write(session, handle, 40 * MIB, data)).rejects.toThrow('the disk has 0 B left');
    const looks = fake.looks;
    await Promise.allSettled(Array.from({ length: 50 }, (_, i) => write(session, handle, i * data.length, data)));
    expect(fake.looks).toBe(looks);
  });

  test('keeps it however many write at once, while the disk has not yet what is under way', async () => {
    const { disk: fake, scene, session } = await disk(12 * MIB, 4 * MIB);
    const sessions = [session, await scene.link().session(), await scene.link().session()];
    const data = octets(128 * KIB);
    await Promise.all(
      sessions.map(async (each, n) => {
        const handle = await each.open(`/f${n}`, FRESH);
        await Promise.allSettled(Array.from({ length: 60 }, (_, i) => write(each, handle, i * data.length, data)));
      }),
    );
    expect(fake.free).toBeGreaterThanOrEqual(4 * MIB);
    expect(fake.free, 'refused for what was under way, and no more').toBeLessThan(8 * MIB);
  });

  test('has no room for lengths that nobody wrote, for files or for folders', async () => {
    const { scene, session } = await disk(3 * MIB, MIB);
    writeFileSync(join(scene.served, 'f'), octets(MIB));
    expect(await session.setstat('/f', { size: 2 * MIB + 1 }).catch(why)).toContain('1.0 MiB of it kept free');
    await session.setstat('/f', { size: 2 * MIB });
    expect(await session.mkdir('/folder').catch(why)).toContain('make room on the server');
    expect(await session.open('/g', WRITE | CREAT).catch(why)).toContain('make room on the server');
    expect(names(scene)).toEqual(['f']);
    expect(refusals(scene).map((each) => each.split(':')[0])).toEqual(['SETSTAT', 'MKDIR', 'OPEN']);
    await session.setstat('/f', { size: 0 });
    await session.mkdir('/folder');
  });

  test('tells clients of what they may use', async () => {
    const [all, some] = [await scened({}), await scened({ keepFree: 1e9 })];
    expect(all.session.has(Extension.STATVFS)).toBe(true);
    const [before, after] = [await all.session.space('/'), await some.session.space('/')];
    expect(Math.abs(before!.available - Math.max(0, before!.available - 1e9) - (before!.available - after!.available))).toBeLessThan(2e8);
  });

  test('keeps what our own client has sent, which goes on once there is room', async () => {
    const { disk: fake, scene } = await disk(2 * MIB, MIB);
    const data = octets(1_500_000);
    const local = join(scene.ours, 'data.bin');
    writeFileSync(local, data);
    const put = () => putFile({ link: scene.link(), remote: '/data.bin', local });
    await expect(put()).rejects.toMatchObject({ message: expect.stringContaining('make room on the server, and send it again') });
    expect(names(scene)).toEqual([expect.stringMatching(/^\.data\.bin\.[0-9a-f]{16}\.part$/)]);
    fake.size = 4 * MIB;
    const { resumedFrom, sha256: digest } = await put();
    expect(resumedFrom).toBeGreaterThan(500_000);
    expect(digest).toBe(sha256(data));
    expect(names(scene)).toEqual(['data.bin']);
  });

  test('what lacks a part gets no other name, before CLOSE or after, until somebody goes on with it', async () => {
    const { disk: fake, scene, session } = await disk(2 * MIB, MIB);
    const data = octets(128 * KIB);
    const handle = await session.open('/f.part', FRESH);
    await Promise.allSettled(Array.from({ length: 20 }, (_, i) => write(session, handle, i * data.length, data)));
    expect(await session.rename('/f.part', '/f').catch(why)).toContain('this file is not whole');
    await session.close(handle).catch(() => {});
    expect(await session.rename('/f.part', '/f').catch(why)).toContain('this file is not whole');
    expect(names(scene)).toEqual(['f.part']);
    fake.size = 8 * MIB;
    const again = await session.open('/f.part', WRITE);
    await write(session, again, MIB, data);
    await session.close(again);
    await session.rename('/f.part', '/f');
    expect(statSync(join(scene.served, 'f')).size).toBe(MIB + data.length);
  });
});

describe('a file that is sent over one that is there', () => {
  test('takes its place when it is closed, with the permissions of the one before', async () => {
    const { scene, session } = await scened({});
    writeFileSync(join(scene.served, 'f'), 'before');
    chmodSync(join(scene.served, 'f'), 0o640);
    symlinkSync('f', join(scene.served, 'link'));
    const handle = await session.open('/link', FRESH | READ, { permissions: 0o777 });
    await write(session, handle, 0, octets(5000));
    expect(content(scene, 'f')).toBe('before');
    expect((await session.fstat('/f', handle)).size).toBe(5000);
    await session.close(handle);
    expect(sha256(readFileSync(join(scene.served, 'f')))).toBe(sha256(octets(5000)));
    expect(statSync(join(scene.served, 'f')).mode & 0o777).toBe(0o640);
    expect(names(scene)).toEqual(['f', 'link']);
  });

  test('takes its place though the folder is called otherwise meanwhile', async () => {
    const { scene, session } = await scened({});
    mkdirSync(join(scene.served, 'a'));
    writeFileSync(join(scene.served, 'a', 'f'), 'before');
    const handle = await session.open('/a/f', FRESH);
    await write(session, handle, 0, octets(10));
    await session.rename('/a', '/b');
    await session.close(handle);
    expect(readdirSync(join(scene.served, 'b'))).toEqual(['f']);
    expect(statSync(join(scene.served, 'b', 'f')).size).toBe(10);
  });

  test.each([
    ['is too large', { largest: 1000 }, octets(1001)],
    ['has no room', { keepFree: 1e18 }, octets(10)],
  ])('leaves it whole where it %s', async (_what, options, data) => {
    const { scene, session } = await scened(options);
    writeFileSync(join(scene.served, 'f'), 'before');
    const opened = await session.open('/f', FRESH).catch(why);
    if (typeof opened === 'string') expect(opened).toContain('make room on the server');
    else {
      await write(session, opened, 0, data.subarray(0, 10)).catch(() => {});
      await expect(write(session, opened, 10, data)).rejects.toThrow();
      await expect(session.close(opened)).rejects.toThrow();
    }
    expect(content(scene, 'f')).toBe('before');
    expect(names(scene)).toEqual(['f']);
  });

  test('leaves it whole where the connection is lost in between', async () => {
    const { scene, session } = await scened({});
    writeFileSync(join(scene.served, 'f'), 'before');
    const handle = await session.open('/f', FRESH);
    await write(session, handle, 0, octets(5000));
    expect(names(scene)).toEqual([expect.stringMatching(/^\.f\.[0-9a-f]{16}\.part$/), 'f']);
    scene.streams[0]!.destroy();
    await expect.poll(() => names(scene)).toEqual(['f']);
    expect(content(scene, 'f')).toBe('before');
  });

  test('leaves a new one, which nobody refused, for the client to go on with', async () => {
    const { scene, session } = await scened({});
    const handle = await session.open('/f', FRESH);
    await write(session, handle, 0, octets(5000));
    scene.streams[0]!.destroy();
    await expect.poll(() => scene.events.some(({ kind }) => kind === 'file')).toBe(true);
    expect(existsSync(join(scene.served, 'f'))).toBe(true);
  });
});
