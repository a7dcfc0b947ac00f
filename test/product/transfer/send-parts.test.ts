import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BLOCK } from '../../../src/product/transfer/blocks.ts';
import { send } from '../../../src/product/transfer/index.ts';
import { partsOf } from '../../../src/product/transfer/send-parts.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { ONCE, QUICK, Scene, sha256, tree } from './scene.ts';

const SIZE = 3 * BLOCK + 17;
const partial = (scene: Scene): string => join(scene.inbox, '.tunnelwright-partial');

test('parts are whole blocks, of about the same size, and nothing is between them', () => {
  expect(partsOf(SIZE, 2)).toEqual([
    { start: 0, end: 2 * BLOCK },
    { start: 2 * BLOCK, end: SIZE },
  ]);
  expect(partsOf(SIZE, 16)).toHaveLength(4);
  expect(partsOf(BLOCK, 4)).toEqual([{ start: 0, end: BLOCK }]);
});

test('a file arrives whole, over as many connections as are asked for, and over one where that is enough', async () => {
  const scene = await Scene.open();
  for (const [name, size, parallel, connections] of [
    ['one', SIZE, undefined, 1],
    ['two', SIZE, 2, 3],
    ['small', 1000, 4, 1],
  ] as const) {
    const { path, data } = scene.file(name, size);
    const wire = scene.wire();
    const sent = await send({ connect: wire.connect, file: path, parallel, ...QUICK });
    expect(sent).toMatchObject({ bytes: size, sha256: sha256(data), storedAs: name, resumedFrom: 0, retries: 0 });
    expect(wire.connections).toBe(connections);
    expect(sha256(scene.stored(name))).toBe(sha256(data));
  }
  expect(scene.events.filter(({ kind }) => kind === 'stored')).toHaveLength(3);
  expect(readdirSync(partial(scene)).filter((name) => name.endsWith('.part'))).toEqual([]);
  const again = scene.wire();
  expect(await send({ connect: again.connect, file: join(scene.here, 'two'), parallel: 4, ...QUICK })).toMatchObject({
    storedAs: 'two',
    resumedFrom: SIZE,
  });
  expect(again.bytes).toBeLessThan(2000);
});

test('cut again and again, run after run, it goes on, and little is sent twice', async () => {
  const scene = await Scene.open();
  const { path, data } = scene.file('big', SIZE);
  const random = new SeededRandom('cuts');
  let bytes = 0;
  for (let runs = 0; ; runs++) {
    expect(runs).toBeLessThan(60);
    const wire = scene.wire({ cutAfter: () => random.between(200_000, 2 * BLOCK) });
    const sent = await send({ connect: wire.connect, file: path, parallel: 3, ...ONCE }).catch(() => undefined);
    bytes += wire.bytes;
    if (sent !== undefined) break;
  }
  expect(sha256(scene.stored('big'))).toBe(sha256(data));
  expect(bytes).toBeLessThan(3 * SIZE);
  expect(tree(scene.inbox).filter((name) => name.endsWith('.part'))).toEqual([]);
});

test('connections that break within a run are made again', async () => {
  const scene = await Scene.open();
  const { path, data } = scene.file('big', SIZE);
  const random = new SeededRandom('breaks');
  const wire = scene.wire({ cutAfter: () => random.between(100_000, BLOCK) });
  const sent = await send({ connect: wire.connect, file: path, parallel: 3, ...QUICK });
  expect(sent.resumedFrom).toBeLessThan(SIZE);
  expect(sent.retries).toBeGreaterThan(0);
  expect(sha256(scene.stored('big'))).toBe(sha256(data));
});

test('what was damaged of a part is mended when all is together', async () => {
  const scene = await Scene.open();
  const { path, data } = scene.file('big', SIZE);
  let connections = 0;
  // the first connection announces; of the parts one breaks off
  const cutAfter = () => (++connections === 3 ? 900_000 : Number.POSITIVE_INFINITY);
  await send({ connect: scene.wire({ cutAfter }).connect, file: path, parallel: 2, ...ONCE }).catch(() => undefined);
  await scene.server.close(0);
  for (const name of readdirSync(partial(scene)).filter((one) => one.endsWith('.part'))) {
    const octets = readFileSync(join(partial(scene), name));
    if (octets.length !== 2 * BLOCK) continue;
    octets[5]! ^= 1;
    writeFileSync(join(partial(scene), name), octets);
  }
  await scene.restart();
  const sent = await send({ connect: scene.wire().connect, file: path, parallel: 2, ...QUICK });
  expect(sent.mended).toEqual([{ start: 0, end: BLOCK }]);
  expect(sha256(scene.stored('big'))).toBe(sha256(data));
});
