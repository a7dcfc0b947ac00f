import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { get } from '../../../src/product/transfer/index.ts';
import { inRanges } from '../../../src/product/transfer/ranges.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { folder, ONCE, PATIENCE, QUICK, Scene, sha256, TestTiming } from './scene.ts';
import { Wire } from './wire.ts';

const MIB = 2 ** 20;

/** What `bring` is asked for, each to be answered when the test likes. */
function source() {
  const open: { connection: number; start: number; end: number; answer: () => void; fail: () => void }[] = [];
  const bring = (connection: number, start: number, end: number): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      const octets = new Uint8Array(end - start).fill(start / MIB);
      open.push({ connection, start, end, answer: () => resolve(octets), fail: () => reject(new Error(`lost at ${start}`)) });
    });
  return { open, bring };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('octets in ranges', () => {
  test('come in order, in whatever order they arrive', async () => {
    const { open, bring } = source();
    const lines: [number, number][] = [];
    const going = (async () => {
      for await (const block of inRanges({ from: 0, to: 4.5 * MIB, connections: 3, bring })) lines.push([block[0]!, block.length]);
    })();
    await settled();
    expect(open.map(({ connection, start }) => [connection, start / MIB])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    open[2]!.answer();
    await settled();
    expect([lines, open[3]]).toMatchObject([[], { connection: 2, start: 3 * MIB }]);
    open[0]!.answer();
    await settled();
    expect(open[4]).toMatchObject({ connection: 0, start: 4 * MIB, end: 4.5 * MIB });
    for (const { answer } of open) answer();
    await going;
    expect(lines).toEqual([
      [0, MIB],
      [1, MIB],
      [2, MIB],
      [3, MIB],
      [4, MIB / 2],
    ]);
  });

  test('what is ahead of its turn is bounded', async () => {
    const { open, bring } = source();
    const blocks = inRanges({ from: 0, to: 1000 * MIB, connections: 2, bring });
    const first = blocks.next();
    for (let done = 1; done < 16; done++) {
      open[done]!.answer();
      await settled();
    }
    expect(open.length).toBe(16);
    open[0]!.answer();
    await first;
    await blocks.return(undefined);
    await settled();
    expect(open.length).toBe(16);
  });

  test('what came before the one that failed still counts, and nothing more is asked for', async () => {
    const { open, bring } = source();
    const got: number[] = [];
    const going = (async () => {
      for await (const block of inRanges({ from: 0, to: 100 * MIB, connections: 3, bring })) got.push(block[0]!);
    })();
    await settled();
    open[2]!.fail();
    await settled();
    for (const n of [1, 0]) open[n]!.answer();
    await expect(going).rejects.toThrow(`lost at ${2 * MIB}`);
    expect([got, open.length]).toEqual([[0, 1], 3]);
  });
});

describe('a file by several connections', () => {
  test('arrives whole, over as many as are asked for, and over one where that is enough', async () => {
    const scene = await Scene.open();
    const data = scene.share('big.bin', 5 * MIB + 17);
    for (const [parallel, connections] of [
      [undefined, 1],
      [2, 3],
      [4, 5],
    ] as const) {
      const wire = scene.wire();
      const got = await get({ connect: wire.connect, from: { path: 'big.bin' }, to: folder(), ...(parallel && { parallel }), ...QUICK });
      // one more asks what there is
      expect(wire.connections).toBe(connections);
      expect(got).toMatchObject({ bytes: data.length, sha256: sha256(data), verified: true });
      // there it is one file, told of once the last octet has left, which may be after it has come
      const file = { name: 'big.bin', from: 0, bytes: data.length, total: data.length };
      await vi.waitFor(() => expect(scene.events).toEqual([{ kind: 'sent', peer: 'alice', file }]), PATIENCE);
      scene.events.length = 0;
    }
  });

  test('cut again and again it goes on, and what is in the part file has no holes', async () => {
    const scene = await Scene.open();
    const data = scene.share('big.bin', 6 * MIB);
    const random = new SeededRandom('cuts');
    const to = folder();
    const cutAfter = () => random.between(200_000, 3 * MIB);
    for (let runs = 0; ; runs++) {
      expect(runs).toBeLessThan(40);
      const whole = await get({ connect: scene.wire({ cutAfter }).connect, from: { path: 'big.bin' }, to, parallel: 4, ...ONCE }).catch(
        () => undefined,
      );
      if (whole !== undefined) {
        expect(sha256(readFileSync(whole.path))).toBe(sha256(data));
        break;
      }
      const part = readdirSync(to).find((name) => name.endsWith('.part'))!;
      const there = readFileSync(join(to, part));
      expect(sha256(there)).toBe(sha256(data.subarray(0, there.length)));
    }
  });

  test('that changes over there in the middle is begun again with the new one', async () => {
    const scene = await Scene.open();
    scene.share('big.bin', 8 * MIB);
    let changed = false;
    const wire = scene.wire({
      spoil: () => {
        if (changed || wire.bytes < 2 * MIB) return;
        changed = true;
        appendFileSync(join(scene.shared, 'big.bin'), 'more');
      },
    });
    const got = await get({ connect: wire.connect, from: { path: 'big.bin' }, to: folder(), parallel: 4, ...QUICK });
    expect(changed).toBe(true);
    expect(got.bytes).toBe(statSync(join(scene.shared, 'big.bin')).size);
    expect(sha256(readFileSync(got.path))).toBe(sha256(readFileSync(join(scene.shared, 'big.bin'))));
  });

  test.each([
    ['answers with the whole', 200, {}],
    ['answers with another range', 206, { 'Content-Range': `bytes 0-9/${3 * MIB}` }],
  ])('from a server that announces ranges, but %s: one stream', async (_, status, fields) => {
    const data = new SeededRandom('foreign').bytes(3 * MIB);
    const server = createServer((request: IncomingMessage, response: ServerResponse) => {
      const lies = request.headers.range !== undefined;
      response.writeHead(lies ? status : 200, {
        'Content-Length': data.length,
        ETag: '"v1"',
        'Accept-Ranges': 'bytes',
        ...(lies && fields),
      });
      response.end(request.method === 'HEAD' ? undefined : data);
    });
    const wire = new Wire({ accept: (stream) => void server.emit('connection', stream), elapse: new TestTiming().elapse });
    const got = await get({ connect: wire.connect, from: { url: '/file.iso', name: 'file.iso' }, to: folder(), parallel: 4, ...QUICK });
    expect(readFileSync(got.path).equals(data)).toBe(true);
  });
});
