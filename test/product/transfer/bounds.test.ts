import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { get, send, sendTree } from '../../../src/product/transfer/index.ts';
import { Room } from '../../../src/product/transfer/room.ts';
import { SYSTEM_TIMING } from '../../../src/product/transfer/timing.ts';
import { failure, ONCE, QUICK, Scene, sha256, tree } from './scene.ts';

const MIB = 1024 * 1024;

describe('a room that peers may fill', () => {
  test('what is announced has to fit beside what stays free', () => {
    const room = new Room('.', 10 * MIB, () => 15 * MIB);
    room.check(5 * MIB);
    expect(() => room.check(5 * MIB + 1)).toThrow('the disk has 15.0 MiB left, 10.0 MiB of it kept free, and 5.0 MiB more are to come');
  });

  test('what is written ends in time, however many write and whatever else fills the disk', () => {
    let free = 100 * MIB;
    const room = new Room('.', 10 * MIB, () => free);
    const write = (octets: number): void => {
      room.take(octets);
      free -= octets;
    };
    expect(() => {
      for (;;) write(MIB);
    }).toThrow(expect.objectContaining({ code: 'TRANSFER_DISK_FULL', resumable: true }) as Error);
    expect(free).toBe(10 * MIB);
    free += 3 * MIB;
    write(3 * MIB);
    expect(() => write(1)).toThrow('kept free');
  });

  test('what is being written counts, though the disk may not have it yet, until it is or was not', async () => {
    const room = new Room('.', 10 * MIB, () => 30 * MIB);
    const ends: ((failure?: Error) => void)[] = [];
    const disk = (): Promise<void> => new Promise((resolve, reject) => ends.push((failure) => (failure ? reject(failure) : resolve())));
    const writing = [room.taking(10 * MIB, '.', disk), room.taking(10 * MIB, '.', disk)];
    await expect(room.taking(1, '.', () => Promise.resolve())).rejects.toThrow('the disk has 10.0 MiB left');
    ends[0]!();
    ends[1]!(new Error('not written'));
    expect((await Promise.allSettled(writing)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await room.taking(20 * MIB, '.', () => Promise.resolve());
  });

  test('where nobody can tell what is free, nothing is refused', () => {
    const room = new Room('.', 10 * MIB, () => undefined);
    room.check(1e15);
    room.take(1e15);
  });

  test('a folder that is there can be told of', () => {
    expect(() => new Room('.', 1e18).check(0)).toThrow('kept free');
    expect(() => new Room('.', 0).check(0)).not.toThrow();
  });
});

describe('an inbox', () => {
  /** Two files that travel packed, of 1 and 5000 octets. */
  function folderOf(scene: Scene): string {
    const root = join(scene.here, 'many');
    mkdirSync(root);
    writeFileSync(join(root, 'small'), 'x');
    writeFileSync(join(root, 'larger'), new Uint8Array(5000));
    return root;
  }

  test('takes no larger file than it is told to, packed or not, and says who sets that', async () => {
    const scene = await Scene.open({ largest: 1000 });
    const { path } = scene.file('a.bin', 1001);
    const error = await failure(send({ connect: scene.wire().connect, file: path, ...QUICK }));
    expect(error).toMatchObject({ code: 'TRANSFER_TOO_LARGE', side: 'there' });
    expect(error.hint).toContain('transfer.largest');
    const { skipped } = await sendTree({ connect: scene.wire().connect, files: [folderOf(scene)], ...QUICK });
    expect(skipped).toMatchObject([
      { name: 'many/larger', why: expect.stringContaining('4.9 KiB is more than is accepted here (1000 B)') },
    ]);
    expect(tree(scene.inbox)).toEqual(['.tunnelwright-partial/', 'many/', 'many/small']);
  });

  test('refuses with 507 what would use what has to stay free, packed or not; it comes once there is room', async () => {
    const scene = await Scene.open({ keepFree: 1e18 });
    const { path, data } = scene.file('a.bin', 1000);
    const root = folderOf(scene);
    const error = await failure(send({ connect: scene.wire().connect, file: path, ...ONCE }));
    expect(error).toMatchObject({ code: 'TRANSFER_DISK_FULL', side: 'there' });
    expect(error.hint).toContain('Make room on the receiving machine');
    expect((await failure(sendTree({ connect: scene.wire().connect, files: [root], ...ONCE }))).code).toBe('TRANSFER_DISK_FULL');
    expect(tree(scene.inbox)).toEqual(['.tunnelwright-partial/']);
    await scene.server.close(0);
    await scene.restart({ keepFree: 0 });
    await send({ connect: scene.wire().connect, file: path, ...QUICK });
    await sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    expect(sha256(scene.stored('a.bin'))).toBe(sha256(data));
    expect(tree(join(scene.inbox, 'many'))).toEqual(['larger', 'small']);
  });
});

describe('a limit of the serving side holds all connections together', () => {
  test.each(['sent', 'got'] as const)('files that are %s', async (way) => {
    const scene = await Scene.open({ limit: 2 * MIB, timing: SYSTEM_TIMING });
    const began = performance.now();
    await Promise.all(
      ['a', 'b', 'c'].map(async (name) => {
        const { connect } = scene.wire();
        if (way === 'sent') {
          const { path, data } = scene.file(name, MIB / 4);
          await send({ connect, file: path, ...QUICK });
          expect(sha256(scene.stored(name))).toBe(sha256(data));
        } else {
          const data = scene.share(name, MIB / 4);
          await get({ connect, from: { path: name }, to: join(scene.here, name), ...QUICK });
          expect(sha256(readFileSync(join(scene.here, name)))).toBe(sha256(data));
        }
      }),
    );
    // 768 KiB take 375 ms, of which a tenth of a second may be made up for.
    expect(performance.now() - began).toBeGreaterThan(250);
  });

  test('packed files', async () => {
    const scene = await Scene.open({ limit: 2 * MIB, timing: SYSTEM_TIMING });
    const root = join(scene.here, 'many');
    mkdirSync(root);
    for (let i = 0; i < 100; i++) writeFileSync(join(root, `${i}`), new Uint8Array(8192));
    const began = performance.now();
    await sendTree({ connect: scene.wire().connect, files: [root], ...QUICK });
    expect(performance.now() - began).toBeGreaterThan(250);
    expect(tree(join(scene.inbox, 'many'))).toHaveLength(100);
  });
});
