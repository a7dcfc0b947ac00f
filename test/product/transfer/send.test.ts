import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { send, type TransferProgress } from '../../../src/product/transfer/index.ts';
import { failure, ONCE, PATIENCE, QUICK, Scene, sha256, tree } from './scene.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** The class of open files, to make the disk misbehave. */
async function fileHandles(): Promise<FileHandle> {
  const handle = await open('/dev/null');
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}

describe('send', () => {
  test('stores the file under its name, with its time and permissions', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('report.pdf', 70_000);
    chmodSync(path, 0o4640);
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result).toMatchObject({ bytes: 70_000, sha256: sha256(data), storedAs: 'report.pdf', resumedFrom: 0, retries: 0 });
    const stat = statSync(join(scene.inbox, 'report.pdf'));
    expect([stat.mode & 0o7777, stat.mtimeMs]).toEqual([0o640, 1_700_000_000_000]);
    expect(statSync(join(scene.inbox, '.tunnelwright-partial')).mode & 0o777).toBe(0o700);
  });

  test.each([
    ['', 'report.pdf'],
    ['inbox/', 'report.pdf'],
    ['/inbox/', 'report.pdf'],
    ['2026/q4/', '2026/q4/report.pdf'],
    ['inbox/other.pdf', 'other.pdf'],
    ['ä ö/☃.pdf', 'ä ö/☃.pdf'],
  ])('to %j it becomes %s', async (to, storedAs) => {
    const scene = await Scene.open();
    const { path, data } = scene.file('report.pdf', 1000);
    const result = await send({ connect: scene.wire().connect, file: path, to, ...QUICK });
    expect(result.storedAs).toBe(storedAs);
    expect(sha256(scene.stored(storedAs))).toBe(sha256(data));
  });

  test.each(['../x', 'a/../../x', '..', 'a//b', 'x\\y', '.tunnelwright-partial/x'])(
    'to %j is refused before anything leaves',
    async (to) => {
      const scene = await Scene.open();
      const { path } = scene.file('report.pdf', 1000);
      const wire = scene.wire();
      expect((await failure(send({ connect: wire.connect, file: path, to, ...QUICK }))).code).toBe('TRANSFER_BAD_PATH');
      expect(wire.connections).toBe(0);
    },
  );

  test('an empty file is a file', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('empty', 0);
    expect(await send({ connect: scene.wire().connect, file: path, ...QUICK })).toMatchObject({ bytes: 0, storedAs: 'empty' });
    expect(scene.stored('empty')).toHaveLength(0);
  });

  test('a name that is taken gets a number; the same content to the same name is known', async () => {
    const scene = await Scene.open();
    const first = scene.file('a.txt', 100, 'one');
    const sent = () => send({ connect: scene.wire().connect, file: first.path, ...QUICK });
    expect((await sent()).storedAs).toBe('a.txt');
    const wire = scene.wire();
    expect((await send({ connect: wire.connect, file: first.path, ...QUICK })).storedAs).toBe('a.txt');
    expect(wire.bytes, 'nothing was sent again').toBeLessThan(1500);
    const second = scene.file('a.txt', 100, 'two');
    expect((await sent()).storedAs).toBe('a (1).txt');
    expect(sha256(scene.stored('a (1).txt'))).toBe(sha256(second.data));
    expect(sha256(scene.stored('a.txt'))).toBe(sha256(first.data));
  });

  test('what was stored and then changed or removed is sent anew', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('a.txt', 5000);
    const sent = () => send({ connect: scene.wire().connect, file: path, ...QUICK });
    await sent();
    writeFileSync(join(scene.inbox, 'a.txt'), new Uint8Array(5000));
    expect((await sent()).storedAs).toBe('a (1).txt');
    renameSync(join(scene.inbox, 'a (1).txt'), join(scene.inbox, 'gone'));
    expect((await sent()).storedAs).toBe('a (1).txt');
    expect(sha256(scene.stored('a (1).txt'))).toBe(sha256(data));
  });

  test('replace and refuse', async () => {
    const scene = await Scene.open({ ifExists: 'replace' });
    const one = scene.file('a.txt', 100, 'one');
    await send({ connect: scene.wire().connect, file: one.path, ...QUICK });
    const two = scene.file('a.txt', 100, 'two');
    expect((await send({ connect: scene.wire().connect, file: two.path, ...QUICK })).storedAs).toBe('a.txt');
    expect(sha256(scene.stored('a.txt'))).toBe(sha256(two.data));
    await scene.restart({ ifExists: 'refuse' });
    const three = scene.file('a.txt', 100, 'three');
    const refused = await failure(send({ connect: scene.wire().connect, file: three.path, ...QUICK }));
    expect([refused.code, refused.side]).toEqual(['TRANSFER_EXISTS', 'there']);
    expect(sha256(scene.stored('a.txt'))).toBe(sha256(two.data));
  });

  test('two peers with the same file do not meet in one upload', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('a.bin', 200_000);
    const cut = scene.wire({ cutAfter: () => 100_000 }, 'alice');
    await failure(send({ connect: cut.connect, file: path, ...ONCE }));
    const result = await send({ connect: scene.wire({}, 'bob').connect, file: path, ...QUICK });
    expect(result).toMatchObject({ resumedFrom: 0, storedAs: 'a.bin' });
  });
});

