import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ThreadEvents, Threads } from '../../../src/host/platform/worker-threads.ts';
import { sendTree } from '../../../src/product/transfer/index.ts';
import { FileThread } from '../../../src/product/transfer/tree/file-thread.ts';
import { failure, folder, HERE, ONCE, Scene, tree } from './scene.ts';

/** As it is built: a thread runs no TypeScript. */
const MODULE = new URL('../../../dist/product/transfer/tree/file-worker.js', import.meta.url);

describe('a thread of its own for many small files', () => {
  test('both ends of a tree in threads: it arrives whole', async () => {
    const own = { threads: undefined, module: MODULE };
    const scene = await Scene.open(own);
    const root = join(scene.here, 'd');
    for (const name of ['a', 'b']) {
      mkdirSync(join(root, name), { recursive: true });
      for (let i = 0; i < 30; i++) writeFileSync(join(root, name, `${i}`), `${name}${i}`.repeat(50 * i));
    }
    const result = await sendTree({ connect: scene.wire().connect, files: [root], ...ONCE, ...own });
    expect(result).toMatchObject({ files: 60, skippedCount: 0 });
    expect(tree(join(scene.inbox, 'd'))).toEqual(tree(root));
    for (const name of ['a/29', 'b/1']) expect(readFileSync(join(scene.inbox, 'd', name))).toEqual(readFileSync(join(root, name)));
  });

  test('what is refused there is told here as it was meant', async () => {
    const files = new FileThread({ module: MODULE });
    const refused = await failure(files.open('named', { path: join(folder(), 'nothing'), into: [], renamed: false }));
    expect(refused).toMatchObject({ code: 'TRANSFER_NOT_FOUND', side: 'here', resumable: false });
    await files.close();
  });

  test('octets are handed over, both ways', async () => {
    const root = folder();
    writeFileSync(join(root, 'f'), 'x'.repeat(1000));
    const files = new FileThread({ module: MODULE });
    const source = await files.open('below', root);
    const { body } = await source.call('pack', [{ kind: 'file', path: ['f'] }], 0);
    const there = folder();
    const unpacking = await files.open('unpacking', { root: there, scratch: there, ifExists: 'both' });
    expect(await unpacking.call('push', body)).toBe(1000);
    expect(body.length, 'it is theirs now').toBe(0);
    expect(await unpacking.call('end')).toMatchObject({ files: 1, bytes: 1000, refused: [] });
    for (const open of [source, unpacking]) await open.close();
    await files.close();
    expect(tree(there)).toEqual(['f']);
  });

  test('where no thread can be had, the work is done without one', async () => {
    const root = folder();
    writeFileSync(join(root, 'f'), 'f');
    const files = new FileThread({ module: new URL('./no-such-worker.js', MODULE) });
    const source = await files.open('below', root);
    expect(await source.call('list', [])).toMatchObject([{ path: ['f'], size: 1 }]);
    await source.close();
    await files.close();
  });

  test('a thread that ends ends what was open in it; the next one works', async () => {
    const root = folder();
    const started: ThreadEvents[] = [];
    const threads: Threads = {
      cores: 1,
      start: (module, events) => {
        started.push(events);
        return HERE.start(module, events);
      },
    };
    const files = new FileThread({ threads });
    const source = await files.open('below', root);
    const listing = failure(source.call('list', []));
    started[0]!.onExit('out of memory');
    expect(await listing).toMatchObject({ code: 'TRANSFER_IO', message: 'what reads and writes files has ended: out of memory' });
    expect((await failure(source.call('list', []))).code).toBe('TRANSFER_IO');
    const again = await files.open('below', root);
    expect(await again.call('list', [])).toEqual([]);
    expect(started).toHaveLength(2);
    await files.close();
  });
});
