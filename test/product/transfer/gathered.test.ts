import { expect, test } from 'vitest';
import { gathered } from '../../../src/product/transfer/gathered.ts';

const piece = (octet: number): Uint8Array => new Uint8Array(10).fill(octet);

/** What is handed over, by the first octet of each piece. */
async function collected(source: AsyncIterable<Uint8Array>, most: number, busy: () => Promise<void>): Promise<number[][]> {
  const all: number[][] = [];
  for await (const pieces of gathered(source, most)) {
    all.push(pieces.map(([first]) => first!));
    await busy();
  }
  return all;
}

async function* counting(count: number, onRead: (i: number) => void = () => {}): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    onRead(i);
    yield piece(i);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what came while the taker was busy is handed over together, in order', async () => {
  const all = await collected(counting(50), 1000, turn);
  expect(all.flat()).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(all.length).toBeLessThan(10);
});

test('no more waits than was said', async () => {
  let read = 0;
  let taken = 0;
  const source = counting(50, () => read++);
  for await (const pieces of gathered(source, 30)) {
    taken += pieces.length;
    await turn();
    expect(read - taken).toBeLessThanOrEqual(3);
  }
  expect(taken).toBe(50);
});

test('what came before a failure is handed over first', async () => {
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield piece(1);
    yield piece(2);
    throw new Error('gone');
  };
  const all: number[] = [];
  const take = async (): Promise<void> => {
    for await (const pieces of gathered(failing())) {
      all.push(...pieces.map(([first]) => first!));
      await turn();
    }
  };
  await expect(take()).rejects.toThrow('gone');
  expect(all).toEqual([1, 2]);
});

test('a taker that leaves ends the source', async () => {
  let ended = false;
  const endless = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield piece(0);
    } finally {
      ended = true;
    }
  };
  for await (const _ of gathered(endless(), 20)) break;
  await turn();
  expect(ended).toBe(true);
});