describe('resuming', () => {
  test('the next run goes on where the last one ended', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big.bin', 500_000);
    const wire = scene.wire({ cutAfter: () => 300_000 });
    const lost = await failure(send({ connect: wire.connect, file: path, ...ONCE }));
    expect(lost).toMatchObject({ code: 'TRANSFER_INTERRUPTED', resumable: true, hint: 'Run the same command to resume.' });
    expect(tree(scene.inbox)).not.toContain('big.bin');
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result.resumedFrom).toBeGreaterThan(200_000);
    expect(sha256(scene.stored('big.bin'))).toBe(sha256(data));
  });

  test('also when the server was restarted in between', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big.bin', 500_000);
    await failure(send({ connect: scene.wire({ cutAfter: () => 300_000 }).connect, file: path, ...ONCE }));
    await scene.server.close(0);
    await scene.restart();
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result.resumedFrom).toBeGreaterThan(200_000);
    expect(sha256(scene.stored('big.bin'))).toBe(sha256(data));
  });

  test('octets that changed on the server’s disk in between are noticed, and sent again', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big.bin', 500_000);
    await failure(send({ connect: scene.wire({ cutAfter: () => 300_000 }).connect, file: path, ...ONCE }));
    await scene.server.close(0);
    const folder = join(scene.inbox, '.tunnelwright-partial');
    const part = join(folder, readdirSync(folder).find((name) => name.endsWith('.part'))!);
    const damaged = readFileSync(part);
    damaged[1000]! ^= 1;
    writeFileSync(part, damaged);
    await scene.restart();
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result).toMatchObject({ retries: 0, mended: [{ start: 0, end: 500_000 }] });
    expect(sha256(scene.stored('big.bin'))).toBe(sha256(data));
  });

  test('a connection that the server believes alive is taken over', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big.bin', 400_000);
    let connections = 0;
    const wire = scene.wire({ cutAfter: () => (connections++ === 0 ? 150_000 : Number.POSITIVE_INFINITY), kind: () => 'client only' });
    // Nobody lets time pass here: the server never notices by itself.
    await send({ connect: wire.connect, file: path, ...QUICK, timing: scene.timing });
    expect(sha256(scene.stored('big.bin'))).toBe(sha256(data));
  });

  test('gives up after its time, and says what is kept', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('big.bin', 5 * 1024 * 1024);
    let connections = 0;
    const wire = scene.wire({ cutAfter: () => (connections === 1 ? 4 * 1024 * 1024 : 3000), refuse: () => connections++ > 1 });
    // The first cut is told by the second connection; then nobody answers, and a minute passes with each refusal.
    const lost = await failure(
      send({
        connect: () =>
          wire.connect().catch((cause: unknown) => {
            scene.timing.elapse();
            throw cause;
          }),
        file: path,
        retry: { initial: 1, longest: 4, giveUp: 60_000 },
        timing: scene.timing,
      }),
    );
    expect(lost.message).toMatch(/^tunnel lost \(no answer for 60 s\)\. Kept [34]\.\d MiB\.$/);
    expect(lost).toMatchObject({ resumable: true, code: 'TRANSFER_INTERRUPTED' });
    expect(lost.kept).toBeGreaterThan(3_000_000);
  });

  test('a signal ends it at once, resumable', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('big.bin', 3_000_000);
    const stop = new AbortController();
    const wire = scene.wire();
    const stopped = failure(
      send({
        connect: wire.connect,
        file: path,
        signal: stop.signal,
        onProgress: (progress) => progress.phase === 'sending' && setImmediate(() => stop.abort()),
      }),
    );
    expect(await stopped).toMatchObject({ code: 'TRANSFER_ABORTED', resumable: true });
    expect(tree(scene.inbox)).not.toContain('big.bin');
    const again = await send({ connect: scene.wire().connect, file: path });
    expect(again.storedAs).toBe('big.bin');
  });
});

