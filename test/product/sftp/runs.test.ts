import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OpenFlag, PacketType } from '../../../src/product/sftp/protocol.ts';
import { Run } from '../../../src/product/sftp/run.ts';
import { octets, Scene } from './scene.ts';

/** READ or WRITE as it comes, without its length. */
function packet(type: number, handle: number, offset: number, length: number, data = type === PacketType.WRITE ? length : 0): Uint8Array {
  const octets = new Uint8Array(25 + data);
  const view = new DataView(octets.buffer);
  octets[0] = type;
  view.setUint32(5, 4);
  view.setUint32(9, handle);
  view.setBigUint64(13, BigInt(offset));
  view.setUint32(21, length);
  return octets;
}

describe('what may be done beside the request before', () => {
  const { READ, WRITE, CLOSE } = PacketType;
  const never = (): boolean => false;
  const said = (...packets: readonly Uint8Array[]): boolean[] => {
    const run = new Run();
    return packets.map((each) => run.continues(each, never));
  };

  test('READs of any place, WRITEs one behind the other, and nothing else', () => {
    expect(said(packet(READ, 1, 0, 10), packet(READ, 1, 500, 10), packet(READ, 2, 0, 10))).toEqual([false, true, true]);
    expect(said(packet(WRITE, 1, 0, 10), packet(WRITE, 1, 10, 5), packet(WRITE, 1, 15, 5))).toEqual([false, true, true]);
    expect(said(packet(WRITE, 1, 0, 10), packet(WRITE, 1, 9, 5))).toEqual([false, false]);
    expect(said(packet(WRITE, 1, 0, 10), packet(WRITE, 2, 10, 5))).toEqual([false, false]);
    expect(said(packet(WRITE, 1, 0, 10), packet(READ, 1, 10, 5), packet(WRITE, 1, 10, 5))).toEqual([false, false, false]);
    expect(said(packet(READ, 1, 0, 10), Uint8Array.of(CLOSE, 0, 0, 0, 1), packet(READ, 1, 0, 10))).toEqual([false, false, false]);
  });

  test('nothing that is cut short, beyond all places, or longer than it says', () => {
    for (const bad of [
      packet(READ, 1, 0, 10).subarray(0, 24),
      packet(READ, 1, 2 ** 60, 10),
      packet(WRITE, 1, 10, 5, 4),
      packet(WRITE, 1, 10, 5, 6),
    ]) {
      const run = new Run();
      run.continues(packet(bad[0]!, 1, 0, 10), never);
      expect(run.continues(bad, never)).toBe(false);
      expect(run.begun).toBe(false);
    }
  });

  test('no WRITE to a file that is appended to', () => {
    const run = new Run();
    run.continues(packet(WRITE, 1, 0, 10), () => true);
    expect(run.continues(packet(WRITE, 1, 10, 10), () => true)).toBe(false);
  });
});

describe('requests that are sent without waiting', () => {
  const PIECE = 5000;

  test('each sees what those before it have done', async () => {
    const scene = await Scene.open();
    const session = await scene.link().session();
    const handle = await session.open('/f', OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREAT);
    const write = (offset: number, data: Uint8Array): Promise<void> => {
      const { packet: made, id } = session.writePacket(handle, offset, data.length);
      made.data.set(data);
      return session.write('/f', id, made.finish(data.length));
    };
    for (let round = 0; round < 20; round++) {
      const [first, second] = [octets(20 * PIECE, 2 * round), octets(20 * PIECE, 2 * round + 1)];
      const all: Promise<unknown>[] = [];
      for (const data of [first, second])
        for (let i = 0; i < 20; i++) all.push(write(i * PIECE, data.subarray(i * PIECE, (i + 1) * PIECE)));
      const reads = Array.from({ length: 20 }, (_, i) => session.read('/f', handle, i * PIECE, PIECE));
      all.push(write(0, first.subarray(0, PIECE)));
      await Promise.all(all);
      expect(Buffer.compare(Buffer.concat(await Promise.all(reads)), second)).toBe(0);
      expect(Buffer.compare(readFileSync(join(scene.served, 'f')).subarray(0, PIECE), first.subarray(0, PIECE))).toBe(0);
    }
  });

  test('what is appended comes in the order in which it was sent', async () => {
    const scene = await Scene.open();
    const session = await scene.link().session();
    const handle = await session.open('/f', OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.APPEND);
    const data = octets(200 * PIECE);
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => {
        const { packet: made, id } = session.writePacket(handle, i * PIECE, PIECE);
        made.data.set(data.subarray(i * PIECE, (i + 1) * PIECE));
        return session.write('/f', id, made.finish(PIECE));
      }),
    );
    expect(Buffer.compare(readFileSync(join(scene.served, 'f')), data)).toBe(0);
  });
});