test('a connection that comes about when nobody wants it any more is closed', async () => {
  const scene = await Scene.open();
  const { path } = scene.file('a.txt', 10);
  const stop = new AbortController();
  const wire = scene.wire();
  let opened: (() => void) | undefined;
  let late: Awaited<ReturnType<typeof wire.connect>> | undefined;
  const connect = async (): ReturnType<typeof wire.connect> => {
    await new Promise<void>((resolve) => {
      opened = resolve;
      stop.abort();
    });
    late = await wire.connect();
    return late;
  };
  expect((await failure(send({ connect, file: path, signal: stop.signal, ...QUICK }))).code).toBe('TRANSFER_ABORTED');
  opened!();
  await vi.waitFor(() => expect(late?.destroyed).toBe(true), PATIENCE);
});

test('a connection that never comes about counts as lost', async () => {
  const scene = await Scene.open();
  const { path } = scene.file('a.txt', 10);
  const wire = scene.wire();
  let attempts = 0;
  const connect = (): ReturnType<typeof wire.connect> => {
    if (attempts++ > 0) return wire.connect();
    setTimeout(scene.timing.elapse, 5);
    return new Promise(() => {});
  };
  expect(await send({ connect, file: path, ...QUICK, timing: scene.timing })).toMatchObject({ retries: 1 });
});

describe('what goes wrong', () => {
  test('a missing file, a folder, a link to nowhere', async () => {
    const scene = await Scene.open();
    symlinkSync('nowhere', join(scene.here, 'link'));
    for (const [file, code] of [
      ['missing', 'TRANSFER_NOT_FOUND'],
      ['.', 'TRANSFER_NOT_A_FILE'],
      ['link', 'TRANSFER_NOT_FOUND'],
    ] as const) {
      const error = await failure(send({ connect: scene.wire().connect, file: join(scene.here, file), to: 'x', ...QUICK }));
      expect([error.code, error.side]).toEqual([code, 'here']);
    }
  });

  test('a file that grows while it is sent', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('log.txt', 600_000);
    const grow = once(
      (progress) => progress.phase === 'sending',
      () => appendFileSync(path, 'one more line'),
    );
    const error = await failure(send({ connect: scene.wire().connect, file: path, onProgress: grow, ...QUICK }));
    expect(error).toMatchObject({ code: 'TRANSFER_FILE_CHANGED', side: 'here' });
    expect(error.message).toMatch(/changed while it was being sent/);
  });

  test('a file that changes in place and keeps size and time: the digest tells', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('data.bin', 600_000);
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    const change = once(
      (progress) => progress.phase === 'connecting',
      () => {
        const data = readFileSync(path);
        data[500_000]! ^= 1;
        writeFileSync(path, data);
        utimesSync(path, 1_700_000_000, 1_700_000_000);
      },
    );
    const error = await failure(send({ connect: scene.wire().connect, file: path, onProgress: change, ...QUICK }));
    expect(error.code).toBe('TRANSFER_DIGEST_MISMATCH');
    expect(existsSync(join(scene.inbox, 'data.bin'))).toBe(false);
  });

  test('a file that shrinks while it is sent', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('data.bin', 2_000_000);
    const shrink = once(
      (progress) => progress.phase === 'sending',
      () => writeFileSync(path, 'short'),
    );
    expect((await failure(send({ connect: scene.wire().connect, file: path, onProgress: shrink, ...QUICK }))).code).toBe(
      'TRANSFER_FILE_CHANGED',
    );
  });

  test('the disk of the receiver fills up: said at once, what is there stays, and it resumes once there is room', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('big.bin', 400_000);
    const handles = await fileHandles();
    const write = handles.write as (...args: unknown[]) => Promise<unknown>;
    const noSpace = (): Promise<never> =>
      Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', errno: -28 }));
    // as a system does it: what still fits is taken, and what comes then is refused
    const full = vi.spyOn(handles, 'writev').mockImplementation(async function (
      this: FileHandle,
      pieces: readonly Uint8Array[],
      at: number,
    ) {
      const fits = Buffer.concat(pieces).subarray(0, Math.max(0, 200_000 - at));
      if (fits.length === 0) return noSpace();
      await write.call(this, fits, 0, fits.length, at);
      return { bytesWritten: fits.length };
    } as never);
    const refused = vi.spyOn(handles, 'write').mockImplementation(function (this: FileHandle, ...args: unknown[]) {
      return (args[3] as number) >= 200_000 ? noSpace() : write.apply(this, args);
    } as never);
    const error = await failure(send({ connect: scene.wire().connect, file: path, ...QUICK }));
    expect(error).toMatchObject({ code: 'TRANSFER_DISK_FULL', side: 'there', resumable: true });
    expect(error.message).toBe('big.bin: the disk is full (says the other end)');
    full.mockRestore();
    refused.mockRestore();
    const result = await send({ connect: scene.wire().connect, file: path, ...QUICK });
    expect(result.resumedFrom).toBeGreaterThan(100_000);
    expect(sha256(scene.stored('big.bin'))).toBe(sha256(data));
  });

  test('a folder that may not be written: said, not retried', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('a.txt', 100);
    mkdirSync(join(scene.inbox, 'locked'));
    chmodSync(join(scene.inbox, 'locked'), 0o500);
    writeFileSync(join(scene.inbox, 'occupied'), '');
    const error = await failure(send({ connect: scene.wire().connect, file: path, to: 'occupied/a.txt', ...QUICK }));
    expect(error).toMatchObject({ side: 'there' });
    expect(['TRANSFER_NOT_FOUND', 'TRANSFER_FORBIDDEN']).toContain(error.code);
    if (process.getuid?.() === 0) return;
    expect((await failure(send({ connect: scene.wire().connect, file: path, to: 'locked/a.txt', ...QUICK }))).code).toBe(
      'TRANSFER_FORBIDDEN',
    );
  });

  test('larger than is accepted', async () => {
    const scene = await Scene.open({ largest: 1000 });
    const { path } = scene.file('a.bin', 1001);
    const error = await failure(send({ connect: scene.wire().connect, file: path, ...QUICK }));
    expect(error.code).toBe('TRANSFER_TOO_LARGE');
    expect(error.message).toMatch(/1001 B is more than is accepted here \(1000 B\)/);
  });

  test('a server without an inbox', async () => {
    const scene = await Scene.open();
    await scene.restart({ inbox: undefined });
    const { path } = scene.file('a.bin', 10);
    expect((await failure(send({ connect: scene.wire().connect, file: path, ...QUICK }))).code).toBe('TRANSFER_NOT_FOUND');
  });

  test('octets that turn over on the way are noticed, and sent again', async () => {
    const scene = await Scene.open();
    const { path, data } = scene.file('a.bin', 100_000);
    let spoilt = 0;
    const spoil = (segment: Uint8Array): void => {
      if (segment.length < 2000 || spoilt++ > 0) return;
      segment[1500]! ^= 1;
    };
    const result = await send({ connect: scene.wire({ spoil }).connect, file: path, ...QUICK });
    expect(spoilt).toBeGreaterThan(0);
    expect(result).toMatchObject({ retries: 0, mended: [{ start: 0, end: 100_000 }] });
    expect(sha256(scene.stored('a.bin'))).toBe(sha256(data));
  });
});

describe('progress and back-pressure', () => {
  test('runs from 0 to the whole, with rate and time left, and ends with done', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('a.bin', 2_000_000);
    const events: TransferProgress[] = [];
    await send({ connect: scene.wire({ pace: 10 }).connect, file: path, onProgress: (progress) => events.push(progress) });
    const phases = events.map((event) => event.phase).filter((phase, i, all) => phase !== all[i - 1]);
    expect(phases).toEqual(['hashing', 'connecting', 'sending', 'done']);
    const sending = events.filter((event) => event.phase === 'sending');
    expect(sending.map((event) => event.bytes)).toEqual([...sending.map((event) => event.bytes)].sort((a, b) => a - b));
    expect(events.at(-1)).toMatchObject({ bytes: 2_000_000, total: 2_000_000 });
    const middle = sending.find((event) => event.rate > 0)!;
    expect(middle.eta).toBeCloseTo((middle.total - middle.bytes) / middle.rate, 3);
  });

  test('a slow receiver holds the sender back: little more is read than is taken', async () => {
    const scene = await Scene.open();
    const { path } = scene.file('a.bin', 4_000_000);
    const wire = scene.wire({ pace: 1 });
    let ahead = 0;
    await send({
      connect: wire.connect,
      file: path,
      ...QUICK,
      onProgress: (progress) => {
        if (progress.phase === 'sending') ahead = Math.max(ahead, progress.bytes - wire.bytes);
      },
    });
    expect(ahead).toBeLessThan(400_000);
  });
});

/** Does something at the first event that fits. */
function once(when: (progress: TransferProgress) => boolean, work: () => void): (progress: TransferProgress) => void {
  let done = false;
  return (progress) => {
    if (done || !when(progress)) return;
    done = true;
    work();
  };
}
